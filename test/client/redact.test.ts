import { createServer } from 'node:net'
import { inspect } from 'node:util'
import t from 'tap'
import { createRedactor, toHarmlessError } from '../../lib/client/redact.ts'

const SECRET = 'hunter2/SECRET+=='
const keepText = (text: string) => text

t.test('a known secret that begins with another one is redacted completely', async t => {
  t.equal(createRedactor(['hunter2/', SECRET])(`a ${SECRET} b hunter2/ c`), 'a *** b *** c')
  t.equal(createRedactor([SECRET, 'hunter2/'])(`a ${SECRET} b hunter2/ c`), 'a *** b *** c')
})

t.test('a known secret is redacted in JSON, where it is escaped', async t => {
  const secret = 'SECRET"with\\quotes'
  t.equal(createRedactor([secret])(`a ${JSON.stringify({ secret })} b`), 'a {"secret":"***"} b')
})

t.test('a known secret is redacted percent-encoded, in upper and lower case', async t => {
  const redact = createRedactor([SECRET])
  const percent = encodeURIComponent(SECRET)
  t.equal(
    redact(`a=${percent}&b=${percent.replace('%2F', '%2f').replace(/%2B.*/, '%2b%3d%3d')}`),
    'a=***&b=***',
  )
})

t.test('a known secret is redacted in base64, wherever it begins in the encoded text', async t => {
  const redact = createRedactor([SECRET, 'x', undefined])
  for (const before of ['', 'i', 'id', 'id:', 'user:']) {
    for (const after of ['', '\n', ' and more']) {
      for (const encoding of ['base64', 'base64url'] as const) {
        const text = Buffer.from(before + SECRET + after).toString(encoding)
        const rest = redact(`Basic ${text}.`)
        t.match(rest, /^Basic \S{0,9}\*\*\*\S{0,16}\.$/, `${before}, ${after}, ${encoding}`)
        t.notMatch(Buffer.from(rest.slice(6), encoding).toString('latin1'), /hunter|SECRET/)
      }
    }
  }
})

/** Errors as Node makes them. */
async function listenError(path: string): Promise<Error> {
  return new Promise(resolve => createServer().on('error', resolve).listen(path))
}

t.test('the message of a harmless error is kept, and that of another is not', async t => {
  const make = (message: string, details: object, Class = Error) =>
    Object.assign(new Class(message), details)
  const refused = {
    code: 'ECONNREFUSED',
    syscall: 'connect',
    address: '127.0.0.1',
    port: 443,
  }
  const bad = SECRET.slice(0, 12)
  // what was thrown, the message that is left
  const table: [unknown, string][] = [
    [make(SECRET, refused), 'connect ECONNREFUSED 127.0.0.1:443'],
    [make(SECRET, { ...refused, port: bad }), 'connect ECONNREFUSED 127.0.0.1'],
    [make(SECRET, { ...refused, address: bad }), 'connect ECONNREFUSED'],
    [make(SECRET, { ...refused, syscall: `a ${bad}` }), 'Error ECONNREFUSED'],
    [make(SECRET, { code: 'ECONNREFUSED' }), 'Error ECONNREFUSED'],
    [
      make('', { code: 'ECONNREFUSED', errors: [make(SECRET, refused)] }, AggregateError as never),
      'connect ECONNREFUSED 127.0.0.1:443',
    ],
    [
      make(SECRET, { code: 'ECONNREFUSED', errors: [] }, AggregateError as never),
      'AggregateError ECONNREFUSED',
    ],
    [
      make(SECRET, { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'oss.local' }),
      'getaddrinfo ENOTFOUND oss.local',
    ],
    [
      make(SECRET, { code: 'EPROTO', syscall: 'write', reason: 'wrong version number' }),
      'write EPROTO wrong version number',
    ],
    [make(SECRET, { code: 'EPROTO', syscall: 'write', reason: SECRET }), 'write EPROTO'],
    [make('other side closed', { code: 'UND_ERR_SOCKET' }), 'other side closed'],
    [make('Expected HTTP/', { code: 'HPE_INVALID_CONSTANT' }), 'Expected HTTP/'],
    [make(`no ${SECRET}\r\n\u202e`, { code: 'ERR_INVALID_URL' }), 'no ***'],
    [make('m'.repeat(1000), { code: 'ERR_X' }), 'm'.repeat(500)],
    [make('expired', { code: 'CERT_HAS_EXPIRED' }, RangeError), 'RangeError CERT_HAS_EXPIRED'],
    [make(SECRET, { code: 'CUSTOM' }, TypeError), 'TypeError CUSTOM'],
    [new TypeError(SECRET), 'TypeError'],
    [make(SECRET, { code: SECRET, name: SECRET }), 'no Error'],
    [make(SECRET, { code: 5 }), 'Error'],
    [undefined, 'no Error'],
    [null, 'no Error'],
    [SECRET, 'no Error'],
    [{ message: SECRET, code: 'ERR_X' }, 'no Error ERR_X'],
    [Symbol(SECRET), 'no Error'],
    [Object.create(null), 'no Error'],
    [
      new Proxy(
        {},
        {
          get: () => {
            throw new Error(SECRET)
          },
        },
      ),
      'no Error',
    ],
    [
      Object.defineProperty(make('', { code: 'ERR_X' }), 'message', {
        get() {
          throw new Error(SECRET)
        },
      }),
      'Error ERR_X',
    ],
  ]
  for (const [thrown, message] of table) {
    const error = toHarmlessError(thrown, createRedactor([SECRET]))
    t.equal(error.message, message)
    t.ok(error !== thrown && error instanceof Error)
    const shown = inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })
    t.notMatch(shown, 'hunter2')
    t.strictSame(Object.keys(error), error.code === undefined ? [] : ['code'])
  }
  const path = await listenError(`/nowhere/${bad}/a`)
  t.match(toHarmlessError(path, keepText), { message: /^listen E[A-Z]+$/ }, 'no path')
})
