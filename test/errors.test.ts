import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect, types } from 'node:util'
import t from 'tap'
import {
  conflict,
  exhausted,
  integrity,
  invalidOption,
  invalidRecord,
  notAppendable,
  OSS_ERROR_CODES,
  OssConflictError,
  OssError,
  OssServiceError,
  objectFull,
  recordTooLarge,
  replaced,
  resumeMismatch,
  withContext,
} from '../lib/errors.ts'

const before = { position: 5, crc64: '11' }
const after = { position: 9, crc64: '22' }
const seen = { position: 7, crc64: '33' }
const cause = new Error('the reason')

const service = new OssServiceError('AccessDenied', 'no right', {
  status: 403,
  requestId: 'REQUEST-1',
  hostId: 'examplebucket.example.com',
  ec: '0003-00000001',
  nextPosition: 7,
})

// label, error, class, code, what an own property must be, what the message must tell
const errors: [string, OssError, new (...args: never[]) => OssError, string, object, RegExp][] = [
  ['plain', new OssError('OSS_ERR_NETWORK', 'broke'), OssError, 'OSS_ERR_NETWORK', {}, /^broke$/],
  [
    'with all details',
    new OssError('OSS_ERR_CREDENTIALS', 'none', {
      bucket: 'b',
      key: 'k',
      cause,
      isRefreshable: true,
    }),
    OssError,
    'OSS_ERR_CREDENTIALS',
    { bucket: 'b', key: 'k', cause },
    /^none$/,
  ],
  [
    'of OSS',
    service,
    OssServiceError,
    'AccessDenied',
    {
      status: 403,
      requestId: 'REQUEST-1',
      hostId: 'examplebucket.example.com',
      ec: '0003-00000001',
      nextPosition: 7,
    },
    /^no right$/,
  ],
  [
    'of OSS, little known',
    new OssServiceError('BadErrorResponse', 'HTTP 500', { status: 500, requestId: '' }),
    OssServiceError,
    'BadErrorResponse',
    { status: 500, requestId: '' },
    /^HTTP 500$/,
  ],
  [
    'invalidOption',
    invalidOption('retry.minDelay', 'is wrong'),
    OssError,
    'OSS_ERR_INVALID_OPTION',
    {},
    /^option retry\.minDelay: is wrong$/,
  ],
  [
    'notAppendable: another type',
    notAppendable({ type: 'Normal', requestId: 'REQUEST-2' }, 'ObjectNotAppendable'),
    OssServiceError,
    'ObjectNotAppendable',
    { status: 409, requestId: 'REQUEST-2' },
    /Normal/,
  ],
  [
    'notAppendable: sealed',
    notAppendable({ type: 'Appendable', requestId: 'REQUEST-2' }, 'AppendSealedObjectNotAllowed'),
    OssServiceError,
    'AppendSealedObjectNotAllowed',
    { status: 409, requestId: 'REQUEST-2' },
    /sealed/,
  ],
  [
    'integrity',
    integrity(after, { ...seen, requestId: 'REQUEST-3' }),
    OssError,
    'OSS_ERR_INTEGRITY',
    { requestId: 'REQUEST-3' },
    /7 .*33.*9 .*22.*REQUEST-3/,
  ],
  [
    'integrity: no CRC to be had',
    integrity({ position: 9 }, { position: 9, requestId: 'REQUEST-3' }),
    OssError,
    'OSS_ERR_INTEGRITY',
    { requestId: 'REQUEST-3' },
    /unknown/,
  ],
  [
    'replaced: shorter',
    replaced(before, { position: 2 }, cause),
    OssError,
    'OSS_ERR_OBJECT_REPLACED',
    { cause },
    /ends at 2, .* at 5/,
  ],
  [
    'replaced: gone',
    replaced(before, null, cause),
    OssError,
    'OSS_ERR_OBJECT_REPLACED',
    { cause },
    /gone.*5/,
  ],
  [
    'conflict',
    conflict(before, after, seen, cause),
    OssConflictError,
    'PositionNotEqualToLength',
    { before, after, seen, cause },
    /7.*5/,
  ],
  ['objectFull', objectFull(11, 10), OssError, 'OSS_ERR_OBJECT_FULL', {}, /11.*10/],
  [
    'recordTooLarge',
    recordTooLarge(9),
    OssError,
    'OSS_ERR_RECORD_TOO_LARGE',
    {},
    /maxRecordBytes \(9 bytes\)/,
  ],
  [
    'invalidRecord',
    invalidRecord('it is empty'),
    OssError,
    'OSS_ERR_INVALID_RECORD',
    {},
    /append\(\): it is empty/,
  ],
  [
    'resumeMismatch: other bytes',
    resumeMismatch(after, 9),
    OssError,
    'OSS_ERR_RESUME_MISMATCH',
    { tail: after },
    /first 9 bytes.*nothing was sent/,
  ],
  [
    'resumeMismatch: a shorter source',
    resumeMismatch(after, 4),
    OssError,
    'OSS_ERR_RESUME_MISMATCH',
    { tail: after },
    /4 bytes.*9.*nothing was sent/,
  ],
  [
    'exhausted',
    exhausted(cause, 4),
    OssError,
    'OSS_ERR_RETRIES_EXHAUSTED',
    { cause },
    /4 attempts: the reason/,
  ],
  [
    'exhausted at once',
    exhausted(cause, 1),
    OssError,
    'OSS_ERR_RETRIES_EXHAUSTED',
    { cause },
    /1 attempt: the reason/,
  ],
]

for (const [label, error, type, code, properties, message] of errors) {
  t.test(label, async t => {
    t.equal(error.constructor, type)
    t.ok(error instanceof OssError && error instanceof Error)
    t.equal(error.code, code)
    t.match(error.message, message)
    t.notMatch(error.message, /undefined|null|NaN|\[object/)

    const own = Object.fromEntries(
      Object.getOwnPropertyNames(error).map(n => [n, error[n as never]]),
    )
    const { stack, message: _, isRefreshable, isUnsent, isBodyCut, ...rest } = own
    t.strictSame(rest, { code, ...properties }, 'what is not known is no property')
    t.type(stack, 'string')
    t.strictSame(
      [isRefreshable, isUnsent, isBodyCut].map(fact => typeof fact),
      ['boolean', 'boolean', 'boolean'],
    )
  })

  t.test(`${label}: as it prints`, async t => {
    const { name } = type
    t.equal(error.name, name)
    t.notOk(Object.hasOwn(error, 'name'), 'the name is the prototype’s')
    t.ok(Object.hasOwn(type.prototype, 'name'))
    t.equal(`${error}`, `${name}: ${error.message}`)
    t.ok(error.stack?.startsWith(`${name}: ${error.message}\n`))

    const text = inspect(error)
    t.ok(text.startsWith(`${name}: ${error.message}\n`), 'inspected, it begins with its name')
    t.match(text, `code: '${code}'`)
    t.notMatch(text, /undefined|isRefreshable|isUnsent|isBodyCut|name:/)
    t.equal(text.includes('[cause]: Error: the reason'), 'cause' in properties)
    const json = JSON.parse(JSON.stringify(error))
    t.notOk('isRefreshable' in json || 'cause' in json || 'stack' in json)
    t.equal(json.code, code)
  })
}

t.test('isRefreshable is false unless told, and fixed', async t => {
  const refreshable = new OssError('X', 'x', { isRefreshable: true })
  t.equal(refreshable.isRefreshable, true)
  t.equal(new OssError('X', 'x').isRefreshable, false)
  t.equal(new OssError('X', 'x', { isRefreshable: undefined }).isRefreshable, false)
  t.notOk(Object.keys(refreshable).includes('isRefreshable'))
  t.throws(() => Object.assign(refreshable, { isRefreshable: false }))
})

t.test('withContext makes a copy that says more, and leaves the error as it was', async t => {
  const tail = { position: 3, crc64: '9' }
  const originals = [
    new OssError('X', 'x', { cause, isRefreshable: true, requestId: 'R' }),
    new OssServiceError('X', 'x', { status: 409, requestId: 'R', nextPosition: 7 }),
    conflict(before, after, seen, cause),
  ]
  for (const original of originals) {
    const printed = inspect(original)
    const copy = withContext(original, { bucket: 'b', key: undefined, tail }, ': do this')
    t.not(copy, original)
    t.equal(inspect(original), printed, 'the original is as it was')
    t.equal(Object.getPrototypeOf(copy), Object.getPrototypeOf(original))
    t.ok(types.isNativeError(copy))
    t.equal(copy.message, `${original.message}: do this`)
    t.ok(copy.stack?.startsWith(`${original.name}: ${copy.message}\n`))
    t.equal(copy.stack?.split('\n')[1], original.stack?.split('\n')[1], 'where it was made')
    t.strictSame({ ...copy }, { ...original, bucket: 'b', tail })
    t.equal(copy.cause, original.cause)
    t.equal(copy.isRefreshable, original.isRefreshable)
    t.notOk(Object.keys(copy).includes('key'))
  }
  const foreign = new TypeError('of other code')
  t.equal(withContext(foreign, { tail }), foreign)
})

t.test('withContext copies an error whose stack is an accessor, as in V8 15', async t => {
  const original = new OssError('X', 'x')
  const { stack } = original
  Object.defineProperty(original, 'stack', { get: () => stack, set() {}, configurable: true })
  const copy = withContext(original, { bucket: 'b' }, ': do this')
  t.ok(copy.stack?.startsWith('OssError: x: do this\n'))
  t.notOk(Object.keys(copy).includes('stack'))
})

t.test('which class says what', async t => {
  const plain = new OssError('X', 'x')
  const rivalry = conflict(before, after, seen, cause)
  t.notOk(plain instanceof OssServiceError)
  t.notOk(plain instanceof OssConflictError)
  t.notOk(
    rivalry instanceof OssServiceError,
    'a conflict is a verdict of this package, and the response of OSS is its cause',
  )
  t.ok(service instanceof OssServiceError && !((service as OssError) instanceof OssConflictError))
})

t.test('the details of an error are not those of its cause', async t => {
  const error = exhausted(service, 3)
  t.equal(error.cause, service)
  t.notOk('requestId' in error)
  t.equal(service.code, 'AccessDenied', 'the cause is left as it was')
})

t.test('the codes that the sources use are those of the public type', async t => {
  const lib = join(import.meta.dirname, '../lib')
  const used = new Set<string>()
  for (const file of readdirSync(lib, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.startsWith('server')) continue
    const text = readFileSync(join(lib, file), 'utf8')
    for (const [, code = ''] of text.matchAll(/new OssError\(\s*'(\w+)'/g)) used.add(code)
  }
  // From the documentation, by hand: a code that is renamed breaks the programs that compare it.
  const documented = [
    'OSS_ERR_ABORTED',
    'OSS_ERR_BODY_REFUSED',
    'OSS_ERR_CLIENT',
    'OSS_ERR_CREDENTIALS',
    'OSS_ERR_INTEGRITY',
    'OSS_ERR_INVALID_OPTION',
    'OSS_ERR_INVALID_RECORD',
    'OSS_ERR_JOURNAL',
    'OSS_ERR_NETWORK',
    'OSS_ERR_OBJECT_FULL',
    'OSS_ERR_OBJECT_REPLACED',
    'OSS_ERR_RECORD_TOO_LARGE',
    'OSS_ERR_RESUME_MISMATCH',
    'OSS_ERR_RETRIES_EXHAUSTED',
    'OSS_ERR_TIMEOUT',
  ]
  t.same([...OSS_ERROR_CODES].sort(), documented)
  t.same([...used].sort(), documented)
})
