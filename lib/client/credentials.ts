/**
 * The sources of keys: a fixed set, the environment, or a provider, which is called for each request.
 * Nothing is cached beyond the call in flight: providers such as `@alicloud/credentials` refresh their
 * tokens themselves, and a cached copy could only be older.
 * Secrets are in private members, so that no inspected object shows them. No message quotes a value.
 */

import { type Clock, systemClock, type Timer } from '../clock.ts'
import { invalidOption, nameAndCode, OssError } from '../errors.ts'
import { suggestion } from '../validate.ts'

/** An access key, with the token that makes it a temporary (STS) one. */
export interface Credentials {
  /** Sent with each request, readable. */
  readonly accessKeyId: string
  /** Makes the signature. Never sent. */
  readonly accessKeySecret: string
  /** The token of temporary (STS) keys. Default: none. An empty string means none. */
  readonly securityToken?: string | undefined
}

/** The result of a provider, loosely typed, because it is checked. Other members are ignored. */
export interface CredentialsLike {
  /** Required: without it, the attempt fails with `OSS_ERR_CREDENTIALS`. */
  readonly accessKeyId?: string | null | undefined
  /** Required: without it, the attempt fails with `OSS_ERR_CREDENTIALS`. */
  readonly accessKeySecret?: string | null | undefined
  /** The token of temporary (STS) keys. Empty, null and undefined mean none. */
  readonly securityToken?: string | null | undefined
}

/**
 * The option `credentials`: keys, a function that returns keys or a promise of keys, or an object with
 * `getCredential()` or `getCredentials()`, as in `@alicloud/credentials`. Undefined: the environment's
 * `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN`.
 */
export type CredentialsOption =
  | Credentials
  | (() => CredentialsLike | PromiseLike<CredentialsLike>)
  | { getCredential(): CredentialsLike | PromiseLike<CredentialsLike> }
  | { getCredentials(): CredentialsLike | PromiseLike<CredentialsLike> }
  | undefined

/** The request signer calls it for each attempt. */
export interface CredentialSource {
  /** A later `get()` may return other credentials. */
  readonly isRefreshable: boolean
  /**
   * The current credentials. Aborting `signal` rejects only this call, with the reason of the signal.
   *
   * Rejects with `OSS_ERR_CREDENTIALS`: refreshable if the provider failed or was too slow, final if its
   * result or the environment is incomplete.
   */
  get(signal?: AbortSignal | undefined): Promise<Credentials>
}

/** Its timer keeps the process alive, as an exchange in flight does. */
export type DeadlineClock = Pick<Clock, 'now' | 'setTimeout' | 'clearTimeout'>

export interface CredentialSourceDetails {
  /** Milliseconds that a provider may take. Default 30,000. */
  readonly timeout?: number | undefined
  readonly clock?: DeadlineClock | undefined
}

type Provider = () => unknown

/** Makes the error for a wrong member. `undefined` stands for the whole result. */
type Refuse = (member: keyof Credentials | undefined, problem: string) => OssError

/**
 * Turns the option into a source. Fixed keys are checked and copied immediately.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming `credentials` or its member
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

/** The methods of a provider object. Each of Alibaba's own packages has one of them. */
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
  readonly isRefreshable = false
  readonly #credentials: Credentials

  constructor(credentials: Credentials) {
    this.#credentials = Object.freeze(credentials)
  }

  async get(signal?: AbortSignal): Promise<Credentials> {
    signal?.throwIfAborted()
    return this.#credentials
  }
}

/** The environment, read at each call, because a program may change it. */
class EnvironmentSource implements CredentialSource {
  readonly isRefreshable = true
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
      const remedy = `set ${missing.join(' and ')} in the environment, or pass the option credentials`
      throw credentialsError(`no credentials: ${remedy}`)
    }
    const keys = {
      accessKeyId: env.OSS_ACCESS_KEY_ID,
      accessKeySecret: env.OSS_ACCESS_KEY_SECRET,
      securityToken: env.OSS_SESSION_TOKEN,
    }
    return readCredentials(keys, refuseEnvironment)
  }
}

/** One call of the provider, shared by every `get()` that begins while it runs. */
interface PendingCall {
  readonly result: Promise<Credentials>
  /** A time of the clock. Every `get()` that waits for this call gives up then. */
  readonly deadline: number
}

/**
 * A provider, called at each `get()`. Each `get()` has a timer of its own, which ends with it: a provider
 * that hangs does not keep the process alive after the last `get()` was aborted.
 */
class ProviderSource implements CredentialSource {
  readonly isRefreshable = true
  readonly #provider: Provider
  readonly #timeout: number
  readonly #clock: DeadlineClock
  #pendingCall: PendingCall | undefined

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
    return this.#wait(this.#joinCall(), signal)
  }

  /** The call in flight, or a new one if there is none or its deadline has passed. */
  #joinCall(): PendingCall {
    const now = this.#clock.now()
    if (this.#pendingCall === undefined || now >= this.#pendingCall.deadline) {
      const call: PendingCall = { result: this.#callProvider(), deadline: now + this.#timeout }
      // A call that settles after its deadline must not remove its successor.
      const remove = () => {
        if (this.#pendingCall === call) this.#pendingCall = undefined
      }
      call.result.then(remove, remove)
      this.#pendingCall = call
    }
    return this.#pendingCall
  }

  async #callProvider(): Promise<Credentials> {
    let result: unknown
    try {
      result = pickMembers(await this.#provider())
    } catch (error) {
      const cause = nameAndCode(error)
      const problem = `the credentials provider failed: ${cause.message}`
      const remark = 'its message is not shown, since it may hold secrets'
      throw credentialsError(`${problem} (${remark})`, { isRefreshable: true, cause })
    }
    return readCredentials(result, refuseResult)
  }

  /** The result, unless the deadline passes or the signal is aborted. Leaves no timer or listener. */
  async #wait(call: PendingCall, signal: AbortSignal | undefined): Promise<Credentials> {
    let timer: Timer | undefined
    let abort = () => {}
    const interruption = new Promise<never>((_, reject) => {
      abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort)
      timer = this.#clock.setTimeout(() => {
        const problem = `the credentials provider did not answer within ${this.#timeout} ms`
        reject(credentialsError(problem, { isRefreshable: true }))
      }, call.deadline - this.#clock.now())
    })
    try {
      return await Promise.race([call.result, interruption])
    } finally {
      if (timer) this.#clock.clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }
}

const MEMBERS = ['accessKeyId', 'accessKeySecret', 'securityToken'] as const

/** Reads the members of a result inside the `try` of the call, because getters may throw. */
function pickMembers(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) return result
  const { accessKeyId, accessKeySecret, securityToken, stsToken, type } = result as Partial<
    Record<string, unknown>
  >
  return { accessKeyId, accessKeySecret, securityToken, stsToken, type }
}

/** Copies the three members, trimmed and checked. */
function readCredentials(keys: unknown, refuse: Refuse): Credentials {
  if (typeof keys !== 'object' || keys === null) {
    throw refuse(undefined, 'must be an object with accessKeyId and accessKeySecret')
  }
  const { accessKeyId, accessKeySecret, securityToken, stsToken, type } = keys as Partial<
    Record<string, unknown>
  >
  if (type === 'bearer' && !accessKeyId) {
    throw refuse(undefined, 'must be an access key or an STS triple: OSS takes no bearer token')
  }
  // Without this check the keys would be sent without their token, and OSS would call them unknown.
  if (stsToken && !securityToken) {
    throw refuse(undefined, `must not have stsToken${suggestion('stsToken', MEMBERS)}`)
  }
  const required = {
    accessKeyId: readValue('accessKeyId', accessKeyId, refuse),
    accessKeySecret: readValue('accessKeySecret', accessKeySecret, refuse),
  }
  // Providers and environments may have an empty token for a plain access key.
  const isPlain = typeof securityToken === 'string' ? securityToken.trim() === '' : !securityToken
  if (isPlain) return required
  return { ...required, securityToken: readValue('securityToken', securityToken, refuse) }
}

function readValue(member: keyof Credentials, value: unknown, refuse: Refuse): string {
  if (value === undefined || value === null) throw refuse(member, 'is missing')
  if (typeof value !== 'string') throw refuse(member, 'must be a string')
  const text = value.trim()
  if (text === '') throw refuse(member, 'must not be empty')
  // The value becomes a header: a line break would begin another header.
  if (/[^\x20-\x7e]/.test(text)) throw refuse(member, 'must have printable ASCII characters only')
  return text
}

const refuseOption: Refuse = (member, problem) =>
  invalidOption(member === undefined ? 'credentials' : `credentials.${member}`, problem)

const refuseResult: Refuse = (member, problem) =>
  credentialsError(
    `${member === undefined ? 'the result' : `the ${member}`} of the credentials provider ${problem}`,
  )

const VARIABLES = {
  accessKeyId: 'OSS_ACCESS_KEY_ID',
  accessKeySecret: 'OSS_ACCESS_KEY_SECRET',
  securityToken: 'OSS_SESSION_TOKEN',
} as const

const refuseEnvironment: Refuse = (member, problem) =>
  credentialsError(`the environment variable ${VARIABLES[member ?? 'accessKeyId']} ${problem}`)

function credentialsError(
  message: string,
  details: { isRefreshable?: boolean; cause?: unknown } = {},
): OssError {
  return new OssError('OSS_ERR_CREDENTIALS', message, { ...details, isUnsent: true })
}
