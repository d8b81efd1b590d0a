// docs/test-server.md agrees with the server: its tables in both directions, and each row of its operations by
// requests.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'
import { FAULT_FIELDS, SCOPE_FIELDS } from '../../lib/server/check-fault.ts'
import type { OssServer } from '../../lib/server/index.ts'
import { DEFAULTS } from '../../lib/server/options.ts'
import { OPERATION_NAMES } from '../../lib/server/request.ts'
import {
  append,
  head,
  type RawRequestOptions,
  type RawResponse,
  send,
} from '../helpers/raw-client.ts'
import { BUCKET, KEY, startServer } from '../helpers/start-server.ts'

const text = readFileSync(new URL('../../docs/test-server.md', import.meta.url), 'utf8')

/** The rows of the table with this head, as cells. */
function tableOf(...columns: string[]): string[][] {
  const [, body = ''] = text.split(
    `| ${columns.join(' | ')} |\n${'| --- '.repeat(columns.length)}|\n`,
  )
  const rows = body.split('\n\n')[0]!.trim().split('\n')
  return rows.map(row =>
    row
      .slice(1, -1)
      .split('|')
      .map(cell => cell.trim()),
  )
}

function codesIn(cell = ''): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
}

t.test('the options and their defaults are those of the code', async t => {
  const rows = tableOf('option', 'default', 'meaning')
  t.same(
    rows.map(([name]) => codesIn(name)[0]),
    Object.keys(DEFAULTS),
  )
  for (const [name = '', value = ''] of rows) {
    const code = DEFAULTS[codesIn(name)[0] as keyof typeof DEFAULTS]
    const [documented] = codesIn(value)
    if (documented !== undefined) t.equal(documented, String(code), name)
    else if (name === '`maxObjectBytes`') t.equal(value, `${Number(code) / 1024 ** 3} GiB`)
    else t.ok(code === undefined || typeof code === 'object', `${name} ${value}`)
  }
})

t.test('the members of a server are those of its type', async t => {
  const names = tableOf('member', 'meaning').flatMap(([cell]) =>
    codesIn(cell).map(name => name.replace('()', '')),
  )
  const declared = ['server', 'context'].map(file =>
    readFileSync(new URL(`../../dist/server/${file}.d.ts`, import.meta.url), 'utf8'),
  )
  const member = /^ {4}(?:readonly |abstract |get |set )*(\w+)[(:?]/gm
  const members = new Set([...declared.join('').matchAll(member)].map(([, name = '']) => name))
  t.same(names.sort(), [...members].sort())
})

t.test('the faults and their fields are those of the code', async t => {
  const scope = tableOf('scope', 'default', 'meaning').map(([name]) => codesIn(name)[0])
  t.same(scope.sort(), Object.keys(SCOPE_FIELDS).sort())
  const documented = tableOf('kind', 'fields', 'what happens').map(
    ([kind, fields]) => [codesIn(kind)[0], codesIn(fields)] as const,
  )
  const coded = Object.entries(FAULT_FIELDS).map(([kind, fields]) => [kind, Object.keys(fields)])
  t.same(documented, coded)
})

/** A request, and the server that it needs: the default one, or one with other options or objects. */
interface Check {
  readonly options?: Parameters<typeof startServer>[1]
  readonly prepare?: (s: OssServer) => void
  readonly request: (s: OssServer) => Promise<RawResponse>
}

const onBucket = (method: string, options: RawRequestOptions = {}): Check => ({
  request: s => send(s, { method, key: '', ...options }),
})
const onObject = (method: string, options: RawRequestOptions = {}): Check => ({
  request: s => send(s, { method, ...options }),
})
const appending = (position: number, options?: RawRequestOptions, body = 'def'): Check => ({
  request: s => append(s, position, body, options),
})
const sealing = (position: number | string, options: RawRequestOptions = {}): Check =>
  onObject('POST', { query: { seal: '', position: String(position) }, ...options })
const inUnknownBucket = (check: Check): Check => ({ ...check, options: { buckets: ['other'] } })
const withNormal = (check: Check): Check => ({ ...check, prepare: s => s.put(BUCKET, KEY, 'abc') })
const withSealed = (check: Check): Check => ({ ...check, prepare: s => s.seal(BUCKET, KEY) })
const withSmall = (check: Check): Check => ({ ...check, options: { maxObjectBytes: 4 } })
const header = (name: string, value: string): RawRequestOptions => ({ headers: { [name]: value } })
const deleting = (xml: string, md5 = createHash('md5').update(xml).digest('base64')): Check =>
  onBucket('POST', { query: { delete: '' }, body: xml, ...header('content-md5', md5) })

const WRONG_MD5 = header('content-md5', '1B2M2Y8AsgTpgAmY7PhCfg==')
const CONDITION = header('if-match', '"other"')
const DELETE_A = '<Delete><Object><Key>a.log</Key></Object></Delete>'

/** Each operation: requests that it serves, and one request for each refusal. The object is `abc`. */
const CHECKS: Readonly<Record<string, { serves: Check[]; refuses: Check[] }>> = {
  append: {
    serves: [
      appending(3),
      appending(3, { chunked: true }),
      appending(3, { target: `/${BUCKET}/${KEY}?append=&position=3` }),
      appending(3, header('content-md5', createHash('md5').update('def').digest('base64'))),
      appending(0, { key: 'new', ...header('content-type', 'text/plain') }),
    ],
    refuses: [
      appending(2),
      withNormal(appending(3)),
      withSealed(appending(3)),
      appending(3, header('x-oss-forbid-overwrite', 'true')),
      onObject('POST', { query: { append: '' }, body: 'def' }),
      appending(Number.NaN),
      appending(3, WRONG_MD5),
      withSmall(appending(3)),
      appending(3, header('x-oss-callback', 'x')),
    ],
  },
  seal: {
    serves: [sealing(3), sealing(3, { chunked: true }), withSealed(sealing(3))],
    refuses: [
      sealing(0, { key: 'absent' }),
      sealing(2),
      withNormal(sealing(3)),
      sealing('x'),
      { ...sealing(3), options: { seal: false } },
    ],
  },
  put: {
    serves: [onObject('PUT', { body: 'new' }), onObject('PUT', { key: 'new' })],
    refuses: [
      onObject('PUT', header('x-oss-forbid-overwrite', 'true')),
      onObject('PUT', { body: 'x', ...WRONG_MD5 }),
      withSmall(onObject('PUT', { body: '12345' })),
      onObject('PUT', header('x-oss-copy-source', '/a/b')),
      onObject('PUT', { query: { acl: '' } }),
    ],
  },
  delete: {
    serves: [onObject('DELETE'), onObject('DELETE', { key: 'absent' })],
    refuses: [onObject('DELETE', { query: { versionId: 'x' } })],
  },
  head: {
    serves: [onObject('HEAD'), onObject('HEAD', header('if-none-match', '"other"'))],
    refuses: [
      onObject('HEAD', { key: 'absent' }),
      onObject('HEAD', CONDITION),
      onObject('HEAD', { query: { versionId: 'x' } }),
    ],
  },
  meta: {
    serves: [onObject('HEAD', { query: { objectMeta: '' } })],
    refuses: [
      onObject('HEAD', { query: { objectMeta: '' }, key: 'absent' }),
      onObject('HEAD', { query: { objectMeta: '' }, ...CONDITION }),
      onObject('HEAD', { query: { objectMeta: '', versionId: 'x' } }),
    ],
  },
  get: {
    serves: [onObject('GET'), onObject('GET', header('range', 'bytes=1-1'))],
    refuses: [
      onObject('GET', { key: 'absent' }),
      onObject('GET', CONDITION),
      onObject('GET', { headers: { range: 'bytes=9-', 'x-oss-range-behavior': 'standard' } }),
      {
        request: async s => {
          await append(s, 0, 'abc', { key: 'cold', ...header('x-oss-storage-class', 'Archive') })
          return send(s, { key: 'cold' })
        },
      },
      onObject('GET', { query: { 'x-oss-process': 'image/info' } }),
      onObject('GET', { query: { acl: '' } }),
      onObject('GET', { query: { tagging: '' } }),
      onObject('GET', { query: { symlink: '' } }),
    ],
  },
  putBucket: {
    serves: [onBucket('PUT'), onBucket('PUT', { bucket: 'new-bucket' })],
    refuses: [
      onBucket('PUT', { bucket: 'Upper', target: '/Upper/' }),
      onBucket('PUT', { body: '<Other></Other>' }),
      onBucket('PUT', header('x-oss-acl', 'public-read')),
      onBucket('PUT', { query: { lifecycle: '' } }),
      onBucket('PUT', { query: { versioning: '' } }),
    ],
  },
  deleteBucket: {
    serves: [onBucket('DELETE', { bucket: 'empty-bucket' })],
    refuses: [inUnknownBucket(onBucket('DELETE')), onBucket('DELETE')],
  },
  bucketInfo: {
    serves: [onBucket('GET', { query: { bucketInfo: '' } })],
    refuses: [inUnknownBucket(onBucket('GET', { query: { bucketInfo: '' } }))],
  },
  list: {
    serves: [onBucket('GET'), onBucket('GET', { query: { 'list-type': '2', delimiter: '/' } })],
    refuses: [
      inUnknownBucket(onBucket('GET')),
      onBucket('GET', { query: { 'max-keys': '1001' } }),
      onBucket('GET', { query: { uploads: '' } }),
      onBucket('GET', { query: { acl: '' } }),
    ],
  },
  deleteObjects: {
    serves: [
      deleting(DELETE_A),
      deleting(DELETE_A.replace('<Object>', '<Quiet>true</Quiet><Object>')),
    ],
    refuses: [
      inUnknownBucket(deleting(DELETE_A)),
      onBucket('POST', { query: { delete: '' }, body: DELETE_A }),
      deleting(DELETE_A, '1B2M2Y8AsgTpgAmY7PhCfg=='),
      deleting('<Delete></Delete>'),
      deleting(DELETE_A.replace('a.log', '/a.log')),
    ],
  },
  listBuckets: {
    serves: [
      onBucket('GET', { bucket: '' }),
      onBucket('GET', { bucket: '', query: { prefix: 'x' } }),
    ],
    refuses: [onBucket('GET', { bucket: '', query: { 'max-keys': '0' } })],
  },
}

const OPERATIONS = tableOf('operation', 'request', 'does', 'refuses')

t.test('the table of operations names each operation of the server', async t => {
  const names = OPERATIONS.map(([name]) => codesIn(name)[0])
  t.same(names.sort(), [...OPERATION_NAMES].sort())
  t.same(Object.keys(CHECKS).sort(), names)
})

for (const [cell, , , refusals] of OPERATIONS) {
  const [name = ''] = codesIn(cell)
  t.test(`${name} does and refuses what the table says`, async t => {
    const { serves, refuses } = CHECKS[name]!
    const run = async ({ options, prepare, request }: Check) => {
      const s = await startServer(t, options)
      if (s.buckets.has(BUCKET)) s.append(BUCKET, KEY, 'abc')
      prepare?.(s)
      const response = await request(s)
      const record = s.requests.at(-1)
      return { response, operation: record?.operation }
    }
    for (const check of serves) {
      const { response, operation } = await run(check)
      t.ok(response.status < 300, `${response.status} ${response.code ?? ''}`)
      t.equal(operation, name)
    }
    const refused = new Set<string>()
    for (const check of refuses) {
      const { response } = await run(check)
      refused.add(`${response.status} ${response.code}`)
    }
    t.same([...refused].sort(), codesIn(refusals).sort())
  })
}

t.test('what is not here is refused with 400 NotImplemented', async t => {
  const s = await startServer(t)
  s.append(BUCKET, KEY, 'abc')
  const rows: [label: string, options: RawRequestOptions][] = [
    ['multipart', { method: 'POST', query: { uploads: '' } }],
    ['a part', { method: 'PUT', query: { partNumber: '1', uploadId: 'x' } }],
    ['copy', { method: 'PUT', headers: { 'x-oss-copy-source': '/a/b' } }],
    ['symlink', { method: 'PUT', query: { symlink: '' } }],
    ['object ACL', { method: 'PUT', query: { acl: '' } }],
    ['object tagging', { method: 'PUT', query: { tagging: '' } }],
    ['versions', { method: 'GET', key: '', query: { versions: '' } }],
    ['processing', { method: 'GET', query: { 'x-oss-process': 'image/info' } }],
    ['lifecycle', { method: 'PUT', key: '', query: { lifecycle: '' } }],
    ['callback', { method: 'PUT', headers: { 'x-oss-callback': 'x' } }],
    ['POST policy', { method: 'POST', key: '' }],
    ['bucket ACL', { method: 'GET', key: '', query: { acl: '' } }],
  ]
  for (const [label, options] of rows) {
    t.match(await send(s, options), { status: 400, code: 'NotImplemented' }, label)
  }
  t.equal((await head(s)).status, 200, 'the object is as it was')
})

t.test('the routes of the control address are those of the server', async t => {
  const s = await startServer(t, { control: true })
  const [, ...rows] = tableOf('request', 'does')
  const { url, token } = s.control!
  const response = await fetch(`${url}/absent`, { headers: { Authorization: `Bearer ${token}` } })
  const { error } = (await response.json()) as { error: string }
  const routes = error.replace(/^.*Use one of: /, '').split(', ')
  t.same(
    [tableOf('request', 'does')[0], ...rows].map(row => codesIn(row?.[0])[0]),
    routes,
  )
})

t.test('the example for node --test passes', async t => {
  const code = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].find(([, each]) =>
    each?.includes('node:test'),
  )
  const { outputText } = ts.transpileModule(code?.[1] ?? '', {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  })
  const file = join(t.testdir(), 'example.test.mjs')
  writeFileSync(file, outputText)
  const env = { PATH: process.env.PATH }
  const { stdout } = await promisify(execFile)(process.execPath, ['--test', file], { env })
  t.match(stdout, /# pass 1\n# fail 0\n/)
})

t.test('the commands for curl work', async t => {
  const s = await startServer(t, { control: { token: 'control-token' } })
  const [, script = ''] = /^```sh\n(token=.*?)^```$/ms.exec(text) ?? []
  const commands = script.replaceAll('http://127.0.0.1:9001', s.control!.url)
  // Between the two: the test of the reader, which has the fault strike.
  const [before = '', after = ''] = commands.split(/^#.*\n/m)
  const run = (code: string) =>
    promisify(execFile)('sh', ['-euc', code], { env: { PATH: process.env.PATH } })
  await run(before)
  t.equal(s.faults.length, 1)
  const [, tokenLine = ''] = /^(token=.*)$/m.exec(before) ?? []
  await t.rejects(run(`${tokenLine}\n${after}`), 'a fault is left')
  await t.rejects(append(s, 0, 'abc'), { code: 'ECONNRESET' })
  await run(`${tokenLine}\n${after}`)
})
