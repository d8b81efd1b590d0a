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

/** A clock that stands still until it is told; it fires what falls due. */
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

/** A provider that answers when told, call by call. */
function scriptedProvider() {
  const calls: { resolve(answer: unknown): void; reject(error: unknown): void }[] = []
  const provide = () =>
    new Promise<typeof good>((resolve, reject) => {
      calls.push({ resolve: resolve as (answer: unknown) => void, reject })
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

async function kind(source: CredentialSource): Promise<unknown> {
  const error = await failure(source.get())
  if (!(error instanceof OssError)) throw error
  const { code, message, isRefreshable: isCurable } = error
  return { code, message, isCurable }
}

t.test('fixed keys are checked, trimmed and copied', async t => {
  const option = { ...good, accessKeyId: ' id\n' }
  const source = createCredentialSource(option)
  option.accessKeySecret = 'changed later'
  t.equal(source.isRenewable, false)
  const credentials = await source.get()
  t.same(credentials, good)
  t.equal(option.accessKeyId, ' id\n', "the caller's object is untouched")
  t.throws(() => Object.assign(credentials, { accessKeyId: 'x' }), TypeError, 'nor can ours be')

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
]

t.test('wrong fixed keys are refused at once, by name and unquoted', async t => {
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
})

t.test('a provider that answers the same is refused finally', async t => {
  for (const [label, answer, name, problem] of wrong) {
    const source = createCredentialSource(() => answer as typeof good)
    const error = (await failure(source.get())) as OssError
    const part = name === 'credentials' ? 'the answer' : `the ${name.slice('credentials.'.length)}`
    t.match(
      error,
      {
        code: 'OSS_ERR_CREDENTIALS',
        isCurable: false,
        message: new RegExp(`^${part} of the credentials provider .*${problem.source}`),
      },
      label,
    )
    t.notMatch(printed(error), SECRET, `${label}: no secret`)
  }
})

t.test('every kind of provider', async t => {
  class Client {
    readonly #answer = { ...good, accessKeyId: '\tid ', type: 'sts', bearerToken: undefined }
    getCredential() {
      return Promise.resolve(this.#answer)
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
    t.equal(source.isRenewable, true, label)
    t.same(await source.get(), good, label)
  }
})

t.test('the environment, afresh at each call', async t => {
  const env: NodeJS.ProcessEnv = { OSS_ACCESS_KEY_ID: ' id\n', OSS_ACCESS_KEY_SECRET: SECRET }
  const source = createCredentialSource(undefined, env)
  t.equal(source.isRenewable, true)
  t.same(await source.get(), { accessKeyId: 'id', accessKeySecret: SECRET })
  env.OSS_SESSION_TOKEN = good.securityToken
  t.same(await source.get(), good)
  env.OSS_SESSION_TOKEN = ''
  t.same(await source.get(), { accessKeyId: 'id', accessKeySecret: SECRET })

  const message = (names: string) => ({
    code: 'OSS_ERR_CREDENTIALS',
    isCurable: false,
    message: `no credentials: set ${names} in the environment, or pass the option credentials`,
  })
  env.OSS_ACCESS_KEY_SECRET = ' '
  t.same(await kind(source), message('OSS_ACCESS_KEY_SECRET'))
  delete env.OSS_ACCESS_KEY_ID
  t.same(await kind(source), message('OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET'))
  env.OSS_ACCESS_KEY_SECRET = SECRET
  t.same(await kind(source), message('OSS_ACCESS_KEY_ID'))

  const broken: [string, string][] = [
    ['OSS_ACCESS_KEY_ID', 'a\nb'],
    ['OSS_ACCESS_KEY_SECRET', `${SECRET}\0x`],
    ['OSS_SESSION_TOKEN', `${SECRET}é`],
  ]
  for (const [name, value] of broken) {
    const whole = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: SECRET, [name]: value }
    t.same(await kind(createCredentialSource(undefined, whole)), {
      code: 'OSS_ERR_CREDENTIALS',
      isCurable: false,
      message: `the environment variable ${name} must hold printable ASCII characters only`,
    })
  }
})

t.test("the process's own environment is the default", async t => {
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

t.test('one call in flight, shared; none remembered', async t => {
  const { calls, provide } = scriptedProvider()
  const { clock, timers } = fakeClock()
  const source = createCredentialSource(provide, {}, { clock })
  const crowd = Array.from({ length: 1000 }, () => source.get())
  t.equal(calls.length, 1, 'a thousand callers, one call')
  calls[0]!.resolve(good)
  for (const credentials of await Promise.all(crowd)) {
    if (credentials.accessKeyId !== 'id') t.fail('wrong credentials')
  }
  t.equal(timers.size, 0, 'no timer stays')

  const next = source.get()
  t.equal(calls.length, 2, 'asked again')
  calls[1]!.resolve({ ...good, accessKeyId: 'renewed' })
  t.equal((await next).accessKeyId, 'renewed')

  const failing = [source.get(), source.get()]
  t.equal(calls.length, 3)
  calls[2]!.reject(new Error('down'))
  for (const result of await Promise.allSettled(failing)) t.equal(result.status, 'rejected')
  const afterFailure = source.get()
  t.equal(calls.length, 4, 'a failure is not remembered either')
  calls[3]!.resolve(good)
  t.same(await afterFailure, good)
  t.equal(timers.size, 0)
})

t.test('a provider that throws can be asked again', async t => {
  const cause = Object.assign(new TypeError(`could not log in with secret=${SECRET}`), {
    code: 'ELOGIN',
    request: { headers: { authorization: SECRET } },
    cause: new Error(SECRET),
  })
  const throwing: [string, () => never | Promise<never>][] = [
    [
      'at once',
      () => {
        throw cause
      },
    ],
    ['later', () => Promise.reject(cause)],
  ]
  for (const [label, provider] of throwing) {
    const error = (await failure(createCredentialSource(provider).get())) as OssError
    t.match(
      error,
      {
        code: 'OSS_ERR_CREDENTIALS',
        message: 'the credentials provider failed',
        isCurable: true,
      },
      label,
    )
    t.match(error.cause, { message: 'could not log in with secret=***', code: 'ELOGIN' }, label)
    t.match((error.cause as Error).stack, /^TypeError: could not .*\n.*credentials\.test\.ts/)
    t.notMatch(printed(error), SECRET, label)
    t.match(cause.message, SECRET, 'the error itself is not ours to change')
  }
})

t.test('a provider that quotes the keys it gave last', async t => {
  const { calls, provide } = scriptedProvider()
  const source = createCredentialSource(provide)
  const first = source.get()
  calls[0]?.resolve(good)
  await first
  const failing = failure(source.get())
  calls[1]?.reject(`${good.securityToken} is over, and so is ${SECRET}`)
  const error = (await failing) as OssError
  t.match(error.cause, { message: '*** is over, and so is ***' })
  t.notMatch(printed(error), SECRET)
})

t.test('an answer that throws when it is read', async t => {
  const answer = {
    get accessKeyId(): string {
      throw new Error(`secret: ${SECRET}`)
    },
  }
  const error = await failure(createCredentialSource(() => answer).get())
  t.match(error, { code: 'OSS_ERR_CREDENTIALS', isCurable: true })
  t.notMatch(printed(error), SECRET)
})

t.test('a provider that hangs', async t => {
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
      isCurable: true,
    })
  }
  t.equal(timers.size, 0)

  const next = source.get()
  t.equal(calls.length, 2, 'the next caller does not wait for the dead call')
  calls[0]!.resolve({ ...good, accessKeyId: 'stale' })
  await setImmediate()
  const companion = source.get()
  t.equal(calls.length, 2, 'the dead call, come alive, does not end the new one')
  calls[1]!.resolve(good)
  t.same(await next, good)
  t.same(await companion, good)
})

t.test('a dead call may also fail late, unheard', async t => {
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

t.test('abort rejects its caller alone and leaves nothing behind', async t => {
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
  t.equal(listeners, 0, 'no listener after an answer')

  const aborted = failure(source.get(signal))
  const other = source.get()
  const reason = new Error('enough')
  controller.abort(reason)
  t.equal(await aborted, reason)
  t.equal(listeners, 0, 'no listener after an abort')
  t.equal(timers.size, 1, 'only the other still waits')
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
  t.equal(calls.length, 2, 'and then the provider is not asked')

  const only = new AbortController()
  const alone = failure(source.get(only.signal))
  only.abort(reason)
  await alone
  t.equal(timers.size, 0, 'a hanging call that nobody waits for has no timer')
  advance(30_000)
  const next = source.get()
  t.equal(calls.length, 4, 'and its time runs out all the same')
  calls[3]!.resolve(good)
  t.same(await next, good)
})

t.test('the real timer holds the process while somebody waits', async t => {
  const { calls, provide } = scriptedProvider()
  const timeouts = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timeouts()
  const waiting = createCredentialSource(provide).get()
  t.equal(timeouts(), before + 1)
  calls[0]!.resolve(good)
  await waiting
  t.equal(timeouts(), before)

  const slow = createCredentialSource(provide, {}, { timeout: 1 })
  t.match(await failure(slow.get()), { message: /within 1 ms/, isCurable: true })
})

t.test('no source prints what it holds', async t => {
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
    t.match(printed(source), 'isRenewable')
  }
})
