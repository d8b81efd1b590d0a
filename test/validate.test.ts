import t from 'tap'
import { createRollingAppendStream, OssClient } from '../lib/index.ts'
import { resolveOptions } from '../lib/options.ts'
import {
  checkBoolean,
  checkInteger,
  checkKnown,
  checkLimit,
  checkOneOf,
  checkRecord,
  formatValue,
} from '../lib/validate.ts'

const SECRET = 'hunter2SECRET'

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as Error).message
  }
  return 'nothing was thrown'
}

t.test('a message shows the wrong value', async t => {
  const table: [() => unknown, string][] = [
    [() => checkInteger('a', 0, 1, 9), 'must be a whole number from 1 to 9, not 0'],
    [() => checkInteger('a', '5', 1, 9), 'must be a whole number from 1 to 9, not "5"'],
    [() => checkInteger('a', Number.NaN, 1, 9), 'must be a whole number from 1 to 9, not NaN'],
    [() => checkLimit('a', -1), 'must be a whole number from 0 up, or Infinity, not -1'],
    [() => checkLimit('a', 5n), 'must be a whole number from 0 up, or Infinity, not a bigint'],
    [() => checkBoolean('a', 'yes'), 'must be true or false, not "yes"'],
    [() => checkBoolean('a', null), 'must be true or false, not null'],
    [() => checkOneOf('a', 'z', ['x', 'y']), 'must be x or y, not "z"'],
    [() => checkOneOf('a', ['x'], ['x']), 'must be x, not an Array'],
    [() => checkKnown('a', new Map(), []), 'must be an object, not a Map'],
    [() => checkKnown('a', Promise.resolve({}), []), 'must be an object, not a Promise'],
    [() => checkKnown('a', null, []), 'must be an object, not null'],
    [
      () => checkRecord('a', new Headers()),
      'must be a plain object of names and values, not a Headers',
    ],
  ]
  for (const [run, problem] of table) t.equal(messageOf(run), `option a: ${problem}`)
})

t.test('a message does not show a string where an object with secrets belongs', async t => {
  for (const check of [checkKnown, checkRecord]) {
    const message = messageOf(() => check('credentials', SECRET, []))
    t.match(message, /, not a string$/)
    t.notMatch(message, SECRET)
  }
})

t.test('a wrong value is shown in one line of bounded length', async t => {
  t.equal(formatValue('a\n"b"'), '"a\\n\\"b\\""')
  t.equal(formatValue('x'.repeat(1 << 20)), `"${'x'.repeat(64)}..."`)
  t.equal(formatValue(undefined), 'undefined')
  t.equal(
    formatValue(() => {}),
    'a function',
  )
  t.equal(formatValue({ toString: () => SECRET }), 'an Object')
  t.equal(formatValue(Symbol(SECRET)), 'a symbol')
})

// name in ali-oss, the remedy
const aliOss: [string, RegExp][] = [
  ['accessKeyId', /: pass credentials: \{ accessKeyId, accessKeySecret \}$/],
  ['accessKeySecret', /: pass credentials: \{ accessKeyId, accessKeySecret \}$/],
  ['stsToken', /: use credentials\.securityToken$/],
  ['refreshSTSToken', /: pass a function as credentials$/],
  ['timeout', /: use requestTimeout$/],
  ['secure', /: https is the default; an endpoint may begin with http:\/\/$/],
  ['internal', /: use the internal endpoint, as in oss-cn-hangzhou-internal\.aliyuncs\.com$/],
  ['retryMax', /retry\.maxRetries/],
]

t.test('a name of ali-oss is refused with the name that replaces it', async t => {
  const target = { bucket: 'examplebucket', key: 'a' }
  for (const [name, remedy] of aliOss) {
    const option = { region: 'cn-hangzhou', [name]: SECRET }
    const calls = [
      () => new OssClient(option),
      () => resolveOptions({ ...target, ...option }),
      () => createRollingAppendStream({ ...target, ...option }),
    ]
    for (const call of calls) {
      const message = messageOf(call)
      t.match(message, new RegExp(`^option ${name}: is unknown`))
      t.match(message, remedy)
      t.notMatch(message, SECRET)
    }
  }
  const retry = { retryMax: 3 } as object
  t.match(
    messageOf(() => resolveOptions({ ...target, retry })),
    /^option retry\.retryMax: is unknown: use retry\.maxRetries$/,
  )
})

t.test('a name of ali-oss has no remedy where the replacement is unknown', async t => {
  for (const [name] of aliOss) {
    t.equal(
      messageOf(() => checkKnown('options', { [name]: 1 }, ['a'])),
      `option ${name}: is unknown`,
    )
  }
})
