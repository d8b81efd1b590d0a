/** Wrong options and wrong faults are refused at once, by their names. */

import t from 'tap'
import { createOssServer } from '../../lib/server/index.ts'
import { startServer } from '../helpers/start-server.ts'

const CREDENTIALS = { accessKeyId: 'id', accessKeySecret: 'hush' }

/** Wrong options, and how the message begins. */
const OPTIONS: readonly [options: unknown, messageStart: string][] = [
  [null, 'options: must be an object'],
  [{ bukets: [] }, 'bukets: is unknown: did you mean buckets?'],
  [{ port: '80' }, 'port: must be a whole number from 0 to 65535'],
  [{ port: 65_536 }, 'port: must be a whole number from 0 to 65535'],
  [{ host: '' }, 'host: must be a string'],
  [{ dir: 5 }, 'dir: must be a string'],
  [{ region: '' }, 'region: must be a string'],
  [{ credentials: 'hush' }, 'credentials: must be an object'],
  [{ credentials: [] }, 'credentials: must not be an empty list'],
  [{ credentials: { accessKeyId: 'id' } }, 'credentials.accessKeySecret: must be a string'],
  [{ credentials: [CREDENTIALS, { accessKeySecret: 'x' }] }, 'credentials.accessKeyId: must be'],
  [{ credentials: { ...CREDENTIALS, securityToken: 7 } }, 'credentials.securityToken: must be'],
  [{ credentials: { ...CREDENTIALS, token: 'x' } }, 'credentials.token: is unknown'],
  [{ maxObjectBytes: 0 }, 'maxObjectBytes: must be a whole number from 1'],
  [{ buckets: 'abc' }, 'buckets: must be a list'],
  [{ buckets: ['abc', 5] }, 'buckets[1]: must be 3 to 63 of a-z, 0-9 and inner hyphens, not 5'],
  [{ buckets: ['X_'] }, 'buckets[0]: must be 3 to 63 of a-z, 0-9 and inner hyphens, not "X_"'],
  [{ cnames: ['a.b'] }, 'cnames: must be a plain object'],
  [{ cnames: { 'a.b': 1 } }, 'cnames.a.b: must be 3 to 63 of a-z, 0-9 and inner hyphens, not 1'],
  [{ permissions: 'oss:PutObject' }, 'permissions: must be a list'],
  [{ permissions: ['oss:Put'] }, 'permissions[0]: must be oss:PutObject, oss:DeleteObject, '],
  [{ seal: 'no' }, 'seal: must be true or false'],
  [{ buckets: ['logs'], cnames: { 'a.b': 'log' } }, 'cnames.a.b: must be logs'],
  [{ control: 'yes' }, 'control: must be an object'],
  [{ control: { port: -1 } }, 'control.port: must be a whole number from 0 to 65535'],
  [{ control: { token: '' } }, 'control.token: must be a string that is not empty'],
  [{ control: { tokn: 1 } }, 'control.tokn: is unknown: did you mean control.token?'],
  [{ dir: '/absent/folder' }, 'dir: must be in a folder that exists: /absent/folder'],
  [{ dir: import.meta.filename }, 'dir: must be a folder: '],
  [{ tls: true }, 'tls: must be an object'],
  [{ tls: { key: 'x' } }, 'tls.cert: must be a string'],
]

for (const [options, messageStart] of OPTIONS) {
  t.test(`the options ${JSON.stringify(options)} are refused`, async t => {
    const outcome = await createOssServer(options as object).catch((error: Error) => error)
    t.match(outcome, { code: 'OSS_ERR_INVALID_OPTION' })
    const { message = '' } = outcome as Error
    t.ok(message.startsWith(`option ${messageStart}`), message)
    t.notMatch(message, /hush/)
  })
}

/** Wrong faults, and how the message begins. */
const FAULTS: readonly [fault: unknown, messageStart: string][] = [
  [null, 'fault: must be a plain object'],
  [{}, 'fault.kind: must be refused, reset, lost, '],
  [{ kind: 'lsot', how: 'reset' }, 'fault.kind: must be '],
  [{ kind: 'toString' }, 'fault.kind: must be '],
  [{ kind: 'lost' }, 'fault.how: must be reset, hang or a whole number from 200 to 599'],
  [{ kind: 'lost', how: 199 }, 'fault.how: must be reset, hang or a whole number from 200 to 599'],
  [{ kind: 'late', how: 'reset' }, 'fault.lands: must be beforeNext, afterLook or a whole number'],
  [{ kind: 'status', status: 500, time: 3 }, 'fault.time: is unknown: did you mean fault.times?'],
  [{ kind: 'status' }, 'fault.status: must be a whole number'],
  // No final response has it: a client goes on waiting.
  [{ kind: 'status', status: 100 }, 'fault.status: must be a whole number from 200 to 599'],
  [{ kind: 'html', headers: { 'a b': 'c' } }, 'fault.headers.a b: is no header name'],
  [{ kind: 'html', headers: { a: 'b\r\nc: d' } }, 'fault.headers.a: must be the value of a header'],
  [
    { kind: 'html', headers: { a: ['b', '\u65e5'] } },
    'fault.headers.a: must be the value of a header',
  ],
  [
    { kind: 'mangled', part: 'crc64', how: 'wrong', value: 'a\n' },
    'fault.value: must be the value of',
  ],
  [{ kind: 'skewed', offset: 1e14 }, 'fault.offset: must be a whole number from -'],
  [
    { kind: 'html', with: [{ kind: 'sealed', times: 2 }] },
    'fault.with[0].times: belongs to the fault that strikes first',
  ],
  [
    { kind: 'html', with: [{ kind: 'sealed', on: 'head' }] },
    'fault.with[0].on: belongs to the fault that strikes first',
  ],
  [
    { kind: 'html', with: [{ kind: 'sealed', with: [{ kind: 'deleted' }] }] },
    'fault.with[0].with: belongs to the fault that strikes first',
  ],
  [{ kind: 'status', status: 500, children: { a: 1 } }, 'fault.children.a: must be a string'],
  [{ kind: 'status', status: 500, headers: { a: [1] } }, 'fault.headers.a: must be a string'],
  [{ kind: 'status', status: 500, body: 5 }, 'fault.body: must be a string or a Buffer'],
  [{ kind: 'status', status: 500, commits: 1 }, 'fault.commits: must be true or false'],
  [{ kind: 'garbage', bytes: 5 }, 'fault.bytes: must be a string or a Buffer'],
  [{ kind: 'mangled', part: 'etag', how: 'wrong' }, 'fault.part: must be requestId, '],
  [{ kind: 'mangled', part: 'crc64', how: 'wrong', value: 5 }, 'fault.value: must be a string'],
  [{ kind: 'sealed', how: 'reset' }, 'fault.how: is unknown'],
  [{ kind: 'tooLarge' }, 'fault.maxBytes: must be a whole number from 0'],
  [{ kind: 'rival', when: 'before', bytes: -1 }, 'fault.bytes: must be a string, a Buffer or a'],
  [{ kind: 'rival', when: 'after', lost: 1 }, 'fault.lost: must be true or false'],
  [{ kind: 'html', headers: { a: 1 } }, 'fault.headers.a: must be a string'],
  [{ kind: 'skewed', offset: '1h' }, 'fault.offset: must be a whole number'],
  [{ kind: 'slowRead', rate: 0 }, 'fault.rate: must be a whole number from 1'],
  [{ kind: 'forbidden', on: 'apend' }, 'fault.on: must be any, probe, append, '],
  [{ kind: 'forbidden', times: 0 }, 'fault.times: must be a whole number from 1 up, or Infinity'],
  [{ kind: 'forbidden', skip: -1 }, 'fault.skip: must be a whole number from 0 up, or Infinity'],
  [{ kind: 'forbidden', key: 5 }, 'fault.key: must be a string'],
  [{ kind: 'forbidden', with: { kind: 'stale' } }, 'fault.with: must be a list of faults'],
  [{ kind: 'forbidden', with: [{ kind: 'stall' }] }, 'fault.with[0].kind: must be '],
]

t.test('a wrong fault is refused, and none is added', async t => {
  const server = await startServer(t)
  for (const [fault, messageStart] of FAULTS) {
    const name = JSON.stringify(fault)
    try {
      server.faults.push({ kind: 'sealed' }, fault as { kind: 'stale' })
      t.fail(`${name} was accepted`)
    } catch (error) {
      const { code, message } = error as Error & { code: string }
      t.equal(code, 'OSS_ERR_INVALID_OPTION', name)
      t.ok(message.startsWith(`option ${messageStart}`), message)
    }
    t.equal(server.faults.length, 0, 'none is added')
  }
})

t.test('credentials that are set later are checked', async t => {
  const server = await startServer(t)
  t.throws(() => (server.credentials = []), { code: 'OSS_ERR_INVALID_OPTION' })
  t.equal(server.credentials.accessKeyId, 'test-access-key', 'the credentials before stay')
})
