/**
 * Signs requests: with keys that it asks for at each request, and with the clock of the server. When OSS
 * refuses a clock or keys, this class corrects them for the next signature.
 */

import { isKeyRefusal } from '../errors.ts'
import type { CredentialSource } from './credentials.ts'
import { createRedactor, type Redact } from './redact.ts'
import { type ErrorDocument, header, type ResponseHeaders } from './response.ts'
import { type SignableRequest, sign } from './sign-v4.ts'

/** A server time outside these limits is not plausible: a proxy or an attacker wrote it. */
const EARLIEST_TIME = Date.UTC(2024, 0)
const LATEST_TIME = Date.UTC(2100, 0)

interface SignedRequest {
  /** To be sent unchanged. */
  readonly headers: Record<string, string>
  /** Redacts the keys and the signature. */
  readonly redact: Redact
}

export class RequestSigner {
  readonly #credentialSource: CredentialSource
  readonly #region: string
  /** Milliseconds: server time minus local time. */
  #clockOffset = 0

  constructor(credentialSource: CredentialSource, region: string) {
    this.#credentialSource = credentialSource
    this.#region = region
  }

  /** Rejects as {@link CredentialSource.get} does. */
  async sign(request: SignableRequest, signal: AbortSignal): Promise<SignedRequest> {
    const credentials = await this.#credentialSource.get(signal)
    const date = new Date(Date.now() + this.#clockOffset)
    const headers = sign(request, { credentials, region: this.#region, date })
    const redact = createRedactor([...Object.values(credentials), signatureOf(headers)])
    return { headers, redact }
  }

  /** Whether OSS may accept the same request with a new signature. Corrects the clock if it was wrong. */
  refresh(status: number, headers: ResponseHeaders, document: ErrorDocument): boolean {
    if (isKeyRefusal(document.code)) return this.#credentialSource.isRefreshable
    const offset = readClockOffset(status, headers, document)
    if (offset === undefined) return false
    this.#clockOffset = offset
    return true
  }
}

/**
 * Milliseconds: server time minus local time. Undefined unless OSS refused the request because of the
 * clock and sent a plausible time.
 * Compares with the raw local clock: the signing time already includes the current offset, which would
 * count twice. Prefers the time in the document, since a proxy may write the `Date` header; the header
 * helps where that time is missing or not plausible.
 */
function readClockOffset(
  status: number,
  headers: ResponseHeaders,
  { code, message, serverTime }: ErrorDocument,
): number | undefined {
  // V4 also reports a wrong clock as InvalidArgument. Only the message differs from other arguments.
  const isDate = code === 'InvalidArgument' && message?.startsWith('Invalid signing date')
  if (code !== 'RequestTimeTooSkewed' && !(isDate && status === 400)) return undefined
  const time = [serverTime, header(headers, 'date')]
    .map(text => Date.parse(text ?? ''))
    .find(time => time >= EARLIEST_TIME && time < LATEST_TIME)
  return time === undefined ? undefined : time - Date.now()
}

/** Valid for this request for 15 minutes, so it is a secret. */
function signatureOf({ authorization = '' }: Readonly<Record<string, string>>): string {
  return authorization.slice(authorization.lastIndexOf('=') + 1)
}
