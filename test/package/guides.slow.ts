/** The guides of `docs/` (permissions, cost, comparison, at scale) agree with the code, the test server and ali-oss. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import OSS from 'ali-oss'
import t from 'tap'
import { resolveEndpoint } from '../../lib/client/endpoint.ts'
import { crc64, createRollingAppendStream } from '../../lib/index.ts'
import { OPTIONS, resolveOptions } from '../../lib/options.ts'
import { ALL_ACTIONS } from '../../lib/server/permissions.ts'
import { names, page, table } from '../helpers/readme.ts'
import { BUCKET, networkOptions, type Oss, startOss } from '../helpers/test-oss.ts'

// Permissions

interface Policy {
  readonly Version: string
  readonly Statement: readonly {
    readonly Effect: string
    readonly Action: readonly string[]
    readonly Resource: readonly string[]
  }[]
}

const policies: readonly Policy[] = [
  ...page('docs/permissions.md').matchAll(/^```json\n(.*?)^```$/gms),
].map(([, text = '']) => JSON.parse(text))

function actionsOf(policy: Policy | undefined): string[] {
  return policy?.Statement.flatMap(({ Action }) => Action) ?? []
}

/** Appends with every option that needs a permission. Resolves with the code of the failure, if it fails. */
async function appendWithAll(oss: Oss): Promise<string | undefined> {
  const stream = oss.open(oss.newKey(), { tagging: { host: 'a1' }, seal: true })
  stream.end('hello')
  return once(stream, 'close').then(
    () => undefined,
    error => error.code,
  )
}

t.test(
  'every policy allows actions that OSS knows, on the objects of a bucket or on the bucket',
  t => {
    t.equal(policies.length, 3)
    for (const { Version, Statement } of policies) {
      t.equal(Version, '1')
      for (const { Effect, Action, Resource } of Statement) {
        t.equal(Effect, 'Allow')
        t.ok(Action.length > 0)
        const isOfBucket = Action.includes('oss:ListObjects')
        const resource = `acs:oss:*:*:${BUCKET}${isOfBucket ? '' : '/logs/*'}`
        t.strictSame(Resource, [resource])
        t.strictSame(
          Action.filter(action => !ALL_ACTIONS.includes(action)),
          [],
        )
      }
    }
    t.end()
  },
)

t.test('a stream and its HEAD work with the actions of the first policy alone', async t => {
  const [policy] = policies
  const oss = await startOss(t, { permissions: actionsOf(policy) })
  for (const content of ['one', 'two']) {
    const stream = oss.open('logs/app.log')
    stream.end(content)
    await once(stream, 'close')
  }
  t.equal(oss.read('logs/app.log').toString(), 'onetwo')
  t.notOk(oss.server.requests.some(({ status }) => status === 403))
})

t.test('a stream works with the actions of the policy for a writer that cannot read', async t => {
  t.same(actionsOf(policies[1]), ['oss:PutObject'])
  const oss = await startOss(t, { permissions: actionsOf(policies[1]) })
  for (const content of ['one', 'two']) {
    const stream = oss.open('logs/app.log')
    stream.end(content)
    await once(stream, 'close')
  }
  t.equal(oss.read('logs/app.log').toString(), 'onetwo')
})

t.test('the table of permissions has what the code needs, and no other action', async t => {
  const actions = table('permissions').flatMap(([cell]) => names(cell))
  t.same(
    actions.filter(action => !ALL_ACTIONS.includes(action)),
    [],
    'the server knows each',
  )
  const oss = await startOss(t, { permissions: actions })
  t.equal(await appendWithAll(oss), undefined, 'all together suffice')
  for (const action of actions) {
    const oss = await startOss(t, { permissions: actions.filter(other => other !== action) })
    const code = await appendWithAll(oss)
    const isNeeded = action !== 'oss:GetObject'
    t.equal(code, isNeeded ? 'AccessDenied' : undefined, `without ${action}`)
    t.ok(
      oss.server.requests.some(({ status }) => status === 403),
      `something was refused without ${action}`,
    )
  }
})

// Cost

const DAY = 86_400_000

t.test('the table of appends a day is what the intervals make', t => {
  const { flushInterval } = resolveOptions({ bucket: BUCKET, key: 'k', region: 'cn-hangzhou' })
  const rows = table('appends a day').map(([interval = '', ...cells]) => ({
    interval: Number.parseInt(interval, 10),
    isDefault: interval.includes('the default'),
    seconds: Number(/\(([\d.]+) s/.exec(interval)?.[1]),
    cells: cells.map(cell => Number(cell.replaceAll(',', ''))),
  }))
  t.same(
    rows.map(({ seconds }) => seconds),
    [0.1, 1, 10, 60],
  )
  for (const { interval, isDefault, seconds, cells } of rows) {
    t.equal(interval, seconds * 1000)
    t.equal(isDefault, interval === flushInterval)
    const [second = 0, day, month] = cells
    t.equal(second, Number((1000 / interval).toPrecision(3)), `${interval}: a second`)
    t.same([day, month], [DAY / interval, (30 * DAY) / interval], `${interval}: a day, 30 days`)
  }
  t.end()
})

t.test('the figures in the text of docs/cost.md are computed from the defaults', t => {
  const { flushInterval, highWaterMark } = resolveOptions({
    bucket: BUCKET,
    key: 'k',
    region: 'cn-hangzhou',
  })
  const text = page('docs/cost.md').replaceAll(/\s+/g, ' ')
  const appends = DAY / flushInterval
  const format = (value: number) => Math.round(value).toLocaleString('en-US')
  t.match(
    text,
    `the default \`flushInterval\` of ${flushInterval / 1000} s make ${format(appends)} appends`,
  )
  t.match(text, `1,000 writers at 1 s make ${format(1000 * appends)} appends a day`)
  t.match(text, `100 GB a day in batches of 4 MiB are ${format(1e11 / highWaterMark)} appends`)
  t.match(text, `${appends / 10_000} times that price for ${format(appends)} appends`)
  t.equal(highWaterMark, 4 * 1024 ** 2)
  t.end()
})

/** Counts the requests that OSS charges, which are those it answers with 2xx or 3xx, by their class. */
function chargedRequests({ server }: Oss): number[] {
  const charged = server.requests.filter(
    ({ status, faults }) => (status !== undefined && status < 400) || faults?.includes('lost'),
  )
  const isGet = ({ operation }: { operation?: string }) =>
    operation === 'head' || operation === 'get'
  return [charged.filter(request => !isGet(request)).length, charged.filter(isGet).length]
}

/** What happens in each row of the table of requests, after which only its own requests are counted. */
const HAPPENINGS: Readonly<Record<string, (oss: Oss) => Promise<void>>> = {
  'a stream opens an object that exists': async oss => {
    oss.server.append(BUCKET, 'a', Buffer.from('x'))
    await oss.open('a').flush()
  },
  'a stream opens an object that does not exist': async oss => {
    await oss.open('a').flush()
  },
  'an append': async oss => {
    const stream = oss.open('a')
    await stream.flush()
    stream.write('x')
    await stream.flush()
  },
  '`end()` with nothing to send, on an object that exists': async oss => {
    oss.server.append(BUCKET, 'a', Buffer.from('x'))
    const stream = oss.open('a')
    stream.end()
    await once(stream, 'close')
  },
  '`end()` with nothing written: creates an empty object': async oss => {
    const stream = oss.open('a')
    stream.end()
    await once(stream, 'close')
    t.equal(oss.read('a').length, 0)
  },
  'a rolling stream begins an object that does not exist': async oss => {
    const options = { bucket: BUCKET, key: '{index}', maxBytes: 1, ...networkOptions(oss.server) }
    const stream = createRollingAppendStream(options)
    stream.write('x')
    await stream.flush()
    stream.write('y')
    await stream.flush()
    // Two appends are of the row "an append".
    t.same(chargedRequests(oss), [2, 0])
    oss.server.requests.length = 0
  },
  'the reply to an append is lost': async oss => {
    const stream = oss.open('a')
    await stream.flush()
    oss.server.faults.push({ kind: 'lost', how: 'reset' })
    stream.write('x')
    await stream.flush()
  },
}

t.test('the table of requests has the requests that OSS charges', async t => {
  const rows = table('requests')
  t.same(rows.map(([what]) => what).sort(), Object.keys(HAPPENINGS).sort())
  for (const [what = '', ...cells] of rows) {
    const oss = await startOss(t)
    await HAPPENINGS[what]?.(oss)
    t.same(chargedRequests(oss), cells.map(Number), what)
  }
})

// Recipes

t.test('each row of the table of endpoints leads to its host, with the region', t => {
  const origins = table('endpoints').map(([what = '', cell]) => {
    const options = Object.fromEntries(
      names(cell).map(text => {
        const [, name = '', value = ''] = /^(\w+): (.*)$/.exec(text) ?? []
        return [name, JSON.parse(value.replaceAll("'", '"'))]
      }),
    )
    t.same(
      Object.keys(options).filter(name => !OPTIONS.includes(name as 'key')),
      [],
    )
    const { origin, style, region } = resolveEndpoint(options)
    t.equal(region, 'cn-hangzhou', what)
    return `${origin} ${style}`
  })
  t.same(origins, [
    'https://oss-cn-hangzhou.aliyuncs.com virtual',
    'https://oss-cn-hangzhou-internal.aliyuncs.com virtual',
    'https://oss-accelerate.aliyuncs.com virtual',
    'https://logs.example.com cname',
  ])
  t.end()
})

t.test('the table of numbers names members and events of a stream and of a logger', t => {
  const text = [...table('members'), ...table('events'), ...table('logger events')].join()
  for (const name of table('numbers').flatMap(([cell]) => names(cell))) {
    const isKnown = text.includes(name) || name === 'writableLength'
    t.ok(isKnown, name)
  }
  t.end()
})

// At scale

t.test('the queries of docs/at-scale.md match the keys of its example', t => {
  const [, pattern = ''] = /key: '(events\/dt=[^']*)'/.exec(page('docs/at-scale.md')) ?? []
  const key = pattern
    .replace(/\{yyyy\}.*?\{dd\}/, '2026-11-28')
    .replace('{host}', 'web-1')
    .replace('{pid}-{index}', '7-0')
  t.match(key, /^events\/dt=2026-11-28\/host=web-1\/.*\.ndjson$/)
  const rows = table('readers')
  t.equal(rows.length, 4)
  for (const [engine = '', query = ''] of rows) {
    const [, glob = ''] = /examplebucket[^/]*\/(events[\w*/=.-]*)/.exec(query) ?? []
    const expression = glob.replaceAll('.', '\\.').replaceAll('*', '[^/]*')
    t.ok(expression && new RegExp(`^${expression}`).test(key), `${engine} reads ${glob}`)
    t.match(query, /\bdt\b/, `${engine} knows the column`)
  }
  t.end()
})

// ali-oss

const ALI_OSS = createRequire(import.meta.url).resolve('ali-oss/package.json')
const { version } = JSON.parse(readFileSync(ALI_OSS, 'utf8'))

function aliOss({ server }: Oss): OSS {
  const { accessKeyId, accessKeySecret } = server.credentials
  const keys = { accessKeyId, accessKeySecret }
  const place = { region: `oss-${server.region}`, endpoint: server.url, bucket: BUCKET }
  return new OSS({ ...keys, ...place, authorizationV4: true })
}

t.test('docs/comparison.md compares with the ali-oss that is installed', t => {
  const [, compared] = /ali-oss (\d+\.\d+) /.exec(page('docs/comparison.md')) ?? []
  t.equal(version.split('.').slice(0, 2).join('.'), compared)
  t.end()
})

t.test('ali-oss: the caller keeps the position, and a lost reply is an error', async t => {
  const oss = await startOss(t)
  const client = aliOss(oss)
  const created = await client.append('a', Buffer.from('one'))
  t.equal(created.nextAppendPosition, '3', 'a string')
  await t.rejects(client.append('a', Buffer.from('two')), { code: 'PositionNotEqualToLength' })

  oss.server.requests.length = 0
  oss.server.faults.push({ kind: 'lost', how: 'reset' })
  await t.rejects(client.append('a', Buffer.from('two'), { position: 3 }))
  t.equal(oss.server.requests.length, 1, 'no retry')
  t.equal(oss.read('a').toString(), 'onetwo', 'although it landed')
  await t.rejects(client.append('a', Buffer.from('two'), { position: 3 }), {
    code: 'PositionNotEqualToLength',
  })
})

t.test('ali-oss: the CRC-64 of the object is not compared', async t => {
  const oss = await startOss(t)
  oss.server.faults.push({ kind: 'mangled', part: 'crc64', how: 'wrong' })
  const { res } = await aliOss(oss).append('a', Buffer.from('one'))
  t.not(res.headers['x-oss-hash-crc64ecma'], crc64('one'))
  oss.server.assertClean()
})

t.test('each option in the table for users of ali-oss exists, there and here', async t => {
  const options = new Set<string>(OPTIONS)
  const code = ['client', 'object', 'common/client/initOptions', 'common/utils/createRequest']
    .concat('common/utils/setSTSToken', 'common/utils/setRegion', 'common/object/putObjectTagging')
    .map(name => readFileSync(new URL(`lib/${name}.js`, `file://${ALI_OSS}`), 'utf8'))
    .join()
  const rows = table('ali-oss')
  t.ok(rows.length > 12)
  const here: string[] = []
  for (const [old = '', now = ''] of rows) {
    for (const name of names(old)) {
      const words = name.match(/\b[a-zA-Z]\w+/g) ?? []
      const [word = ''] = words.filter(word => !['new', 'error', 'true', 'OSS'].includes(word))
      const isErrorOrMethod = /^(code|requestId|status|get|head|delete|list|append)$/.test(word)
      t.ok(isErrorOrMethod || new RegExp(`\\b${word}\\b`).test(code), `ali-oss has ${word}`)
    }
    here.push(
      ...names(now.replace('`http://`', '')).flatMap(
        name => /^(\w+)(?:: |$)/.exec(name)?.[1] ?? [],
      ),
    )
  }
  t.ok(here.length > 15)
  t.same(
    here.filter(name => !options.has(name)),
    [],
    'options that do not exist',
  )
})
