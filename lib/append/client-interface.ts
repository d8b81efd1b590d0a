/**
 * What the appender needs of a client: the border between certainty and transport. It is as small as the
 * protocol, so a client of another kind (a proxy's, a test's, one that signs elsewhere) is a few functions.
 */

/** One object of OSS. */
export interface Target {
  /** 3 to 63 characters out of a-z, 0-9 and `-` (OSS, "Bucket naming"). */
  readonly bucket: string
  /** Not encoded; 1 to 1,023 bytes of UTF-8 (OSS, "Object naming"). */
  readonly key: string
}

/** What HEAD tells of an object (OSS, "HeadObject"). */
export interface Head {
  /** `Appendable`, `Normal`, `Multipart` or `Symlink`. */
  readonly type: string
  /** Bytes. */
  readonly length: number
  /** Position of the next append, in bytes; only appendable objects have it. */
  readonly position?: number | undefined
  /** CRC-64 of the whole object, an unsigned decimal string. */
  readonly crc64?: string | undefined
  /** HTTP date at which the object was sealed; undefined if it was not. */
  readonly sealedTime?: string | undefined
  /** `x-oss-request-id`, for Alibaba's support. */
  readonly requestId: string
}

/** One AppendObject (OSS, "AppendObject"). */
export interface AppendRequest {
  /** Bytes: the length that the object must have. An append at 0 creates the object. */
  readonly position: number
  /**
   * The bytes to append, sent as they are; none asks for the tail. The memory is the stream's: a client
   * must not read it after its promise has settled.
   */
  readonly body: Uint8Array
  /** Headers of this append besides the client's own; names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * How many times longer than usual the request may take: 2, 4, 8, ... where an append that cannot be
   * shorter has timed out. Default 1.
   */
  readonly deadlineFactor?: number | undefined
  /** When it is aborted, the request ends at once. */
  readonly signal: AbortSignal
}

/** What OSS answers to an append: the tail of the object. */
export interface AppendResult {
  /** `x-oss-next-append-position`: length of the object in bytes. */
  readonly position: number
  /** `x-oss-hash-crc64ecma`: CRC-64 of the whole object, an unsigned decimal string. */
  readonly crc64?: string | undefined
  /** `x-oss-request-id`, for Alibaba's support. */
  readonly requestId: string
}

/** A part of an object to read (OSS, "GetObject"). */
export interface RangeRequest {
  /** Offset of the first byte. */
  readonly start: number
  /** Offset after the last byte; greater than `start`. */
  readonly end: number
  /** When it is aborted, the request and its body end at once. */
  readonly signal: AbortSignal
}

/** A part of an object, and the tail that the object had when OSS answered. */
export interface ObjectRange {
  /** Bytes of the whole object. */
  readonly length: number
  /** CRC-64 of the whole object, an unsigned decimal string. */
  readonly crc64?: string | undefined
  /** `x-oss-request-id`, for Alibaba's support. */
  readonly requestId: string
  /** The bytes of the range. The stream reads them to their end, or ends the iteration. */
  readonly body: AsyncIterable<Uint8Array>
}

/**
 * One HTTP exchange per method, without retries. A method rejects with an `OssServiceError` (OSS refused), or
 * with an `OssError` of code `OSS_ERR_NETWORK`, `OSS_ERR_TIMEOUT` or `OSS_ERR_CREDENTIALS`; its `isUnsent`
 * says that nothing was sent. Anything else that is thrown is final, and leaves the append in doubt. A
 * promise settles soon after its `signal` is aborted.
 */
export interface Client {
  /** False: bodies travel without TLS, so `contentMd5` is on by default. Default: as if true. */
  readonly isSecure?: boolean | undefined
  /**
   * True: no layer below sends a request again by itself. Then a refusal of OSS proves that nothing was
   * stored. Otherwise each attempt is in doubt until the tail is past it. Default false.
   */
  readonly sendsOnce?: boolean | undefined
  /** Tells what an object is and how it ends; `null` if there is none. */
  head(target: Target, options: { readonly signal: AbortSignal }): Promise<Head | null>
  /** Appends, once. A refusal keeps OSS's own code, such as `PositionNotEqualToLength`. */
  append(target: Target, request: AppendRequest): Promise<AppendResult>
  /** Closes an object of `position` bytes for appends. Only `seal` and `sealOnRoll` need it. */
  seal?(target: Target, position: number, options: { readonly signal: AbortSignal }): Promise<void>
  /**
   * Reads a part of an object. Rejects with `InvalidRange` if the object has no byte at `start`, and with
   * `NoSuchKey` if there is no object. Needed to settle an append of unknown outcome that other bytes
   * follow: with `shared`, and with a journal of `sync: 'never'`. Without it the stream fails then with an
   * `OssConflictError`.
   */
  read?(target: Target, request: RangeRequest): Promise<ObjectRange>
  /** Closes connections. A stream calls it only for a client that it made itself. */
  close(): Promise<void>
}

/** Appends on one connection: each is sent without waiting for the responses to those before it. */
export interface AppendPipeline {
  /** As {@link Client.append}. If one fails without a response of OSS, all that were sent after it fail too. */
  append(target: Target, request: AppendRequest): Promise<AppendResult>
  /** Closes the connection. */
  close(): void
}
