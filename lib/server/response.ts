/** What is sent back for a request, before a fault changes it, and the headers that every response has. */

/** An HTTP response. */
export interface ResponseSpec {
  status: number
  /** OSS's error code, for the log. */
  code?: string
  /** A list is sent as several headers of the same name. */
  headers: Record<string, string | string[]>
  body?: Buffer | ContentSlice
  /** Close the connection after the response, without announcing it. */
  closesSilently?: boolean
  /** Read and drop the rest of the request's body before the connection is closed. */
  dropsBody?: boolean
  /** As from a proxy: OSS's common headers are left out. */
  omitsOssHeaders?: boolean
}

/** A part of an object, sent block by block, so that a large one is never whole in memory. */
export interface ContentSlice {
  /** Bytes. */
  readonly length: number
  readonly chunks: Iterable<Buffer>
}

/** What a fault can make of a response: a response, bytes that are not HTTP, a reset, or silence. */
export type ResponseOrFailure = ResponseSpec | { raw: Buffer } | 'reset' | 'hang'

/** The headers of every response of OSS. `now`: the server's clock, ms since 1970. */
export function commonHeaders(now: number, requestId: string): Record<string, string> {
  return { Server: 'AliyunOSS', Date: toHttpDate(now), 'x-oss-request-id': requestId }
}

/** ISO 8601 as in OSS's XML: whole seconds, written with milliseconds. oss2 2.19 takes no others. */
export function toIsoDate(time: number): string {
  return new Date(Math.floor(time / 1000) * 1000).toISOString()
}

/** RFC 1123, GMT. */
export function toHttpDate(time: number): string {
  return new Date(time).toUTCString()
}
