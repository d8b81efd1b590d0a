/**
 * What goes back for a request, before any fault has had its way with it. No behaviour, only shapes.
 */

/** An HTTP answer. `code` is the OSS error code, for the log. */
export interface ResponseSpec {
  status: number
  code?: string
  /** A list is sent as so many headers of the same name. */
  headers: Record<string, string | string[]>
  body?: Buffer | ContentSlice
  /** Close the connection afterwards without having said so. */
  closesSilently?: boolean
  /** Not from OSS at all: none of OSS's own headers are added. */
  omitsOssHeaders?: boolean
}

/** A part of an object, sent block by block so that a large one is never whole in memory. */
export interface ContentSlice {
  readonly length: number
  chunks(): Iterable<Buffer>
}

/** What a fault can make of an answer: an answer, bytes that are no HTTP, a reset, or silence. */
export type ResponseOrFailure = ResponseSpec | { raw: Buffer } | 'reset' | 'hang'
