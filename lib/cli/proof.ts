/**
 * The proof that an object is what was sent: reading it back over HTTP, and the comparison. It trusts
 * neither the stream nor the server: the bytes that come back are counted and summed up anew.
 *
 * The client has no GET, since an append stream needs none; this one is signed by the same signer and
 * sent by node:http, for servers on loopback alone.
 */

import { createHash } from 'node:crypto'
import { get, type IncomingMessage } from 'node:http'
import { locate, resolveEndpoint } from '../address.ts'
import { update } from '../crc64/index.ts'
import type { Credentials, Target } from '../index.ts'
import { header, readCrc64, readErrorDocument, readLength, refusal } from '../reply.ts'
import { sign } from '../signer.ts'
import type { Delivery, ReportedTail } from './delivery.ts'

/** A server to read from. */
export interface Service {
  readonly url: string
  readonly region: string
  readonly credentials: Credentials
}

/** An object as read back. */
export interface Copy {
  /** Bytes that came. */
  readonly length: number
  /** CRC-64 of all of them, and what OSS says it is. */
  readonly crc64: string
  readonly reported: ReportedTail
  /** SHA-256 of what comes after the first `from` bytes, in hexadecimal. */
  readonly sha256: string
}

/** Reads an object from its first byte to its last, in flat memory. */
export async function readBack(
  service: Service,
  { target, from, signal }: { target: Target; from: number; signal: AbortSignal },
): Promise<Copy> {
  const response = await request(service, target, signal)
  const hash = createHash('sha256')
  let crc = 0n
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    crc = update(crc, chunk)
    hash.update(chunk.subarray(Math.min(chunk.length, Math.max(0, from - length))))
    length += chunk.length
  }
  const { headers } = response
  return {
    length,
    crc64: crc.toString(),
    reported: {
      position: readLength(header(headers, 'x-oss-next-append-position')),
      crc64: readCrc64(header(headers, 'x-oss-hash-crc64ecma')),
    },
    sha256: hash.digest('hex'),
  }
}

async function request(
  { url, region, credentials }: Service,
  target: Target,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { origin, path } = locate(resolveEndpoint({ endpoint: url, region }), target)
  const identity = { credentials, region, date: new Date() }
  const headers = sign({ method: 'GET', target, query: {}, headers: {} }, identity)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    // `path` beside the origin, never in one URL: parsing it would fold `..` into another key.
    get(origin, { path, headers, signal, agent: false }, resolve).once('error', reject)
  })
  if (response.statusCode === 200) return response
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const document = readErrorDocument(response.headers, Buffer.concat(chunks).toString())
  throw refusal(response.statusCode ?? 0, response.headers, document, false)
}

/** Everything in which the object differs from what was sent; nothing means verified. */
export function compare(
  { bytes, sha256, before, after }: Delivery,
  reported: ReportedTail | undefined,
  copy?: Copy,
): string[] {
  const differences: string[] = []
  const expect = (what: string, wanted: unknown, found: unknown) => {
    if (wanted !== found) differences.push(`${what} is ${found ?? 'unknown'}, not ${wanted}`)
  }
  const length = before.position + bytes
  expect('the acknowledged length', length, after.position)
  expect('the length by OSS', length, reported?.position)
  expect('the CRC-64 by OSS', after.crc64, reported?.crc64)
  if (copy) {
    expect('the length as read back', length, copy.length)
    expect('the CRC-64 as read back', after.crc64, copy.crc64)
    expect('the SHA-256 as read back', sha256, copy.sha256)
  }
  return differences
}
