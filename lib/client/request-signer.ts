/**
 * Who signs: keys as they come, asked for anew each time, and the time as OSS has it. What OSS says of
 * either is learned here, so that the next signature may be accepted.
 */

import { isKeyRefusal } from '../errors.ts'
import {
  type CredentialSource,
  type CredentialsOption,
  createCredentialSource,
} from './credentials.ts'
import { createRedactor, type Redact } from './redact.ts'
import { type ErrorDocument, header, type ResponseHeaders } from './response.ts'
import { type SignableRequest, sign } from './sign-v4.ts'

/** A server time before this package existed, or absurdly far on, is a poisoned one. */
const EARLIEST_TIME = Date.UTC(2024, 0)
const LATEST_TIME = Date.UTC(2100, 0)

/** Headers to send as they are, and what hides the secrets in them. */
interface Signed {
  readonly headers: Record<string, string>
  readonly conceal: Redact
}

export class RequestSigner {
  readonly #credentials: CredentialSource
  readonly #region: string
  /** Server time minus local time, in milliseconds. */
  #clockOffset = 0

  constructor(credentials: CredentialsOption, region: string) {
    this.#credentials = createCredentialSource(credentials)
    this.#region = region
  }

  /** Rejects as {@link CredentialSource.get} does. */
  async sign(request: SignableRequest, signal: AbortSignal): Promise<Signed> {
    const credentials = await this.#credentials.get(signal)
    const date = new Date(Date.now() + this.#clockOffset)
    const headers = sign(request, { credentials, region: this.#region, date })
    const conceal = createRedactor([...Object.values(credentials), signatureOf(headers)])
    return { headers, conceal }
  }

  /** Whether the same request, signed afresh, may be accepted. Corrects our clock, if that was wrong. */
  refresh(status: number, headers: ResponseHeaders, document: ErrorDocument): boolean {
    if (isKeyRefusal(document.code)) return this.#credentials.isRenewable
    const offset = readClockOffset(status, headers, document)
    if (offset === undefined) return false
    this.#clockOffset = offset
    return true
  }
}

/**
 * Server time minus local time in milliseconds, where OSS refuses a request because of our clock, and
 * tells a time that can be one. Against the raw local clock: the offset in use is already in the signing
 * time, and would be counted twice. The document's own time is preferred, since a proxy may have written
 * the `Date` header.
 */
function readClockOffset(
  status: number,
  headers: ResponseHeaders,
  { code, message, serverTime }: ErrorDocument,
): number | undefined {
  // V4's other word for a wrong clock; only its text tells it from other arguments.
  const isDate = code === 'InvalidArgument' && message?.startsWith('Invalid signing date')
  if (code !== 'RequestTimeTooSkewed' && !(isDate && status === 400)) return undefined
  const times = [serverTime, header(headers, 'date')].map(text => Date.parse(text ?? ''))
  const time = times.find(time => !Number.isNaN(time)) ?? Number.NaN
  return time >= EARLIEST_TIME && time < LATEST_TIME ? time - Date.now() : undefined
}

/** The part of signed headers that is as good as a key, for a while. */
function signatureOf({ authorization = '' }: Readonly<Record<string, string>>): string {
  return authorization.slice(authorization.lastIndexOf('=') + 1)
}
