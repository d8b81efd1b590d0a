/** README.md, `docs/` and the other documents agree with the code: tables in both directions, names, links, figures. */

import { EventEmitter } from 'node:events'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { basename, posix } from 'node:path'
import t, { type Test } from 'tap'
import { AttemptSize } from '../../lib/append/attempt-size.ts'
import { Backoff } from '../../lib/append/backoff.ts'
import { classifyError, type RetryClass } from '../../lib/append/classify-error.ts'
import { exitCodeOf, MismatchError } from '../../lib/cli/failure.ts'
import { COMMANDS, FLAGS } from '../../lib/cli/flags.ts'
import { UsageError } from '../../lib/cli/usage-error.ts'
import { resolveEndpoint } from '../../lib/client/endpoint.ts'
import { CLIENT_DEFAULTS } from '../../lib/client/options.ts'
import { isKeyRefusal, lostRace, OSS_ERROR_CODES, OssError } from '../../lib/errors.ts'
import { GZIP_DEFAULTS } from '../../lib/gzip-members.ts'
import { OssAppendStream } from '../../lib/index.ts'
import { TRANSPORT_DEFAULTS } from '../../lib/loggers/options.ts'
import { DEFAULT_RETRY, OPTIONS, resolveOptions } from '../../lib/options.ts'
import { ROLLING_OPTIONS, resolveRollingOptions } from '../../lib/rolling/options.ts'
import { networkError, serviceError } from '../helpers/errors.ts'
import { FakeClock } from '../helpers/fake-clock.ts'
import { names, page, pages, readme, table, tables, tablesOf } from '../helpers/readme.ts'
import { runCli } from '../helpers/run-cli.ts'
import { BUCKET, startOss } from '../helpers/test-oss.ts'

const ROOT = new URL('../../', import.meta.url)

/** The text of each document, by its path: the pages, and those that are for contributors. */
const documents = new Map(pages)
for (const folder of ['benchmarks/', '.github/', '.github/workflows/']) {
  const found = await readdir(new URL(folder, ROOT))
  for (const name of found.filter(name => /\.(md|yml)$/.test(name))) {
    documents.set(folder + name, await readFile(new URL(folder + name, ROOT), 'utf8'))
  }
}
for (const name of ['CHANGELOG.md', 'README.zh-CN.md']) {
  documents.set(name, await readFile(new URL(name, ROOT), 'utf8'))
}
const chinese = documents.get('README.zh-CN.md') ?? ''

const manifest = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8'))
const { scripts, files: published } = manifest

/** The code of a file of lib. */
function source(path: string): Promise<string> {
  return readFile(new URL(`lib/${path}`, ROOT), 'utf8')
}

// Shape

t.test('README has at most 250 lines and 1,800 words', async t => {
  const lines = readme.trimEnd().split('\n').length
  const words = readme.split(/\s+/).filter(Boolean).length
  t.ok(lines <= 250, `${lines} lines`)
  t.ok(words <= 1800, `${words} words`)
  t.ok(words > 500, 'they are counted')
})

t.test('README links to every page of docs/', async t => {
  for (const path of pages.keys()) {
    if (path !== 'README.md') t.ok(readme.includes(`](${path}`), path)
  }
})

/** Marks of the tables that other tests compare: `declarations.slow.ts`, `guides.slow.ts`, and those of the loggers' exits. */
const COMPARED_ELSEWHERE = [
  ...['members', 'events', 'logger events', 'exit'],
  ...[
    'permissions',
    'attempts for each append',
    'appends a day',
    'requests',
    'readers',
    'comparison',
    'ali-oss',
    'endpoints',
    'numbers',
  ],
  // The first is what the model of the journal holds each mode to; the second is about other software.
  ...['journal promises', 'journals'],
]
/** Marks of the tables that tests here compare. */
const COMPARED_HERE = [
  ...['promises', 'front options', 'front errors', 'options', 'rolling options'],
  ...[
    'errors',
    'what happens when',
    'retry classes',
    'retry',
    'align',
    'gzip options',
    'logger options',
    'commands',
    'flags',
  ],
  ...['vocabulary', 'where a change goes', 'journal options'],
]

t.test('every table has a mark, and a test for it', async t => {
  // test/server/documents.test.ts compares the tables of the test server.
  const others = tables.filter(({ path }) => path !== 'docs/test-server.md')
  const marks = others.map(({ mark, path, line }) => mark ?? `${path}:${line} has no mark`)
  t.same([...marks].sort(), [...COMPARED_ELSEWHERE, ...COMPARED_HERE].sort())
  const empty = tables.filter(({ rows }) => rows.length < 2)
  t.same(empty, [], 'the rows are found')
})

t.test('the badges of README agree with package.json', t => {
  const badges = [
    ...readme.matchAll(/!\[([^\]]*)\]\(https:\/\/img\.shields\.io\/badge\/([^)]*)-\w+\)/g),
  ]
  t.same(
    badges.map(([, name, text = '']) => [name, decodeURIComponent(text)]),
    [
      ['node', `node-${manifest.engines.node}`],
      ['types', 'types-included'],
      ['runtime dependencies', `runtime dependencies-${Object.keys(manifest.dependencies).length}`],
      ['license', `license-${manifest.license}`],
    ],
  )
  t.match(manifest.exports['.'].types, /\.d\.ts$/)
  t.end()
})

// The front page in Chinese. What is compared is what no translation changes.

t.test('README.zh-CN.md has the fences, badges, headings and links of README', t => {
  const fencesOf = (text: string) => text.match(/^```.*?^```$/gms)
  t.same(fencesOf(chinese), fencesOf(readme), 'fences')
  const badgesOf = (text: string) => text.match(/https:\/\/img\.shields[^)]*/g)
  t.same(badgesOf(chinese), badgesOf(readme), 'badges')
  const levelsOf = (text: string) => text.replaceAll(/^```.*?^```$/gms, '').match(/^#+ /gm)
  t.same(levelsOf(chinese), levelsOf(readme), 'headings')
  const targetsOf = (text: string) =>
    [...text.matchAll(/\]\(([^)]+)\)/g)]
      .map(([, target = '']) => target)
      .filter(target => !/^README/.test(target))
      .sort()
  t.same(targetsOf(chinese), targetsOf(readme), 'links')
  t.ok((targetsOf(chinese)?.length ?? 0) > 40)
  t.match(readme, '](README.zh-CN.md)')
  t.match(chinese, '](README.md)')
  t.end()
})

t.test('README.zh-CN.md has the rows and the defaults of the tables of README', t => {
  const english = tables.filter(({ path }) => path === 'README.md')
  const translated = tablesOf('README.zh-CN.md', chinese)
  t.same(
    translated.map(({ mark }) => mark),
    english.map(({ mark }) => mark),
  )
  t.equal(translated.length, 3)
  /** Names, figures and defaults of a row: the words in backticks, numbers, and true and false. */
  const facts = (row: readonly string[]) => [
    names(row[0]),
    row.slice(1).map(cell => cell.match(/`[^`]+`|\b\d[\d.]*\b|\bfalse\b/g)?.sort()),
  ]
  for (const [i, { mark, rows }] of english.entries()) {
    const other = translated[i]?.rows ?? []
    t.equal(other.length, rows.length, `${mark}: rows`)
    for (const [j, row] of rows.entries())
      t.same(facts(other[j] ?? []), facts(row), `${mark}: ${row[0]}`)
  }
  t.end()
})

// Names

/** The anchors that GitHub gives to the headings of a text. */
function anchorsOf(text: string): string[] {
  const prose = text.replaceAll(/^```.*?^```$/gms, '')
  return [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}

t.test('each line of the threat model names a test that exists', async t => {
  const [threats, ...others] = tablesOf('SECURITY.md', documents.get('.github/SECURITY.md') ?? '')
  t.same(others, [])
  t.ok((threats?.rows.length ?? 0) > 15)
  for (const [, cannot, heldBy = ''] of threats?.rows ?? []) {
    const [, file = '', name = ''] = /^`(.*)`: (.*)$/.exec(heldBy) ?? []
    const text = await readFile(new URL(file, ROOT), 'utf8')
    t.ok(text.includes(`t.test('${name}'`), `${cannot}: ${heldBy}`)
  }
})

t.test('every npm script that a document names exists', async t => {
  let count = 0
  for (const [file, text] of documents) {
    const named = [...text.matchAll(/\bnpm (?:run ([\w:-]+)|(test|start)\b)/g)]
    const absent = named.map(([, run, short]) => run ?? short).filter(name => !scripts[name ?? ''])
    t.same(absent, [], file)
    count += named.length
  }
  t.ok(count > 10, `${count} are named`)
})

/** The links of a text to files and headings of this repository. */
function linksOf(file: string, text: string) {
  const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)]
  return links.map(([link, path = '', anchor = '']) => ({
    link,
    path: posix.join(posix.dirname(file), path === '' ? basename(file) : path),
    anchor,
  }))
}

t.test('every file and every heading that a document links to exists', async t => {
  let count = 0
  for (const [file, text] of documents) {
    for (const { link, path, anchor } of linksOf(file, text)) {
      t.ok(existsSync(new URL(path, ROOT)), `${file}: ${link}`)
      if (anchor === '') continue
      const target = await readFile(new URL(path, ROOT), 'utf8')
      t.ok(anchorsOf(target).includes(anchor), `${file}: ${link}`)
      count += 1
    }
  }
  t.ok(count > 20, `${count} headings are linked to`)
})

/** What the documents link to outside. A page with an id (`doc-detail/N`) keeps its address when OSS moves it. */
const OUTSIDE = [
  /^https:\/\/www\.alibabacloud\.com\/help\/(doc-detail\/\d+\.html?|en\/[\w/-]+)$/,
  /^https:\/\/www\.alibabacloud\.com\/help\/en\/object-storage-service\/latest\/[\w-]+$/,
  /^https:\/\/help\.aliyun\.com\/en\/[\w/-]+$/,
  /^https:\/\/img\.shields\.io\/badge\/[\w%.-]+$/,
  /^https:\/\/(www\.npmjs\.com\/package|duckdb\.org\/docs|clickhouse\.com\/docs|pm2\.keymetrics\.io\/docs)\/[\w@/-]+$/,
]

t.test('every link to the outside is https, to a page of a known site', t => {
  let count = 0
  for (const [file, text] of documents) {
    for (const [, url = ''] of text.matchAll(/\]\((\w+:[^)\s]*)/g)) {
      t.ok(
        OUTSIDE.some(known => known.test(url)),
        `${file}: ${url}`,
      )
      count += 1
    }
  }
  t.ok(count > 30, `${count} links`)
  t.end()
})

/** Documents for contributors, who have the repository. Links to them lead nowhere in an installed package. */
const FOR_CONTRIBUTORS = ['docs/design.md', 'benchmarks/PROFILE.md', '.github/CONTRIBUTING.md']

t.test('the tarball has every file for users that a page links to', async t => {
  const entries: string[] = ['README.md', 'LICENSE', ...published]
  for (const [file, text] of pages) {
    if (FOR_CONTRIBUTORS.includes(file)) continue
    for (const { link, path } of linksOf(file, text)) {
      if (FOR_CONTRIBUTORS.includes(path)) continue
      const isPublished = entries.some(entry => path === entry || path.startsWith(`${entry}/`))
      t.ok(isPublished, `${file}: ${link}`)
    }
  }
})

t.test('docs/design.md names each file and folder of lib, and no other', async t => {
  const text = page('docs/design.md')
  const paths = [...text.matchAll(/`([\w./-]+(?:\.ts|\.md|\/))`/g)].map(([, path = '']) => path)
  t.ok(paths.length > 15, `${paths.length} paths`)
  t.same(
    paths.filter(path => !['', 'lib/'].some(base => existsSync(new URL(base + path, ROOT)))),
    [],
    'paths that do not exist',
  )

  const [, order = ''] = /\n## Reading order\n(.*?)\n## /s.exec(text) ?? []
  const named = new Set([...order.matchAll(/`([\w-]+)\/?`/g)].map(([, name]) => name))
  const standAlone = ['cli', 'crc64', 'server']
  const parts: string[] = []
  for (const entry of await readdir(new URL('lib/', ROOT), { withFileTypes: true })) {
    parts.push(entry.name)
    if (entry.isFile() || standAlone.includes(entry.name)) continue
    parts.push(...(await readdir(new URL(`lib/${entry.name}/`, ROOT))))
  }
  const partNames = parts
    .filter(name => !/\.(md|json)$/.test(name))
    .map(name => name.replace(/\.ts$/, ''))
  t.ok(partNames.length > 40, `${partNames.length} parts`)
  t.same(
    partNames.filter(name => !named.has(name)),
    [],
    'parts that it does not name',
  )
  // `name` (what it does) is a part.
  const explained = [...order.matchAll(/`([\w-]+)` \(/g)].map(([, name = '']) => name)
  t.same(
    explained.filter(name => !partNames.includes(name)),
    [],
    'parts that do not exist',
  )
})

t.test('docs/design.md has the verdicts of settle()', async t => {
  const code = await readFile(new URL('lib/append/tail.ts', ROOT), 'utf8')
  const [, type = ''] = /export type Verdict =\n(.*?)\n\n/s.exec(code) ?? []
  const verdicts = [...type.matchAll(/name: '(\w+)'/g)].map(([, name]) => name).join(', ')
  t.match(verdicts, /^landed, /)
  const words = table('vocabulary').map(([word]) => word)
  t.ok(words.includes(verdicts), verdicts)
})

// Options

t.test('docs/options.md has every option of a stream, and no other', async t => {
  const listed = table('options').flatMap(([cell]) => names(cell))
  t.same([...listed].sort(), [...OPTIONS].sort())
})

t.test('README has every option of both streams, and no other', async t => {
  const listed = table('front options').flatMap(([cell]) => names(cell))
  t.same([...listed].sort(), [...new Set([...OPTIONS, ...ROLLING_OPTIONS])].sort())
})

/** Compares each default in a table that is a value, and not words, with those of the code. */
function compareDefaults(t: Test, mark: string, known: Readonly<Record<string, unknown>>): void {
  const compared: string[] = []
  for (const [cell, text = ''] of table(mark)) {
    const value = text.replaceAll(/[`']/g, '')
    const isValue = /^\S+$/.test(value) && !['required', 'environment'].includes(value)
    if (!isValue) continue
    for (const name of names(cell)) {
      const isKnown = Object.hasOwn(known, name)
      t.ok(isKnown, `${name} has the default ${value}: this test knows the code's default`)
      if (isKnown) t.equal(value, String(known[name]), name)
      compared.push(name)
    }
  }
  t.same(
    Object.keys(known).filter(name => !compared.includes(name)),
    [],
    'each is in the table',
  )
}

const given = { bucket: BUCKET, key: 'k', region: 'cn-hangzhou' }
const { retry, ...settings } = resolveOptions(given)

function streamDefaults() {
  const { position, highWaterMark, flushInterval, align, maxRecordBytes } = settings
  const { maxObjectBytes, seal, shared, pipelining } = settings
  const cname = resolveEndpoint(given).style === 'cname'
  const sizes = { highWaterMark, maxRecordBytes, maxObjectBytes }
  const flags = { shared, pipelining, seal, cname }
  return { ...CLIENT_DEFAULTS, ...sizes, position, flushInterval, align, ...flags }
}

t.test('docs/options.md has the defaults of the code', async t => {
  compareDefaults(t, 'options', streamDefaults())
  const row = table('options').find(([cell]) => names(cell).includes('retry'))
  const members = Object.entries(retry).map(([name, value]) => [`retry.${name}`, value])
  compareDefaults(t, 'retry', Object.fromEntries(members))
  for (const [option, value] of Object.entries(retry)) {
    t.match(row?.[1], new RegExp(`\\b${option}: ${value}\\b`), `retry.${option}`)
  }
  const http = resolveOptions({ ...given, endpoint: 'http://oss:9000' })
  t.same([http.contentMd5, settings.contentMd5], [true, false])
  const contentMd5 = table('options').find(([cell]) => names(cell).includes('contentMd5'))
  t.equal(contentMd5?.[1], 'true over http, false over https')
})

t.test('docs/options.md has every option of a journal, with its default', async t => {
  const { journal } = resolveOptions({ ...given, journal: '/var/lib/app/oss' })
  const members = Object.entries(journal ?? {}).map(([name, value]) => [`journal.${name}`, value])
  t.same(
    table('journal options').flatMap(([cell]) => names(cell)),
    members.map(([name]) => name),
  )
  const { 'journal.dir': _, ...defaults } = Object.fromEntries(members)
  compareDefaults(t, 'journal options', defaults)
})

t.test('README has the defaults of the code', async t => {
  const found: Record<string, string> = {}
  for (const [cell, text = ''] of table('front options')) {
    const values = text.replaceAll(/[`']/g, '').split(', ')
    for (const [i, name] of names(cell).entries()) found[name] = values[i] ?? ''
  }
  for (const [name, value] of Object.entries(streamDefaults())) {
    t.equal(found[name], String(value), name)
  }
  t.equal(found.retry, `give up after ${retry.maxElapsed / 60_000} minutes without progress`)
})

t.test('docs/options.md has every option of a rolling stream, with its default', async t => {
  const own = ROLLING_OPTIONS.filter(name => name === 'key' || !OPTIONS.includes(name as 'bucket'))
  const rows = table('rolling options')
  t.same(rows.flatMap(([cell]) => names(cell)).sort(), [...own].sort())
  t.same(OPTIONS.filter(name => !ROLLING_OPTIONS.includes(name as 'key')).sort(), [
    'crc64',
    'position',
  ])
  const pattern = { ...given, key: '{dd} {HH}' }
  const { sealOnRoll, nameKey } = resolveRollingOptions(pattern)
  const isMaxObjectBytes = [1000, 2000].every(
    maxObjectBytes =>
      resolveRollingOptions({ ...pattern, maxObjectBytes }).maxBytes === maxObjectBytes,
  )
  const maxBytes = isMaxObjectBytes ? 'maxObjectBytes' : 'another'
  const keys = [0, 11].map(hour =>
    nameKey({ date: new Date(Date.UTC(2026, 0, 1, hour)), index: 0 }),
  )
  const timeZone = keys.join() === '01 00,01 11' ? 'UTC' : keys.join()
  compareDefaults(t, 'rolling options', { maxBytes, sealOnRoll, timeZone })
})

t.test('docs/rolling.md has time zones that are refused, and the zones that are meant', async t => {
  const refused = [...page('docs/rolling.md').matchAll(/`([\w/]+)`\s+\((`[^)]*)\)/g)]
  t.same(
    refused.map(([, zone]) => zone),
    ['CST', 'IST', 'Asia/Beijing'],
  )
  for (const [, timeZone = '', meant = ''] of refused) {
    const message = `did you mean ${meant.replaceAll(/[`]/g, '').replaceAll('\n', ' ')}?`
    t.throws(
      () => resolveRollingOptions({ ...given, key: '{dd}', timeZone }),
      new RegExp(message.replaceAll(/[?]/g, '\\?')),
      timeZone,
    )
  }
  const timeZone = 'Asia/Shanghai'
  t.doesNotThrow(() => resolveRollingOptions({ ...given, key: '{dd}', timeZone }))
})

t.test('docs/loggers.md has every option of the loggers, with its default', async t => {
  const listed = table('logger options').flatMap(([cell]) => names(cell))
  t.same(listed.sort(), [...Object.keys(TRANSPORT_DEFAULTS), 'credentials'].sort())
  compareDefaults(t, 'logger options', TRANSPORT_DEFAULTS)
})

t.test('docs/recipes.md has every option of gzipMembers(), with its default', async t => {
  const listed = table('gzip options').flatMap(([cell]) => names(cell))
  t.same(listed.sort(), Object.keys(GZIP_DEFAULTS).sort())
  compareDefaults(t, 'gzip options', GZIP_DEFAULTS)
})

t.test('docs/recipes.md has the values of align', async t => {
  const values = table('align').map(([cell]) => names(cell)[0] ?? '')
  t.same(values, ["'\\n'", '188', "'chunk'"])
  for (const value of values) {
    const align = JSON.parse(value.replaceAll("'", '"'))
    t.equal(resolveOptions({ ...given, align }).align, align)
  }
})

t.test('docs/options.md has every member of the interface of a client, and no other', async t => {
  const [, section = ''] =
    /\n## A client of your own\n(.*?)\n## /s.exec(page('docs/options.md')) ?? []
  const code = (await source('append/client-interface.ts')).replaceAll(/\/\*.*?\*\//gs, '')
  const membersOf = (name: string) => {
    const [, body = ''] = new RegExp(`export interface ${name} {\n(.*?)\n}`, 's').exec(code) ?? []
    return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, member = '']) => member)
  }
  const members = membersOf('Client')
  t.ok(members.includes('sendsOnce'), members.join())
  const named = names(section).map(name => /^\w+/.exec(name)?.[0] ?? '')
  for (const name of members) t.ok(named.includes(name), name)
  const known = [...members, ...membersOf('AppendRequest'), ...OPTIONS, 'sealOnRoll', 'Client']
  const own = named.filter(name => !/^OSS_ERR_|^Oss(Service)?Error$/.test(name))
  const facts = new OssError('OSS_ERR_NETWORK', '', { status: 413, retryAfter: 1 })
  t.same(
    own.filter(name => !known.includes(name) && !(name in facts)),
    [],
    'members that do not exist',
  )
})

// Promises and errors

t.test('the promises of README name the methods and events of a stream', async t => {
  const cells = table('promises').flatMap(([cell]) => names(cell))
  const methods = cells.flatMap(name => /^(?:await )?(\w+)\(/.exec(name)?.[1] ?? [])
  const own = Object.getOwnPropertyNames(OssAppendStream.prototype).filter(name => {
    const { value } = Object.getOwnPropertyDescriptor(OssAppendStream.prototype, name) ?? {}
    return typeof value === 'function' && !name.startsWith('_') && !(name in EventEmitter.prototype)
  })
  const inherited = ['write', 'end', 'destroy', 'pipeline']
  t.same([...new Set(methods)].sort(), [...new Set([...own, ...inherited])].sort())
  const events = cells.filter(name => name.startsWith("'"))
  t.same(events, ["'append'", "'recover'", "'finish'", "'error'", "'close'"])
  t.type(OssAppendStream.prototype[Symbol.asyncDispose], 'function', '`await using`')
})

t.test('README and docs/errors.md have every code of this package, and no other', async t => {
  for (const mark of ['errors', 'front errors']) {
    const listed = table(mark).flatMap(([cell]) => names(cell))
    const codes = listed.filter(code => code.startsWith('OSS_ERR_'))
    t.same(codes.sort(), [...OSS_ERROR_CODES].sort(), mark)
  }
  const mentioned = new Set([...documents.values()].join().match(/OSS_ERR_[A-Z_]+\b/g))
  t.same(
    [...mentioned].filter(code => code !== 'OSS_ERR_' && !OSS_ERROR_CODES.includes(code as never)),
    [],
    'codes that documents mention',
  )
  const results = new Set(
    table('what happens when').flatMap(([, result = '']) => result.match(/OSS_ERR_\w+/g) ?? []),
  )
  t.same([...results].sort(), [
    'OSS_ERR_BODY_REFUSED',
    'OSS_ERR_CLIENT',
    'OSS_ERR_INTEGRITY',
    'OSS_ERR_OBJECT_REPLACED',
    'OSS_ERR_RETRIES_EXHAUSTED',
  ])
})

t.test('docs/errors.md has every member that an error may have', async t => {
  const [, list = ''] = /const CONTEXT = \[(.*?)\]/s.exec(await source('errors.ts')) ?? []
  const members = [...list.matchAll(/'(\w+)'/g)].map(([, name]) => name)
  const [introduction = ''] = page('docs/errors.md').split('\n## ')
  const listed = introduction
    .split('\n- ')
    .slice(1)
    .flatMap(item => (item.split(/[:;]/)[0] ?? '').match(/`\w+`/g) ?? [])
    .concat(/`requestId`/.exec(introduction) ?? [])
  t.same([...new Set(listed)].sort(), [...members, 'cause'].map(name => `\`${name}\``).sort())
})

// The table of retry classes: each cell is computed from the code.

/** The classes of `classify-error.ts`, in its order. */
async function retryClasses(): Promise<RetryClass[]> {
  const [, type = ''] =
    /export type RetryClass =\n(.*?)\n\n/s.exec(await source('append/classify-error.ts')) ?? []
  return [...type.matchAll(/\| '(\w+)'/g)].map(([, name]) => name as RetryClass)
}

/** A policy without end, on a clock whose every random wait is the longest. */
function endlessBackoff() {
  const clock = new FakeClock()
  clock.chance = 1
  return { clock, backoff: new Backoff({ ...DEFAULT_RETRY, maxElapsed: Infinity }, clock) }
}

function firstWaits(retryClass: RetryClass): string {
  const { backoff } = endlessBackoff()
  const waits = [1, 2].map(() => backoff.next({ retryClass, hasResponse: true }))
  if (waits[0] === undefined) return 'none'
  const words = waits.map((wait = 0) =>
    wait < 1000 ? `up to ${wait} ms` : `up to ${wait / 1000} s`,
  )
  return words.join(', ').replaceAll('up to 0 ms', 'none')
}

const MINUTE = 60_000
const ORDINALS = ['', 'at once', 'the second in a row', 'the third in a row']

/** When failures of one class become final. */
function whenFinal(retryClass: RetryClass, hasResponse: boolean): string {
  if (retryClass === 'tooLarge') return `at ${smallestBody() / 1024} KiB`
  const { backoff } = endlessBackoff()
  for (const words of ORDINALS.slice(1)) {
    if (backoff.next({ retryClass, hasResponse }) === undefined) return words
  }
  const slow = endlessBackoff()
  for (let minutes = 0; minutes < 1440; minutes++) {
    if (slow.backoff.next({ retryClass, hasResponse }) === undefined)
      return `after ${minutes} minutes`
    slow.clock.time += MINUTE
  }
  return 'never'
}

/** Bytes of an append after which no shorter one is tried. */
function smallestBody(): number {
  const size = new AttemptSize(settings.highWaterMark)
  while (size.onRefused(size.bytes));
  return size.bytes
}

t.test('docs/errors.md has every retry class, its waits, and when it is final', async t => {
  const classes = await retryClasses()
  t.ok(classes.length > 8, `${classes.length} classes`)
  const rows = table('retry classes')
  t.same(rows.flatMap(([cell]) => names(cell)).sort(), [...classes].sort())
  for (const [cell, , waits, never, answered] of rows) {
    const [retryClass] = names(cell) as [RetryClass]
    t.equal(waits, firstWaits(retryClass), `${retryClass}: the waits`)
    t.equal(never, whenFinal(retryClass, false), `${retryClass}: a host that has never answered`)
    t.equal(answered, whenFinal(retryClass, true), `${retryClass}: a host that has answered`)
  }
})

/** The error that a code, or a status, of the table means. */
function errorOf(word: string, retryClass: RetryClass): OssError {
  const isRefreshable = ['clock', 'credentials'].includes(retryClass)
  if (retryClass === 'lostRace') {
    const tail = { position: 0, crc64: '0' }
    return lostRace(tail, tail, tail, serviceError(word, { status: 409 }))
  }
  if (/^\d+$/.test(word)) return serviceError('BadErrorResponse', { status: Number(word) })
  if (/^[A-Z]+(_[A-Z]+)*$/.test(word)) return networkError(word)
  return serviceError(word, { status: retryClass === 'throttled' ? 503 : 400, isRefreshable })
}

t.test('each code in the table of retry classes is of its class', async t => {
  const named: string[] = []
  for (const [cell, text = ''] of table('retry classes')) {
    const [retryClass] = names(cell) as [RetryClass]
    const codes = names(text.replace('but not `501`', ''))
    for (const code of codes.filter(code => !OPTIONS.includes(code as 'key'))) {
      // With a limit as its code 503 is throttled, and the row names such codes.
      if (retryClass === 'throttled' && code === '503') continue
      t.equal(classifyError(errorOf(code, retryClass)), retryClass, `${retryClass}: ${code}`)
      named.push(code)
    }
  }
  t.equal(classifyError(errorOf('501', 'wait')), 'final', 'the exception')

  const [, byCode = ''] =
    /const BY_CODE.*?= \{(.*?)\n\}/s.exec(await source('append/classify-error.ts')) ?? []
  const [, refusals = ''] =
    /const KEY_REFUSALS = new Set\(\[(.*?)\]/s.exec(await source('errors.ts')) ?? []
  const known = [
    ...[...byCode.matchAll(/^ {2}(\w+): '/gm)].map(([, code]) => code ?? ''),
    ...[...refusals.matchAll(/'(\w+)'/g)].map(([, code]) => code ?? ''),
  ]
  t.ok(known.filter(isKeyRefusal).length > 3, 'the codes of keys are found')
  t.ok(known.includes('InvalidDigest'), 'the codes with a class of their own are found')
  t.same(
    known.filter(code => !named.includes(code)),
    [],
    'codes that it does not name',
  )
})

// The command

const cli = page('docs/cli.md')

t.test('docs/cli.md has every command, and every flag that a document names exists', async t => {
  const calls = table('commands').map(([cell]) => /`oss-append (\S+)/.exec(cell ?? '')?.[1] ?? '')
  const words = calls.map(word => (word.startsWith('oss://') ? 'append' : word))
  t.same(words.sort(), [...COMMANDS, 'help'].sort())
  // The flags of Docker are its own.
  const text = cli.replaceAll(/^docker .*$/gm, '')
  const flags = [...text.matchAll(/(?<![\w-])--([a-z][a-z0-9-]*)/g)].map(([, name]) => name ?? '')
  t.same(
    flags.filter(name => !Object.hasOwn(FLAGS, name)),
    [],
    'flags that do not exist',
  )
  const own = Object.entries(FLAGS).filter(
    ([, { group, option }]) => group === 'roll' || ![...OPTIONS].includes(option as 'key'),
  )
  const named = own.filter(([, { option }]) => !option.startsWith('retry.')).map(([name]) => name)
  t.ok(named.length > 15, `${named.length} are no option of a stream`)
  t.same(
    named.filter(name => !flags.includes(name)),
    [],
    'flags that it does not name',
  )
  const rows = table('flags').flatMap(([cell = '']) => cell.match(/--[a-z-]+/g) ?? [])
  t.ok(rows.length > 8, `${rows.length} flags are in the table`)
})

/** The fields that docs/cli.md lists behind a name: `name` `{ a, b, ... }`. */
function fieldsOf(name: string): string[] {
  const [, list = ''] = new RegExp(`\`${name}\`(?: prints)? \`\\{ (.*?) \\}\``).exec(cli) ?? []
  return list.split(', ').filter(field => field !== '...')
}

t.test('--json prints the fields that docs/cli.md lists', async t => {
  const args = ['--local', t.testdir({}), '--json']
  const object = 'oss://examplebucket/a.gz'
  const input = Buffer.from('what is sent\n')
  const sent = await runCli(['--gzip', ...args, object, '-'], { input })
  const finish = JSON.parse(sent.stdout.trimEnd().split('\n').at(-1) ?? '')
  t.same(
    Object.keys(finish).filter(name => !['event', 'time'].includes(name)),
    fieldsOf('finish'),
    'finish',
  )
  t.match(finish.input, { bytes: input.length, sha256: /^[0-9a-f]{64}$/ })
  const plain = await runCli([...args, 'oss://examplebucket/a', '-'], { input })
  t.notMatch(plain.stdout, /"input"/, 'no `input` where the command sends what it reads')

  const oss = await startOss(t)
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  oss.server.append('examplebucket', 'a', input)
  const env = {
    OSS_ENDPOINT: oss.server.url,
    OSS_REGION: oss.server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
  const stat = await runCli(['stat', '--json', 'oss://examplebucket/a'], { env })
  const verify = await runCli(['verify', '--json', '-', 'oss://examplebucket/a'], { env, input })
  // An object that is not sealed has no `sealedTime`.
  const fields = fieldsOf('stat').filter(name => name !== 'sealedTime')
  const printed = Object.keys(JSON.parse(stat.stdout))
  t.ok(fields.length > 5)
  t.same(
    fields.filter(name => !printed.includes(name)),
    [],
    'stat',
  )
  t.same(Object.keys(JSON.parse(verify.stdout)), fieldsOf('verify'), 'verify')
})

t.test('docs/cli.md has the exit codes of the command', async t => {
  const [, text = ''] = /\nExit codes: (.*?)\.\s/s.exec(cli) ?? []
  const listed = new Set([...text.matchAll(/\b\d+\b/g)].map(Number))
  const errors = [
    ...[...OSS_ERROR_CODES, 'PositionNotEqualToLength'].map(code => new OssError(code, '')),
    new UsageError(''),
    new MismatchError([]),
  ]
  const interrupted = [
    constants.signals.SIGHUP,
    constants.signals.SIGINT,
    constants.signals.SIGTERM,
  ].map(signal => 128 + signal)
  t.strictSame(
    [...listed].sort(),
    [...new Set([0, ...errors.map(exitCodeOf), ...interrupted])].sort(),
  )
})

// Benchmarks

/** README's words for a case of the benchmarks; the number in them is the one that was measured. */
const FIGURES: Readonly<Record<string, RegExp>> = {
  '4 MiB: x ali-oss': /([\d.]+) times the throughput of ali-oss/,
  '4 MiB: CPU per byte, x ali-oss': /at ([\d.]+) of its CPU per byte/,
  '4 MiB, with MD5: x ali-oss': /\(([\d.]+) times with Content-MD5 on/,
  '4 MiB: x bare undici': /and ([\d.]+) of a bare undici loop/,
  'lines-buffers: x fs.createWriteStream': /([\d.]+) times as many as\s+`fs\.createWriteStream/,
  'CRC of 1 MiB: x crc64-ecma182.js': /([\d.]+) times the speed of\s+`crc64-ecma182\.js`/,
  'CRC of 1 MiB: x hash-wasm': /([\d.]+) times that of `hash-wasm`/,
}

t.test("README's figures are those of the benchmarks", async t => {
  const [, section = ''] = /\n## Benchmarks\n(.*?)\n## /s.exec(readme) ?? []
  const targets = documents.get('benchmarks/README.md') ?? ''
  const [, translated = ''] = /\n## 性能\n(.*?)\n## /s.exec(chinese) ?? []
  const chineseFigures = translated.match(/\d+(\.\d+)?/g)
  for (const [name, words] of Object.entries(FIGURES)) {
    const [, figure = ''] = words.exec(section.replaceAll('\n', ' ')) ?? []
    const row = targets.split('\n').find(line => line.startsWith(`| ${name} |`))
    const measured = Number(row?.split('|')[3])
    const digits = figure.split('.')[1]?.length ?? 0
    // Half of the last digit, and of the last digit of the row, which is rounded too.
    const difference = Math.abs(Number(figure) - measured)
    t.ok(difference <= 0.5 * 10 ** -digits + 0.005, `${name}: ${figure}, measured ${measured}`)
    t.ok(chineseFigures?.includes(figure), `${name}: ${figure}, in Chinese`)
  }
})
