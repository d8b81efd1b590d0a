import { inspect } from 'node:util'
import t from 'tap'
import { createRedactor, redactError, redactNamed } from '../../lib/client/redact.ts'

const SECRET = 'hunter2/SECRET+=='

t.test('a known secret that begins with another one is redacted completely', async t => {
  t.equal(createRedactor(['hunter2/', SECRET])(`a ${SECRET} b hunter2/ c`), 'a *** b *** c')
  t.equal(createRedactor([SECRET, 'hunter2/'])(`a ${SECRET} b hunter2/ c`), 'a *** b *** c')
})

t.test('a known secret is redacted in JSON, where it is escaped', async t => {
  const secret = 'SECRET"with\\quotes'
  t.equal(createRedactor([secret])(`a ${JSON.stringify({ secret })} b`), 'a {"secret":"***"} b')
})

// Text of another library, the same text redacted.
const named: [string, string][] = [
  [
    `result: {"AccessKeyId":"STS.a","AccessKeySecret":"${SECRET}","SecurityToken":"${SECRET}"}.`,
    'result: {"AccessKeyId":"STS.a","AccessKeySecret":"***","SecurityToken":"***"}.',
  ],
  [`"{\\"AccessKeySecret\\": \\"${SECRET}\\"}"`, '"{\\"AccessKeySecret\\": \\"***\\"}"'],
  [`{ accessKeySecret: '${SECRET}', id: 1 }`, "{ accessKeySecret: '***', id: 1 }"],
  [`<AccessKeySecret>${SECRET}</AccessKeySecret>`, '<AccessKeySecret>***</AccessKeySecret>'],
  [
    'GET /?AccessKeyId=a&Signature=hunter2%2FSECRET&SecurityToken=hunter2 404',
    'GET /?AccessKeyId=a&Signature=***&SecurityToken=hunter2 404',
  ],
  [`OSS_ACCESS_KEY_SECRET=${SECRET}`, 'OSS_ACCESS_KEY_SECRET=***'],
  [`x-oss-security-token: ${SECRET}`, 'x-oss-security-token: ***'],
  [`Authorization: Bearer ${SECRET}`, 'Authorization: Bearer ***'],
  [`'proxy-authorization' = 'Basic ${SECRET}'`, "'proxy-authorization' = 'Basic ***'"],
  [`connect http://user:${SECRET.replace('/', '')}@proxy:80`, 'connect http://***@proxy:80'],
  [
    'the security token included in the request is expired',
    'the security token included in the request is expired',
  ],
  ['InvalidSecurityToken: the token', 'InvalidSecurityToken: the token'],
  ['the access key secret is empty', 'the access key secret is empty'],
  ['get metadata token failed with 404', 'get metadata token failed with 404'],
]

t.test('an unknown secret is redacted after a name that says so', async t => {
  for (const [text, redacted] of named) t.equal(redactNamed(text), redacted)
})

t.test('a text of a million characters is redacted without backtracking', async t => {
  for (const part of ['token', 'token=', 'secret"', '://', ' ', 'token ']) {
    t.ok(redactNamed(part.repeat(1_000_000 / part.length)).length > 0, part)
  }
})

t.test('a redacted error has message, stack and code, and no other property', async t => {
  const error = Object.assign(new RangeError(`no ${SECRET}`), {
    code: 'ECODE',
    config: { headers: { authorization: SECRET } },
    cause: new Error(SECRET),
    [Symbol('s')]: SECRET,
  })
  const redacted = redactError(error, createRedactor([SECRET]))
  t.strictSame(Object.keys(redacted), ['code'])
  t.match(redacted, { message: 'no ***', code: 'ECODE', stack: /^RangeError: no \*\*\*\n *at / })
  t.notMatch(inspect(redacted, { depth: Number.POSITIVE_INFINITY, showHidden: true }), 'hunter2')
})

t.test('redactError makes an error of any thrown value', async t => {
  const unreadable = Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error(SECRET)
    },
  })
  const keepText = (text: string) => text
  const table: [unknown, string][] = [
    [undefined, 'undefined'],
    [null, 'null'],
    ['text', 'text'],
    [Symbol('x'), 'Symbol(x)'],
    [Object.assign(new Error(), { message: 5, stack: undefined, code: 5 }), '5'],
    [Object.create(null), 'what was thrown cannot be read'],
    [unreadable, 'what was thrown cannot be read'],
  ]
  for (const [thrown, message] of table) {
    const redacted = redactError(thrown, keepText)
    t.strictSame([redacted.message, Object.keys(redacted)], [message, []])
    t.type(redacted.stack, 'string')
  }
})
