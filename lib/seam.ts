/**
 * The seam between what is certain and how it travels: all that the appender needs of a client. As small
 * as the protocol, so that a client of another kind (a test's, a proxy's, one that signs elsewhere) is
 * four functions.
 */

import type { Target } from './address.ts'

/** What HEAD tells of an object. */
export interface Head {
  /** `Appendable`, `Normal`, `Multipart` or `Symlink`. */
  readonly type: string
  /** Bytes. */
  readonly length: number
  /** Where the next append starts; only appendable objects have it. */
  readonly position?: number | undefined
  /** CRC-64 of the whole object, an unsigned decimal string. */
  readonly crc64?: string | undefined
  /** When the object was sealed (an HTTP date), if it was. */
  readonly sealedTime?: string | undefined
  readonly requestId: string
}

export interface AppendRequest {
  readonly position: number
  readonly body: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

export interface AppendReply {
  /** `x-oss-next-append-position`. */
  readonly position: number
  /** `x-oss-hash-crc64ecma`: of the whole object. */
  readonly crc64?: string | undefined
  readonly requestId: string
}

/**
 * The seam: one HTTP exchange per method, no retries. What fails is an `OssServiceError` (OSS refused)
 * or an `OssError` with `OSS_ERR_NETWORK`, `OSS_ERR_TIMEOUT` or `OSS_ERR_CREDENTIALS`; anything else
 * thrown is taken for a bug, and final. A promise settles soon after its `signal` is aborted.
 */
export interface Client {
  /** False: the body travels without TLS, and `contentMd5` is on by default. */
  readonly isSecure?: boolean | undefined
  head(target: Target, options: { readonly signal: AbortSignal }): Promise<Head | null>
  append(target: Target, request: AppendRequest): Promise<AppendReply>
  seal?(target: Target, position: number, options: { readonly signal: AbortSignal }): Promise<void>
  close(): Promise<void>
}
