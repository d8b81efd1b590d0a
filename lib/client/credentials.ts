/**
 * Where keys come from: a fixed set, the environment, or a provider that is asked anew each time.
 *
 * Nothing is cached beyond the call in flight: providers such as `@alicloud/credentials` renew
 * their tokens by themselves, and a copy kept here could only be older than theirs. This file signs
 * nothing and reads no metadata service. Secrets live in private members, so that nothing prints
 * them, and no message here quotes a value or another's message.
 */

import { type Clock, systemClock, type Timer } from '../clock.ts'
import { invalidOption, OssError } from '../errors.ts'
import { createRedactor, type Redact, redactError, redactNamed } from './redact.ts'

/** An access key, with the token that makes it a temporary (STS) one. */
export interface Credentials {
  /** Sent with each request, in the clear. */
  readonly accessKeyId: string
  /** Signs, and is never sent. */
  readonly accessKeySecret: string
  /** Of STS, beside keys that expire. Default: none, and empty is none too. */
  readonly securityToken?: string | undefined
}

/** What a provider may answer, loosely typed: it is checked. Other members are ignored. */
export interface CredentialsLike {
  /** Needed: without it the attempt fails with `OSS_ERR_CREDENTIALS`. */
  readonly accessKeyId?: string | null | undefined
  /** Needed, likewise. */
  readonly accessKeySecret?: string | null | undefined
  /** Of STS. Empty, null and undefined: none. */
  readonly securityToken?: string | null | undefined
}

/**
 * The option `credentials`: keys, a function returning them or a promise of them, or an object with
 * `getCredential()` or `getCredentials()` (both kinds that `@alicloud/credentials` has). Undefined:
 * `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_SESSION_TOKEN` from the environment.
 */
export type CredentialsOption =
  | Credentials
  | (() => CredentialsLike | PromiseLike<CredentialsLike>)
  | { getCredential(): CredentialsLike | PromiseLike<CredentialsLike> }
  | { getCredentials(): CredentialsLike | PromiseLike<CredentialsLike> }
  | undefined

/** Whom the client asks before every attempt. */
export interface CredentialSource {
  /** Asking again may give other credentials. */
  readonly isRenewable: boolean
  /**
   * The credentials as of now. Aborting `signal` rejects this call alone, with the signal's reason.
   *
   * Rejects with `OSS_ERR_CREDENTIALS`: curable when the provider failed or was too slow, final
   * when what it gave, or the environment, lacks something; the message says what.
   */
  get(signal?: AbortSignal | undefined): Promise<Credentials>
}

/** Its timer holds the process, as an exchange that is on its way does. */
export type DeadlineClock = Pick<Clock, 'now' | 'setTimeout' | 'clearTimeout'>

export interface CredentialSourceDetails {
  /** How long a provider may take, in milliseconds; default 30 000. */
  readonly timeout?: number | undefined
  readonly clock?: DeadlineClock | undefined
}

type Provider = () => unknown

/** Makes the error for a wrong member; an undefined member is the answer as a whole. */
type Refuse = (member: keyof Credentials | undefined, problem: string) => OssError

/**
 * Turn the option into a source. A fixed set is checked here and copied.
 *
 * @throws OssError `OSS_ERR_INVALID_OPTION`, naming `credentials` or its member
 */
export function createCredentialSource(
  option: CredentialsOption,
  env: NodeJS.ProcessEnv = process.env,
  details: CredentialSourceDetails = {},
): CredentialSource {
  if (option === undefined) return new EnvironmentSource(env)
  const provider = providerOf(option)
  if (provider !== undefined) return new ProviderSource(provider, details)
  return new FixedSource(readCredentials(option, refuseOption))
}

/** Of an object that gives keys. Alibaba's own packages have either. */
export const PROVIDER_METHODS = ['getCredential', 'getCredentials'] as const

function providerOf(option: unknown): Provider | undefined {
  if (typeof option === 'function') return () => option()
  const object = Object(option)
  for (const method of PROVIDER_METHODS) {
    if (typeof object[method] === 'function') return () => object[method]()
  }
  return undefined
}

/** Keys that never change. */
class FixedSource implements CredentialSource {
  readonly isRenewable = false
  readonly #credentials: Credentials

  constructor(credentials: Credentials) {
    this.#credentials = Object.freeze(credentials)
  }

  async get(signal?: AbortSignal): Promise<Credentials> {
    signal?.throwIfAborted()
    return this.#credentials
  }
}

/** The environment, read at each call: a program may change its own while it runs. */
class EnvironmentSource implements CredentialSource {
  readonly isRenewable = true
  readonly #env: NodeJS.ProcessEnv

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env
  }

  async get(signal?: AbortSignal): Promise<Credentials> {
    signal?.throwIfAborted()
    const env = this.#env
    const missing = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET'].filter(
      name => !env[name]?.trim(),
    )
    if (missing.length > 0) {
      const mend = `set ${missing.join(' and ')} in the environment, or pass the option credentials`
      throw credentialsError(`no credentials: ${mend}`)
    }
    const answer = {
      accessKeyId: env.OSS_ACCESS_KEY_ID,
      accessKeySecret: env.OSS_ACCESS_KEY_SECRET,
      securityToken: env.OSS_SESSION_TOKEN,
    }
    return readCredentials(answer, refuseEnvironment)
  }
}

/** One call of the provider, shared by all who ask while it runs. */
interface Flight {
  readonly answer: Promise<Credentials>
  /** When everybody stops waiting for it, by the clock. */
  readonly deadline: number
}

/**
 * A provider, asked at each `get()`. The timer belongs to the caller and not to the call: it exists
 * exactly while somebody waits, so a provider that hangs cannot hold a process that gave up.
 */
class ProviderSource implements CredentialSource {
  readonly isRenewable = true
  readonly #provider: Provider
  readonly #timeout: number
  readonly #clock: DeadlineClock
  #flight: Flight | undefined
  /** Hides what the provider gave last, should it quote that when it fails. */
  #conceal: Redact = text => text

  constructor(
    provider: Provider,
    { timeout = 30_000, clock = systemClock }: CredentialSourceDetails,
  ) {
    this.#provider = provider
    this.#timeout = timeout
    this.#clock = clock
  }

  async get(signal?: AbortSignal): Promise<Credentials> {
    signal?.throwIfAborted()
    return this.#wait(this.#join(), signal)
  }

  /** The call that is in flight, or a new one. A call past its deadline is nobody's any more. */
  #join(): Flight {
    const now = this.#clock.now()
    if (this.#flight === undefined || now >= this.#flight.deadline) {
      const flight: Flight = { answer: this.#ask(), deadline: now + this.#timeout }
      // A call that ends after its deadline must not end the one that took its place.
      const leave = () => {
        if (this.#flight === flight) this.#flight = undefined
      }
      flight.answer.then(leave, leave)
      this.#flight = flight
    }
    return this.#flight
  }

  async #ask(): Promise<Credentials> {
    let answer: unknown
    try {
      answer = pickMembers(await this.#provider())
    } catch (error) {
      const cause = redactError(error, text => redactNamed(this.#conceal(text)))
      throw credentialsError('the credentials provider failed', { isCurable: true, cause })
    }
    const credentials = readCredentials(answer, refuseAnswer)
    this.#conceal = createRedactor(Object.values(credentials))
    return credentials
  }

  /** The answer, unless the deadline passes or the caller aborts. Leaves no timer or listener. */
  async #wait(flight: Flight, signal: AbortSignal | undefined): Promise<Credentials> {
    let timer: Timer | undefined
    let abort = () => {}
    const interruption = new Promise<never>((_, reject) => {
      abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort)
      timer = this.#clock.setTimeout(() => {
        const problem = `the credentials provider did not answer within ${this.#timeout} ms`
        reject(credentialsError(problem, { isCurable: true }))
      }, flight.deadline - this.#clock.now())
    })
    try {
      return await Promise.race([flight.answer, interruption])
    } finally {
      if (timer) this.#clock.clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }
}

/** What an answer holds, read while it may throw: its members may be getters. */
function pickMembers(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null) return answer
  const { accessKeyId, accessKeySecret, securityToken, type } = answer as Record<string, unknown>
  return { accessKeyId, accessKeySecret, securityToken, type }
}

/** Copy the three members out of an answer, trimmed and checked. */
function readCredentials(answer: unknown, refuse: Refuse): Credentials {
  if (typeof answer !== 'object' || answer === null) {
    throw refuse(undefined, 'must be an object with accessKeyId and accessKeySecret')
  }
  const { accessKeyId, accessKeySecret, securityToken, type } = answer as Record<string, unknown>
  if (type === 'bearer' && !accessKeyId) {
    throw refuse(undefined, 'must be an access key or an STS triple: OSS takes no bearer token')
  }
  const required = {
    accessKeyId: readValue('accessKeyId', accessKeyId, refuse),
    accessKeySecret: readValue('accessKeySecret', accessKeySecret, refuse),
  }
  // A plain access key has no token; providers and environments say so with an empty one too.
  const isPlain = typeof securityToken === 'string' ? securityToken.trim() === '' : !securityToken
  if (isPlain) return required
  return { ...required, securityToken: readValue('securityToken', securityToken, refuse) }
}

function readValue(member: keyof Credentials, value: unknown, refuse: Refuse): string {
  if (value === undefined || value === null) throw refuse(member, 'is missing')
  if (typeof value !== 'string') throw refuse(member, 'must be a string')
  const text = value.trim()
  if (text === '') throw refuse(member, 'must not be empty')
  // It goes into a header as it is: a line break would begin another header.
  if (/[^\x20-\x7e]/.test(text)) throw refuse(member, 'must hold printable ASCII characters only')
  return text
}

const refuseOption: Refuse = (member, problem) =>
  invalidOption(member === undefined ? 'credentials' : `credentials.${member}`, problem)

const refuseAnswer: Refuse = (member, problem) =>
  credentialsError(
    `${member === undefined ? 'the answer' : `the ${member}`} of the credentials provider ${problem}`,
  )

const variables = {
  accessKeyId: 'OSS_ACCESS_KEY_ID',
  accessKeySecret: 'OSS_ACCESS_KEY_SECRET',
  securityToken: 'OSS_SESSION_TOKEN',
} as const

const refuseEnvironment: Refuse = (member, problem) =>
  credentialsError(`the environment variable ${variables[member ?? 'accessKeyId']} ${problem}`)

function credentialsError(
  message: string,
  details: { isCurable?: boolean; cause?: unknown } = {},
): OssError {
  return new OssError('OSS_ERR_CREDENTIALS', message, details)
}
