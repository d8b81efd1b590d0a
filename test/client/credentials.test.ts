import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import t from 'tap'
import {
  type CredentialSource,
  type CredentialsOption,
  createCredentialSource,
  type DeadlineClock,
} from '../../lib/client/credentials.ts'
import { OssError } from '../../lib/errors.ts'

const SECRET = 'hunter2-SECRET'
const good = { accessKeyId: 'id', accessKeySecret: SECRET, securityToken: `token-${SECRET}` }

/** Everything by which a value could end up in a log. */
function printed(value: unknown): string {
  const stack = value instanceof Error ? value.stack : ''
  return `${inspect(value, { depth: 9, showHidden: true })}${JSON.stringify(value)}${value}${stack}`
}

/** A clock that moves only by `advance()`, which fires the timers that are due. */
function fakeClock() {
  const timers = new Map<object, { at: number; callback: () => void }>()
  let time = 1000
  const clock: DeadlineClock = {
    now: () => time,
    setTimeout(callback, delay) {
      const timer = { ref: () => {}, unref: () => {} }
      timers.set(timer, { at: time + delay, callback })
      return timer
    },
    clearTimeout: timer => void timers.delete(timer),
  }
  const advance = (duration: number) => {
    time += duration
    for (const [timer, { at, callback }] of timers) {
      if (at > time) continue
      timers.delete(timer)
      callback()
    }
  }
  return { clock, advance, timers }
}

/** A provider whose calls a test settles one by one. */
function scriptedProvider() {
  const calls: { resolve(result: unknown): void; reject(error: unknown): void }[] = []
  const provide = () =>
    new Promise<typeof good>((resolve, reject) => {
      calls.push({ resolve: resolve as (result: unknown) => void, reject })
    })
  return { calls, provide }
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('it should have failed')
}

async function describeFailure(source: CredentialSource): Promise<unknown> {
  const error = await failure(source.get())
  if (!(error instanceof OssError)) throw error
  const { code, message, isRefreshable } = error
  return { code, message, isRefreshable }
}

t.test('fixed keys are trimmed and copied', async t => {
  const option = { ...good, accessKeyId: ' id\n' }
  const source = createCredentialSource(option)
  option.accessKeySecret = 'changed later'
  t.equal(source.isRefreshable, false)
  const credentials = await source.get()
  t.same(credentials, good)
  t.equal(option.accessKeyId, ' id\n', "the caller's object is untouched")
  t.throws(() => Object.assign(credentials, { accessKeyId: 'x' }), TypeError, 'the copy is frozen')

  for (const securityToken of [undefined, null, '', ' \n']) {
    const plain = createCredentialSource({ ...good, securityToken } as typeof good)
    t.same(
      await plain.get(),
      { accessKeyId: 'id', accessKeySecret: SECRET },
      `token ${securityToken}`,
    )
  }
})

// label, option, option named, problem
const wrong: [string, unknown, string, RegExp][] = [
  ['null', null, 'credentials', /must be an object/],
  ['a string', SECRET, 'credentials', /must be an object/],
  ['true', true, 'credentials', /must be an object/],
  ['empty object', {}, 'credentials.accessKeyId', /is missing/],
  ['an array', [SECRET, SECRET], 'credentials.accessKeyId', /is missing/],
  ['id empty', { ...good, accessKeyId: '' }, 'credentials.accessKeyId', /not be empty/],
  ['id of blanks', { ...good, accessKeyId: ' \t' }, 'credentials.accessKeyId', /not be empty/],
  ['id a number', { ...good, accessKeyId: 7 }, 'credentials.accessKeyId', /be a string/],
  ['secret missing', { accessKeyId: SECRET }, 'credentials.accessKeySecret', /is missing/],
  ['secret null', { ...good, accessKeySecret: null }, 'credentials.accessKeySecret', /is missing/],
  ['token an object', { ...good, securityToken: {} }, 'credentials.securityToken', /be a string/],
  ...['\n', '\r', '\0', '\x1f', '\x7f', 'é', '日', '\ud800'].flatMap(char =>
    (['accessKeyId', 'accessKeySecret', 'securityToken'] as const).map(
      (member): [string, unknown, string, RegExp] => [
        `${JSON.stringify(char)} in ${member}`,
        { ...good, [member]: `${SECRET}${char}x-oss-acl: public` },
        `credentials.${member}`,
        /printable ASCII/,
      ],
    ),
  ),
  ['bearer', { type: 'bearer', bearerToken: SECRET }, 'credentials', /no bearer token/],
  [
    'the token under the name of ali-oss',
    { accessKeyId: 'id', accessKeySecret: SECRET, stsToken: SECRET },
    'credentials',
    /must not have stsToken: use securityToken$/,
  ],
]

t.test(
  'wrong fixed keys are refused by the constructor; the message names the member and quotes no value',
  async t => {
    for (const [label, option, name, problem] of wrong) {
      let error: unknown
      try {
        createCredentialSource(option as CredentialsOption)
      } catch (thrown) {
        error = thrown
      }
      t.match(
        error,
        {
          code: 'OSS_ERR_INVALID_OPTION',
          message: new RegExp(`^option ${name}: .*${problem.source}`),
        },
        label,
      )
      t.notMatch(printed(error), SECRET, `${label}: no secret`)
    }
  },
)

t.test(
  'a provider that returns wrong keys fails finally; the message names the member and quotes no value',
  async t => {
    for (const [label, result, name, problem] of wrong) {
      const source = createCredentialSource(() => result as typeof good)
      const error = (await failure(source.get())) as OssError
      const part =
        name === 'credentials' ? 'the result' : `the ${name.slice('credentials.'.length)}`
      t.match(
        error,
        {
          code: 'OSS_ERR_CREDENTIALS',
          isRefreshable: false,
          message: new RegExp(`^${part} of the credentials provider .*${problem.source}`),
        },
        label,
      )
      t.notMatch(printed(error), SECRET, `${label}: no secret`)
    }
  },
)

t.test('functions and objects of each kind serve as providers', async t => {
  class Client {
    readonly #keys = { ...good, accessKeyId: '\tid ', type: 'sts', bearerToken: undefined }
    getCredential() {
      return Promise.resolve(this.#keys)
    }
  }
  const options: [string, CredentialsOption][] = [
    ['function', () => good],
    ['function with a promise', async () => good],
    ['getCredential()', new Client()],
    ['getCredentials()', { getCredentials: async () => ({ ...good, providerName: 'x' }) }],
    ['both', { getCredential: () => good, getCredentials: () => ({}) } as CredentialsOption],
  ]
  for (const [label, option] of options) {
    const source = createCredentialSource(option, {})
    t.equal(source.isRefreshable, true, label)
    t.same(await source.get(), good, label)
  }
})

t.test('the environment is read at each call', async t => {
  const env: NodeJS.ProcessEnv = { OSS_ACCESS_KEY_ID: ' id\n', OSS_ACCESS_KEY_SECRET: SECRET }
  const source = createCredentialSource(undefined, env)
  t.equal(source.isRefreshable, true)
  t.same(await source.get(), { accessKeyId: 'id', accessKeySecret: SECRET })
  env.OSS_SESSION_TOKEN = good.securityToken
  t.same(await source.get(), good)
  env.OSS_SESSION_TOKEN = ''
  t.same(await source.get(), { accessKeyId: 'id', accessKeySecret: SECRET })

  const missing = (names: string) => ({
    code: 'OSS_ERR_CREDENTIALS',
    isRefreshable: false,
    message: `no credentials: set ${names} in the environment, or pass the option credentials`,
  })
  env.OSS_ACCESS_KEY_SECRET = ' '
  t.same(await describeFailure(source), missing('OSS_ACCESS_KEY_SECRET'))
  delete env.OSS_ACCESS_KEY_ID
  t.same(await describeFailure(source), missing('OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET'))
  env.OSS_ACCESS_KEY_SECRET = SECRET
  t.same(await describeFailure(source), missing('OSS_ACCESS_KEY_ID'))

  const broken: [string, string][] = [
    ['OSS_ACCESS_KEY_ID', 'a\nb'],
    ['OSS_ACCESS_KEY_SECRET', `${SECRET}\0x`],
    ['OSS_SESSION_TOKEN', `${SECRET}é`],
  ]
  for (const [name, value] of broken) {
    const whole = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: SECRET, [name]: value }
    t.same(await describeFailure(createCredentialSource(undefined, whole)), {
      code: 'OSS_ERR_CREDENTIALS',
      isRefreshable: false,
      message: `the environment variable ${name} must have printable ASCII characters only`,
    })
  }
})

t.test('the environment of the process is the default', async t => {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET', 'OSS_SESSION_TOKEN'] as const
  const saved = names.map(name => [name, process.env[name]] as const)
  t.teardown(() => {
    for (const [name, value] of saved) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  for (const name of names) process.env[name] = `value of ${name}`
  t.same(await createCredentialSource(undefined).get(), {
    accessKeyId: 'value of OSS_ACCESS_KEY_ID',
    accessKeySecret: 'value of OSS_ACCESS_KEY_SECRET',
    securityToken: 'value of OSS_SESSION_TOKEN',
  })
})

t.test(
  'concurrent callers share one call of the provider, and later callers make a new one',
  async t => {
    const { calls, provide } = scriptedProvider()
    const { clock, timers } = fakeClock()
    const source = createCredentialSource(provide, {}, { clock })
    const results = Array.from({ length: 1000 }, () => source.get())
    t.equal(calls.length, 1, 'a thousand callers, one call')
    calls[0]!.resolve(good)
    for (const credentials of await Promise.all(results)) {
      if (credentials.accessKeyId !== 'id') t.fail('wrong credentials')
    }
    t.equal(timers.size, 0, 'no timer is left')

    const next = source.get()
    t.equal(calls.length, 2, 'the result is not cached')
    calls[1]!.resolve({ ...good, accessKeyId: 'refreshed' })
    t.equal((await next).accessKeyId, 'refreshed')

    const failing = [source.get(), source.get()]
    t.equal(calls.length, 3)
    calls[2]!.reject(new Error('down'))
    for (const result of await Promise.allSettled(failing)) t.equal(result.status, 'rejected')
    const afterFailure = source.get()
    t.equal(calls.length, 4, 'a failure is not cached')
    calls[3]!.resolve(good)
    t.same(await afterFailure, good)
    t.equal(timers.size, 0)
  },
)

t.test('an error of the provider is refreshable, and its cause is redacted', async t => {
  const cause = Object.assign(new TypeError(`could not log in with secret=${SECRET}`), {
    code: 'ELOGIN',
    request: { headers: { authorization: SECRET } },
    cause: new Error(SECRET),
  })
  const throwing: [string, () => never | Promise<never>][] = [
    [
      'synchronously',
      () => {
        throw cause
      },
    ],
    ['by a promise', () => Promise.reject(cause)],
  ]
  for (const [label, provider] of throwing) {
    const error = (await failure(createCredentialSource(provider).get())) as OssError
    t.match(
      error,
      {
        code: 'OSS_ERR_CREDENTIALS',
        message: /^the credentials provider failed: TypeError ELOGIN \(/,
        isRefreshable: true,
      },
      label,
    )
    t.match(error.cause, { message: 'TypeError ELOGIN', code: 'ELOGIN' }, label)
    t.notMatch(printed(error), SECRET, label)
    t.match(cause.message, SECRET, 'the error of the provider is not changed')
  }
})

t.test('a result whose getter throws is an error of the provider', async t => {
  const result = {
    get accessKeyId(): string {
      throw new Error(`secret: ${SECRET}`)
    },
  }
  const error = await failure(createCredentialSource(() => result).get())
  t.match(error, { code: 'OSS_ERR_CREDENTIALS', isRefreshable: true })
  t.notMatch(printed(error), SECRET)
})

t.test(
  'a provider that hangs fails its callers after the timeout, and the next caller calls it again',
  async t => {
    const { calls, provide } = scriptedProvider()
    const { clock, advance, timers } = fakeClock()
    const source = createCredentialSource(provide, {}, { clock })
    const early = failure(source.get())
    advance(29_999)
    const late = failure(source.get())
    t.equal(calls.length, 1)
    t.equal(timers.size, 2)
    advance(1)
    for (const error of [await early, await late]) {
      t.match(error, {
        code: 'OSS_ERR_CREDENTIALS',
        message: 'the credentials provider did not answer within 30000 ms',
        isRefreshable: true,
      })
    }
    t.equal(timers.size, 0)

    const next = source.get()
    t.equal(calls.length, 2, 'the next caller makes a call of its own')
    calls[0]!.resolve({ ...good, accessKeyId: 'stale' })
    await setImmediate()
    const concurrent = source.get()
    t.equal(calls.length, 2, 'a late result of the first call does not end the second')
    calls[1]!.resolve(good)
    t.same(await next, good)
    t.same(await concurrent, good)
  },
)

t.test('a call that rejects after its timeout causes no unhandled rejection', async t => {
  const { calls, provide } = scriptedProvider()
  const { clock, advance } = fakeClock()
  const source = createCredentialSource(provide, {}, { clock, timeout: 5 })
  const first = failure(source.get())
  advance(5)
  t.match(await first, { message: /within 5 ms/ })
  calls[0]!.reject(new Error('late'))
  const next = source.get()
  calls[1]!.resolve(good)
  t.same(await next, good)
})

t.test('abort rejects only its caller, and leaves no listener or timer', async t => {
  const { calls, provide } = scriptedProvider()
  const { clock, advance, timers } = fakeClock()
  const source = createCredentialSource(provide, {}, { clock })
  const controller = new AbortController()
  const { signal } = controller
  let listeners = 0
  const add = signal.addEventListener
  const remove = signal.removeEventListener
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners += 1
    add.apply(signal, args)
  }
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1
    remove.apply(signal, args)
  }

  const settled = source.get(signal)
  calls[0]!.resolve(good)
  await settled
  t.equal(listeners, 0, 'no listener after a result')

  const aborted = failure(source.get(signal))
  const other = source.get()
  const reason = new Error('enough')
  controller.abort(reason)
  t.equal(await aborted, reason)
  t.equal(listeners, 0, 'no listener after an abort')
  t.equal(timers.size, 1, 'only the other caller waits')
  calls[1]!.resolve(good)
  t.same(await other, good)

  const sources: [string, CredentialSource][] = [
    ['provider', source],
    ['fixed', createCredentialSource(good)],
    ['environment', createCredentialSource(undefined, {})],
  ]
  for (const [label, each] of sources) {
    t.equal(await failure(each.get(signal)), reason, `${label}: aborted before`)
  }
  t.equal(calls.length, 2, 'the provider is not called')

  const only = new AbortController()
  const alone = failure(source.get(only.signal))
  only.abort(reason)
  await alone
  t.equal(timers.size, 0, 'a call without callers has no timer')
  advance(30_000)
  const next = source.get()
  t.equal(calls.length, 4, 'its deadline passes all the same')
  calls[3]!.resolve(good)
  t.same(await next, good)
})

t.test('the timer keeps the process alive while a caller waits', async t => {
  const { calls, provide } = scriptedProvider()
  const timeouts = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timeouts()
  const waiting = createCredentialSource(provide).get()
  t.equal(timeouts(), before + 1)
  calls[0]!.resolve(good)
  await waiting
  t.equal(timeouts(), before)

  const slow = createCredentialSource(provide, {}, { timeout: 1 })
  t.match(await failure(slow.get()), { message: /within 1 ms/, isRefreshable: true })
})

t.test('an inspected source shows no keys', async t => {
  const env = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: SECRET }
  const sources: CredentialSource[] = [
    createCredentialSource(good),
    createCredentialSource(undefined, env),
    createCredentialSource({ getCredential: () => good, secret: SECRET } as CredentialsOption),
    createCredentialSource(() => good),
  ]
  for (const source of sources) {
    await source.get()
    t.notMatch(printed(source), SECRET)
    t.match(printed(source), 'isRefreshable')
  }
})
