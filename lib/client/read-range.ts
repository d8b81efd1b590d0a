/**
 * GetObject with a range: the bytes as a stream, and the tail of the whole object as of that moment.
 */

import type { Readable } from 'node:stream'
import type { ObjectRange, RangeRequest, Target } from '../append/client-interface.ts'
import { OssError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { header, type ResponseHeaders, readCrc64, readLength } from './response.ts'

/** An ObjectRange whose body is a stream. Read it to its end, or destroy it. */
export interface StreamedRange extends ObjectRange {
  readonly body: Readable
}

/**
 * Rejects with `InvalidRange` if the object has no byte at `start`, and with `NoSuchKey` if there is no
 * object. A response with another range than the requested one is a network error: without
 * `x-oss-range-behavior: standard`, OSS answers an invalid range with the whole object (Alibaba Cloud,
 * "HTTP Range requests").
 */
export async function readRange(
  exchange: Exchange,
  target: Target,
  { start, end, signal }: RangeRequest,
): Promise<StreamedRange> {
  const range = `${start}-${end - 1}`
  const headers = { range: `bytes=${range}`, 'x-oss-range-behavior': 'standard' }
  const response = await exchange.get(target, { headers, signal })
  const { status, requestId, body } = response
  const contentRange = header(response.headers, 'content-range') ?? ''
  const [, received, total] = /^bytes (\d+-\d+)\/(\d+)$/.exec(contentRange) ?? []
  const length = readLength(total)
  if (status !== 206 || received !== range || length === undefined) {
    body.destroy()
    const detail = received === undefined ? '' : `: bytes ${received} instead of ${range}`
    throw new OssError('OSS_ERR_NETWORK', `HTTP ${status} to a request for a range${detail}`, {
      status,
    })
  }
  if (!isAsStored(response.headers, end - start)) {
    body.destroy()
    const problem = `the body of a range was changed on its way: it must have ${end - start} bytes`
    const remedy = 'leave out a dispatcher or a proxy that decompresses'
    throw new OssError('OSS_ERR_NETWORK', `${problem}; ${remedy}`, { status })
  }
  const crc64 = readCrc64(header(response.headers, 'x-oss-hash-crc64ecma'))
  return { length, crc64, requestId, body }
}

/**
 * A dispatcher that decompresses (undici 7.30, `interceptors.decompress`) removes Content-Length. Its bytes would look
 * like those of another writer, and the stream would append its own again.
 */
function isAsStored(headers: ResponseHeaders, length: number): boolean {
  // A proxy may send the body in chunks.
  if (headers['transfer-encoding'] !== undefined) return true
  return readLength(header(headers, 'content-length')) === length
}
