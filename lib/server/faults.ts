/** The faults that a test can script. What each does is in inject.ts. */

import type { Operation } from './request.ts'

/**
 * Which requests a fault strikes. `append`: adds bytes or creates the object. `probe`: an empty append that
 * changes nothing.
 */
export type FaultTarget = Operation | 'probe' | 'any'

/** Where and when a fault strikes. */
export interface FaultScope {
  /** Default `append`; `head` for `stale` and `forbidden`. */
  readonly on?: FaultTarget | undefined
  /** Default: every bucket. */
  readonly bucket?: string | undefined
  /** Default: every key. */
  readonly key?: string | undefined
  /** How many requests it strikes, at least 1, default 1. Infinity is allowed. */
  readonly times?: number | undefined
  /** How many matching requests it lets pass first, default 0. */
  readonly skip?: number | undefined
  /** Its name in `fired`, default its kind. */
  readonly name?: string | undefined
  /** Added to the response, such as `Retry-After`. A list is sent as several headers of the same name. */
  readonly headers?: Readonly<Record<string, string | string[]>> | undefined
  /** Faults that strike the same request together with this one. Of a scope they have `name` and `headers` alone. */
  readonly with?: readonly Fault[] | undefined
}

/** How a request ends without its response: RST, silence, or an error of this status (500, 503). */
export type Unanswered = 'reset' | 'hang' | number

/** When a late append lands: before the next request for its key, or after the next HEAD or probe of it. */
export type LandingEvent = 'beforeNext' | 'afterLook'

/** What goes wrong. Durations are milliseconds, rates bytes per second. */
export type FaultKind =
  /** All connections are dropped, and the port is closed for `duration`: connecting is refused. */
  | { readonly kind: 'refused'; readonly duration: number }
  /** RST before, in the middle of or after the body. Nothing is committed. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'middle' | 'after' }
  /** Served by the rules, but the response is lost. */
  | { readonly kind: 'lost'; readonly how: Unanswered }
  /** Not served now, but later, by the rules of that moment: at an event, or after a number of ms. */
  | { readonly kind: 'late'; readonly how: Unanswered; readonly lands: LandingEvent | number }
  /** An error in OSS's form; without `code` an empty body. `commits`: sent after the request was served. */
  | {
      readonly kind: 'status'
      readonly status: number
      readonly code?: string
      readonly message?: string
      readonly ec?: string
      /** Further children of `<Error>`, such as `Endpoint`. */
      readonly children?: Readonly<Record<string, string>>
      /** Sent in place of the XML. */
      readonly body?: string | Buffer
      readonly commits?: boolean
    }
  /** HTML from a proxy, default status 502, without any header of OSS. */
  | { readonly kind: 'html'; readonly status?: number; readonly commits?: boolean }
  /** Bytes that are not HTTP; then the connection ends. */
  | { readonly kind: 'garbage'; readonly bytes?: string | Buffer; readonly commits?: boolean }
  /**
   * The response lacks a part, or has it wrong (`value`, default a plausible one). `commits`, default true. False:
   * nothing is stored, though the response to an append says that it is.
   */
  | {
      readonly kind: 'mangled'
      readonly part: 'requestId' | 'position' | 'crc64'
      readonly how: 'missing' | 'wrong'
      readonly value?: string | string[]
      readonly commits?: boolean
    }
  /**
   * Another writer appends before the request is served, or after it. `bytes`: its bytes, or their number (each
   * then differs from the request's); default: the length of the request's body. `lost`: with `after` a reset takes
   * the place of the response, default true.
   */
  | {
      readonly kind: 'rival'
      readonly when: 'before' | 'after'
      readonly bytes?: number | string | Buffer
      readonly lost?: boolean
    }
  /** The object is deleted before the request is served. */
  | { readonly kind: 'deleted' }
  /** The object is replaced before the request is served, by one of `length` bytes, default the same length. */
  | { readonly kind: 'replaced'; readonly by: 'Normal' | 'Appendable'; readonly length?: number }
  /** The object is sealed before the request is served. */
  | { readonly kind: 'sealed' }
  /** One byte of the body is damaged, at this index, default the middle. */
  | { readonly kind: 'corrupted'; readonly at?: number }
  /** 403 AccessDenied. */
  | { readonly kind: 'forbidden' }
  /** HEAD shows the object as it was before its last append; 404 if that append created it. */
  | { readonly kind: 'stale' }
  /**
   * The server's clock jumps to `offset` ms from the machine's, and stays there (`clockOffset`). With more
   * than 15 minutes the request is refused. `hidesServerTime`: only the Date header tells the time.
   */
  | { readonly kind: 'skewed'; readonly offset: number; readonly hidesServerTime?: boolean }
  /** The credentials of this request are expired from now on. */
  | { readonly kind: 'expired' }
  /** The body is read no faster than this. */
  | { readonly kind: 'slowRead'; readonly rate: number }
  /** The response comes later by `delay`, after the request was served. */
  | { readonly kind: 'slowAnswer'; readonly delay: number }
  /** An error, default 503, before the body is read; then the connection is closed. */
  | { readonly kind: 'early'; readonly status?: number; readonly code?: string }
  /**
   * 413 in HTML, as from a proxy, to a body of more than `maxBytes`. Other requests are not struck. The response
   * comes before the body, the rest of which is read and dropped; then the connection is closed.
   */
  | { readonly kind: 'tooLarge'; readonly maxBytes: number }
  /** The connection is closed after the response, with `Connection: close` or silently. */
  | { readonly kind: 'closed'; readonly how: 'header' | 'silent' }

/** A fault: what happens, and to which request. */
export type Fault = FaultScope & FaultKind
