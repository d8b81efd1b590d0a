/** Our client for the sink, with or without TLS, and our stream on it. */

import { Agent } from 'undici'
import { createAppendStream, OssClient } from '../../dist/index.js'
import { CRC_OF_UNSEEN } from '../tails.js'

export const IDENTITY = {
  region: 'cn-hangzhou',
  credentials: { accessKeyId: 'benchmark', accessKeySecret: 'benchmark' },
}

/** @param {{ port: number, tlsPort: number, ca: string }} sink */
export function createClient({ port, tlsPort, ca }, isTls = false) {
  if (!isTls) return new OssClient({ ...IDENTITY, endpoint: `http://127.0.0.1:${port}` })
  const dispatcher = new Agent({ connect: { ca } })
  return new OssClient({ ...IDENTITY, endpoint: `https://127.0.0.1:${tlsPort}`, dispatcher })
}

let objects = 0

/** A stream to a new object. */
export function createStream(client, options = {}) {
  const key = `${process.pid}-${++objects}`
  const crc64 = options.position ? { crc64: String(CRC_OF_UNSEEN) } : {}
  return createAppendStream({ bucket: 'benchmark', key, client, ...crc64, ...options })
}
