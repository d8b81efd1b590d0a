/** What the documents name is there: scripts, files, headings, the parts of lib, and the figures measured. */

import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { basename } from 'node:path'
import t from 'tap'
import { exitCodeOf, MismatchError } from '../../lib/cli/failure.ts'
import { UsageError } from '../../lib/cli/usage-error.ts'
import { OSS_ERROR_CODES, OssError } from '../../lib/errors.ts'
import { readme } from '../helpers/readme.ts'
import { runCli } from '../helpers/run-cli.ts'
import { startOss } from '../helpers/test-oss.ts'

const ROOT = new URL('../../', import.meta.url)

/** Every document of ours: its text, by its path. */
const documents = new Map<string, string>()
for (const folder of ['', 'lib/', 'benchmarks/', '.github/']) {
  const names = await readdir(new URL(folder, ROOT))
  for (const name of names.filter(name => name.endsWith('.md'))) {
    documents.set(folder + name, await readFile(new URL(folder + name, ROOT), 'utf8'))
  }
}
t.ok(documents.size > 4, 'the documents are found')

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

t.test('every npm script', async t => {
  const { scripts } = JSON.parse(await readFile(new URL('package.json', ROOT), 'utf8'))
  let count = 0
  for (const [file, text] of documents) {
    const named = [...text.matchAll(/\bnpm (?:run ([\w:-]+)|(test|start)\b)/g)]
    const absent = named.map(([, run, short]) => run ?? short).filter(name => !scripts[name ?? ''])
    t.same(absent, [], file)
    count += named.length
  }
  t.ok(count > 10, `${count} are named`)
})

t.test('every file and every heading that is linked to', async t => {
  let count = 0
  for (const [file, text] of documents) {
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)]
    for (const [link, path = '', anchor = ''] of links) {
      const target = new URL(path === '' ? basename(file) : path, new URL(file, ROOT))
      t.ok(existsSync(target), `${file}: ${link}`)
      if (anchor === '') continue
      t.ok(anchorsOf(await readFile(target, 'utf8')).includes(anchor), `${file}: ${link}`)
      count += 1
    }
  }
  t.ok(count > 20, `${count} headings are linked to`)
})

t.test('lib/README.md names each part of lib, and none that is not there', async t => {
  const text = documents.get('lib/README.md') ?? ''
  const paths = [...text.matchAll(/`([\w./-]+(?:\.ts|\/))`/g)].map(([, path = '']) => path)
  t.ok(paths.length > 20, `${paths.length} paths`)
  t.same(
    paths.filter(path => !['', 'lib/'].some(base => existsSync(new URL(base + path, ROOT)))),
    [],
    'paths that lead nowhere',
  )

  const [, order = ''] = /\n## Reading order\n(.*?)\n## /s.exec(text) ?? []
  const told = new Set([...order.matchAll(/`([\w-]+)(?:\.ts|\/)?`/g)].map(([, name]) => name))
  const entries = await readdir(new URL('lib/', ROOT), { withFileTypes: true })
  const standsAlone = ['cli', 'crc64', 'server']
  const parts: string[] = []
  for (const entry of entries) {
    if (entry.isFile()) parts.push(entry.name)
    else if (standsAlone.includes(entry.name)) parts.push(entry.name)
    else parts.push(...(await readdir(new URL(`lib/${entry.name}/`, ROOT))))
  }
  const names = parts
    .filter(name => !/\.(md|json)$/.test(name))
    .map(name => name.replace(/\.ts$/, ''))
  t.ok(names.length > 40, `${names.length} parts`)
  t.same(
    names.filter(name => !told.has(name)),
    [],
    'parts that nobody told of',
  )
  // "`name` (what it does)" is a part.
  const explained = [...order.matchAll(/`([\w-]+)` \(/g)].map(([, name = '']) => name)
  t.same(
    explained.filter(name => !names.includes(name)),
    [],
    'parts that are gone',
  )
})

/** What README lists in braces behind a name: `name` `{ a, b, ... }`. */
function fieldsOf(name: string): string[] {
  const [, list = ''] = new RegExp(`\`${name}\`(?: prints)? \`\\{ (.*?) \\}\``).exec(readme) ?? []
  return list.split(', ').filter(field => field !== '...')
}

t.test('--json prints what README lists', async t => {
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
  t.notMatch(plain.stdout, /"input"/, 'where it is what was sent')

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
  // An object that is not sealed has no time of that.
  const open = fieldsOf('stat').filter(name => name !== 'sealedTime')
  const has = Object.keys(JSON.parse(stat.stdout))
  t.ok(open.length > 5)
  t.same(
    open.filter(name => !has.includes(name)),
    [],
    'stat',
  )
  t.same(Object.keys(JSON.parse(verify.stdout)), fieldsOf('verify'), 'verify')
})

t.test('the exit codes are those that README lists', async t => {
  const [, text = ''] = /\nExit codes: (.*?)\.\s/s.exec(readme) ?? []
  const told = new Set([...text.matchAll(/\b\d+\b/g)].map(Number))
  const errors = [
    ...[...OSS_ERROR_CODES, 'PositionNotEqualToLength'].map(code => new OssError(code, '')),
    new UsageError(''),
    new MismatchError([]),
  ]
  const interrupted = [constants.signals.SIGINT, constants.signals.SIGTERM].map(n => 128 + n)
  t.strictSame(
    [...told].sort(),
    [...new Set([0, ...errors.map(exitCodeOf), ...interrupted])].sort(),
  )
})

/** README's words for a case of the benchmarks; the number in them is the one measured. */
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
  for (const [name, words] of Object.entries(FIGURES)) {
    const [, told = ''] = words.exec(section.replaceAll('\n', ' ')) ?? []
    const row = targets.split('\n').find(line => line.startsWith(`| ${name} |`))
    const measured = Number(row?.split('|')[3])
    const digits = told.split('.')[1]?.length ?? 0
    // Half of the last digit, and of that of the row, which is rounded itself.
    const off = Math.abs(Number(told) - measured)
    t.ok(off <= 0.5 * 10 ** -digits + 0.005, `${name}: ${told} is said, ${measured} is measured`)
  }
})
