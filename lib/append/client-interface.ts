/**
 * The seam between what is certain and how it travels: all that the appender needs of a client. As small
 * as the protocol, so that a client of another kind (a test's, a proxy's, one that signs elsewhere) is
 * four functions.
 */

/** One object of OSS. */
export interface Target {
  /** 3 to 63 characters out of a-z, 0-9 and `-` (OSS, "Bucket naming"). */
  readonly bucket: string
  /** As the user has it, not encoded: 1 to 1,023 bytes of UTF-8 (OSS, "Object naming"). */
  readonly key: string
}

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
  /** `x-oss-request-id`: what Alibaba's support asks for. */
  readonly requestId: string
}

/** One AppendObject: these bytes, at this position. */
export interface AppendRequest {
  /** The length in bytes that the object has to have; 0 creates it. */
  readonly position: number
  /** Sent as they are. None: the object stays as it is, and its tail is told. */
  readonly body: Uint8Array
  /** Lower-case names. All that go with this append beside the client's own. */
  readonly headers: Readonly<Record<string, string>>
  /** When it is aborted, the request ends at once. */
  readonly signal: AbortSignal
}

/** What OSS answers to an append: how the object ends now. */
export interface AppendResult {
  /** `x-oss-next-append-position`: bytes of the whole object. */
  readonly position: number
  /** `x-oss-hash-crc64ecma`: of the whole object, an unsigned decimal string. */
  readonly crc64?: string | undefined
  /** `x-oss-request-id`: what Alibaba's support asks for. */
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
  /** What an object is and how it ends; `null` if there is none. */
  head(target: Target, options: { readonly signal: AbortSignal }): Promise<Head | null>
  /** Appends, once. OSS's refusals are told by its own code, such as `PositionNotEqualToLength`. */
  append(target: Target, request: AppendRequest): Promise<AppendResult>
  /** Closes an object of `position` bytes for appends. Needed for `seal` and `sealOnRoll` alone. */
  seal?(target: Target, position: number, options: { readonly signal: AbortSignal }): Promise<void>
  /** Lets go of connections. A stream calls it for the client that it made itself, and for no other. */
  close(): Promise<void>
}
