/** The options of the network, and their defaults. */

import type { Dispatcher } from 'undici'
import type { CredentialsOption } from './credentials.ts'

/** How to reach OSS. Streams that share a client share its connections, keys and clock. */
export interface ClientOptions {
  /** Region id, as in `cn-hangzhou`. Default: the region in the endpoint, or `OSS_REGION`. */
  readonly region?: string | undefined
  /** Host, with or without scheme (https). Default: `OSS_ENDPOINT`, or the region's public endpoint. */
  readonly endpoint?: string | undefined
  /** `host/bucket/key` instead of `bucket.host/key`. Default: true for an IP address or `localhost`. */
  readonly pathStyle?: boolean | undefined
  /** `endpoint` is a domain bound to the bucket. Default false. */
  readonly cname?: boolean | undefined
  /**
   * Keys, or a provider of keys. Default: `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and
   * `OSS_SESSION_TOKEN` of the environment.
   */
  readonly credentials?: CredentialsOption
  /**
   * Any undici Dispatcher (proxy, TLS, mock). The client never closes it. Default: connections of its
   * own.
   */
  readonly dispatcher?: Dispatcher | undefined
  /** Milliseconds to open a connection, without `dispatcher`. Default 5,000. */
  readonly connectTimeout?: number | undefined
  /**
   * Milliseconds without progress: no part of the request is taken, or no response comes. 1 ms per 64 bytes
   * of body is always added. With `dispatcher`: for the whole exchange. Default 30,000.
   */
  readonly requestTimeout?: number | undefined
}

export const CLIENT_OPTIONS = [
  'region',
  'endpoint',
  'pathStyle',
  'cname',
  'credentials',
  'dispatcher',
  'connectTimeout',
  'requestTimeout',
] as const satisfies readonly (keyof ClientOptions)[]

/** Milliseconds. */
export const CLIENT_DEFAULTS = { connectTimeout: 5_000, requestTimeout: 30_000 } as const
