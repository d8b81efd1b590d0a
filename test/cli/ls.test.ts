/** `oss-append ls`: the objects of a bucket, and how the list is read. */

import t from 'tap'
import { parseObjectPage } from '../../lib/client/list-objects.ts'
import { Output, runCli, startCli, startCliServer, waitFor } from '../helpers/run-cli.ts'
import { startScriptedServer } from '../helpers/scripted-server.ts'

const BUCKET = 'examplebucket'
const NAMES = ['logs/温度 +&<>"\'%20.log', 'logs/a.log', 'logs/b\u0001\u001b[31m.log', 'other']

t.test('ls prints length, type, time and key of each object', async t => {
  const { server, runWithServer } = await startCliServer(t)
  for (const name of NAMES) server.append(BUCKET, name, 'x'.repeat(name.length))
  server.put(BUCKET, 'logs/normal', 'a normal object')
  const all = await runWithServer(['ls', `oss://${BUCKET}`])
  t.match(all, { code: 0, stderr: '' })
  const lines = all.stdout.trimEnd().split('\n')
  t.equal(lines.length, 5)
  const form = /^ {0,12}\d+ {2}(Appendable|Normal {4}) {2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}\S/
  for (const line of lines) {
    t.match(line, form)
    t.equal(line.indexOf('Z  ') + 3, 49, 'a key of 31 characters fits into 80 columns')
  }
  t.match(lines[0], /^ +10 {2}Appendable .*Z {2}logs\/a\.log$/)
  t.match(lines[1], /Z {2}logs\/b\?\?\[31m\.log$/, 'a terminal does not obey a key')
  t.match(lines[2], /^ +15 {2}Normal .*Z {2}logs\/normal$/)
  t.ok(lines[3]?.endsWith(`Z  ${NAMES[0]}`), 'characters of XML are decoded')

  const json = await runWithServer(['ls', '--json', `oss://${BUCKET}/logs/`])
  const objects = json.stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.same(
    objects.map(({ key }) => key),
    [NAMES[1], NAMES[2], 'logs/normal', NAMES[0]],
  )
  t.match(objects[0], {
    url: `oss://${BUCKET}/logs/a.log`,
    key: 'logs/a.log',
    length: 10,
    type: 'Appendable',
    lastModified: /^\d{4}-\d\d-\d\dT.*Z$/,
  })
  t.same(await runWithServer(['ls', `oss://${BUCKET}/none`]), { code: 0, stdout: '', stderr: '' })
})

t.test('ls goes on with the next page, also after an outage', async t => {
  const { server, runWithServer } = await startCliServer(t)
  for (let i = 0; i < 2_001; i++) server.append(BUCKET, `k${i} +`, 'x')
  server.faults.push({ kind: 'reset', when: 'after', on: 'list', skip: 1 })
  const { code, stdout, stderr } = await runWithServer(['ls', `oss://${BUCKET}/k`])
  t.equal(code, 0)
  t.equal(new Set(stdout.trimEnd().split('\n')).size, 2_001)
  t.match(stderr, /trying again/)
  const lists = server.requests.filter(({ operation }) => operation === 'list')
  t.equal(lists.length, 4)
})

t.test('ls ends when its reader goes away, and at a signal', async t => {
  const { server, env } = await startCliServer(t)
  for (let i = 0; i < 1_500; i++) server.append(BUCKET, `k${i}`, 'x')
  const command = startCli(['ls', `oss://${BUCKET}`], { env, stdout: new StoppedOutput() })
  await waitFor(() => command.stdout.writableNeedDrain)
  command.kill('SIGTERM')
  t.match(await command.result, { code: 143 })
  const closed = startCli(['ls', `oss://${BUCKET}`], { env })
  closed.stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  t.match(await closed.result, { code: 0, stderr: '' })
})

t.test('ls ends with an error where a server repeats the token of a page', async t => {
  const { env } = await startCliServer(t)
  const next = '<IsTruncated>true</IsTruncated><NextContinuationToken>T</NextContinuationToken>'
  const body = `<ListBucketResult>${next}</ListBucketResult>`
  const head = `HTTP/1.1 200 OK\r\nx-oss-request-id: R\r\ncontent-length: ${body.length}\r\n\r\n`
  const { port, requests } = await startScriptedServer(t, () => {
    // A command that goes on for ever gets no third page.
    return requests.length < 4 ? head + body : 'HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n'
  })
  const wrong = { ...env, OSS_ENDPOINT: `http://127.0.0.1:${port}` }
  const result = await runCli(['ls', `oss://${BUCKET}`], { env: wrong })
  t.match(result, { code: 1, stdout: '', stderr: /a list of objects that does not end/ })
  t.equal(requests.length, 2)
})

t.test('ls names what is wrong', async t => {
  const { server, runWithServer } = await startCliServer(t)
  t.match(await runWithServer(['ls', 'oss://A']), { code: 2, stderr: /url: its bucket must be/ })
  server.permissions.delete('oss:ListObjects')
  t.match(await runWithServer(['ls', `oss://${BUCKET}/logs/`]), {
    code: 1,
    stderr: /AccessDenied\n(.*\n)* {2}object +oss:.*logs\/\n {2}needs +the RAM action oss:ListObj/,
  })
  server.buckets.delete('another')
  t.match(await runWithServer(['ls', 'oss://another']), { code: 1, stderr: /NoSuchBucket/ })
  server.permissions.add('oss:ListObjects')
  const json = await runWithServer(['ls', '--json', 'oss://another'])
  t.match(JSON.parse(json.stdout), { event: 'error', code: 'NoSuchBucket', exitCode: 1 })
})

t.test('ls --local lists a folder', async t => {
  const local = ['--local', t.testdir({})]
  t.match(await runCli([...local, `oss://${BUCKET}/a`, '-'], { input: 'hello' }), { code: 0 })
  t.match(await runCli(['ls', ...local, `oss://${BUCKET}`]), {
    code: 0,
    stdout: /^ +5 {2}Appendable .*Z {2}a\n$/,
  })
})

/** A page with these elements behind the objects. */
const page = (objects: string, rest = '<IsTruncated>false</IsTruncated>') =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>${objects}${rest}</ListBucketResult>`
const object = (key: string, size = '1', more = '') =>
  `<Contents><Key>${key}</Key><LastModified>2026-11-28T12:00:00.000Z</LastModified>` +
  `<ETag>"A&amp;"</ETag><Type>Appendable</Type><Size>${size}</Size>${more}</Contents>`

t.test('a list is read with its entities and its percent-encoding', async t => {
  const table: [text: string, key: string][] = [
    ['a', 'a'],
    ['a%20b+c%2Bd', 'a b c+d'],
    ['%E6%B8%A9', '温'],
    ['%26amp%3B&amp;&lt;&gt;&quot;&apos;', '&amp;&<>"\''],
    ['&#65;&#x42;', 'AB'],
    ['&amp;lt;', '&lt;'],
    ['%3CContents%3E', '<Contents>'],
  ]
  for (const [text, key] of table) {
    t.equal(parseObjectPage(page(object(text))).objects[0]?.key, key, text)
  }
  const owner = '<Owner><ID>0</ID><DisplayName>0</DisplayName></Owner>'
  t.same(parseObjectPage(page(object('a', '12', owner) + object('b'))), {
    objects: ['a', 'b'].map((key, i) => ({
      key,
      length: i === 0 ? 12 : 1,
      type: 'Appendable',
      lastModified: '2026-11-28T12:00:00.000Z',
    })),
  })
  const more =
    '<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b==</NextContinuationToken>'
  t.equal(parseObjectPage(page('', more)).next, 'a&b==')
})

t.test('a list that is cut short or is not of OSS is refused', async t => {
  const whole = page(object('a'))
  for (let length = 0; length < whole.length; length++) {
    t.throws(() => parseObjectPage(whole.slice(0, length)), { code: 'OSS_ERR_NETWORK' })
  }
  const wrong = [
    '<html></html>',
    page(object('')),
    page(object('%')),
    page(object('a', '-1')),
    page(object('a', '')),
    page(object('a', '1', '<Size>2</Size>')),
    page(object('a').replace('Appendable', '\u001b[31m')),
    page(object('a').replace('2026-11-28', 'yesterday')),
    page('', ''),
    page('', '<IsTruncated>true</IsTruncated>'),
    page('', '<IsTruncated>maybe</IsTruncated>'),
  ]
  for (const text of wrong) {
    t.throws(() => parseObjectPage(text), { message: /^a list of objects that cannot be read/ })
  }
})

/** An output whose reader never reads. */
class StoppedOutput extends Output {
  override _write(): void {}
}
