/**
 * Every fence of README.md and `docs/` is checked. `fences.slow.ts` compiles `ts`. `sh` is parsed by bash, and each
 * `oss-append` in it by the parser of the command. `json` is parsed, and `guides.slow.ts` uses it. `text` is one of a
 * known list.
 */

import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { parseArguments } from '../../lib/cli/arguments.ts'
import { OssError } from '../../lib/errors.ts'
import { ANCHOR_PLACES, HEAD_BYTES, parseSegmentName } from '../../lib/journal/segment.ts'
import { UndeliveredError } from '../../lib/loggers/undelivered-error.ts'
import { fences, fencesOf, pages } from '../helpers/readme.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The lines that may begin or end a fence of another form, also in a list or a quotation. */
function strayMarks(text: string): number[] {
  const ours = fencesOf(text).flatMap(({ line, code }) => [line, line + code.split('\n').length])
  const isMark = (line: string) => /^(\s|[-*+>]|\d+[.)])*(`{3,}|~{3,})/.test(line)
  return text
    .split('\n')
    .flatMap((line, i) => (isMark(line) ? [i + 1] : []))
    .filter(line => !ours.includes(line))
}

t.test('a fence of another form is found', async t => {
  for (const [text, lines] of [
    ['```ts\na\n```', []],
    ['```\n```\n\n```sh\na\nb\n```', []],
    ['- a\n\n  ```ts\n  a\n  ```', [3, 5]],
    ['- ```ts\n  a\n  ```', [1, 3]],
    ['1. ```ts\n   a\n   ```', [1, 3]],
    ['> ```ts\n> a\n> ```', [1, 3]],
    ['~~~ts\na\n~~~', [1, 3]],
    ['```js title\na\n```', [1, 3]],
    ['``` ts\na\n```', [1, 3]],
    ['```c++\na\n```', [1, 3]],
    ['````ts\na\n````', [1, 3]],
    ['```ts\na', [1]],
    ['```ts\n~~~\n```', [2]],
  ] as const) {
    t.strictSame(strayMarks(text), lines, text)
  }
})

t.test('every fence is ts, sh, json or text', async t => {
  t.ok(fences.length > 20, 'the fences are found')
  for (const [path, text] of pages) {
    t.strictSame(
      strayMarks(text).map(line => `${path}:${line}`),
      [],
      'fences of another form',
    )
  }
  for (const { place, language } of fences) {
    t.ok(['ts', 'sh', 'json', 'text'].includes(language), `${place} is \`${language}\``)
  }
})

t.test('every text fence is one that is compared with the code', async t => {
  const texts = fences.filter(({ language }) => language === 'text')
  t.same(
    texts.map(({ path }) => path),
    [
      'README.md',
      ...Array(4).fill('docs/design.md'),
      ...Array(5).fill('docs/journal.md'),
      ...['docs/loggers.md', 'docs/rolling.md'],
    ],
  )
  // Behind the format test/journal/frame.test.ts compares a header, an anchor and frames.
  const [overview, path, settlement, pipelining, states, folder, format, , , , loss, hourTwice] =
    texts.map(({ code }) => code)

  const events = ["'append'", 'flush()', 'write()', '409', '5xx']
  for (const name of events) t.match(overview, name, `README's drawing has ${name}`)

  const sources = [
    ...['append/appender', 'append/client-interface', 'append/destination', 'append/retry-loop'],
    ...['append/tail', 'rolling/roller', 'stream/append-stream', 'stream/batch-source'],
    ...['stream/batcher', 'stream/send-loop'],
  ]
  const code = sources.map(name => readFileSync(`${ROOT}lib/${name}.ts`, 'utf8')).join()
  for (const [name] of path?.matchAll(/\b(?!OSS|CRC)[A-Z]\w+/g) ?? []) {
    t.match(code, new RegExp(`export (class|interface) ${name}\\b`), `${name} is exported`)
  }
  t.match(path, 'settle(before, batch, seen)')
  t.match(code, /export function settle\(before: Tail, unacknowledged: Batch, seen: /)

  const drawingOf = (name: string): string => {
    const source = readFileSync(`${ROOT}lib/append/${name}.ts`, 'utf8')
    return [...source.matchAll(/^ \* {6}(.*)$/gm)].map(([, line]) => line).join('\n')
  }
  t.equal(settlement?.trimEnd(), drawingOf('tail'), 'the drawing of `settle()`')
  t.equal(pipelining?.trimEnd(), drawingOf('chain'), 'the drawing of a chain')

  const keyPattern = readFileSync(`${ROOT}lib/rolling/key-pattern.ts`, 'utf8')
  const rows = [...keyPattern.matchAll(/^ \* {6}(.*\|.*)$/gm)].map(([, row]) => row).join('\n')
  t.equal(hourTwice?.trimEnd(), rows, 'the drawing of the hour that comes twice')

  const segments = folder?.match(/\S+\.journal/g) ?? []
  t.equal(segments.length, 2)
  for (const name of segments) t.ok(parseSegmentName(name), name)
  const [, offsets = ''] = /^segment +(.*)$/m.exec(format ?? '') ?? []
  t.same(offsets.split(/ +/).map(Number), [0, ...ANCHOR_PLACES, HEAD_BYTES])

  t.equal(states?.trimEnd(), drawingOf('object-state'), 'the states of an object')
  const objectState = readFileSync(`${ROOT}lib/append/object-state.ts`, 'utf8')
  const declared = new Set([...objectState.matchAll(/name: '(\w+)'/g)].map(([, name]) => name))
  const drawn = new Set(states?.match(/\b[a-z]+\b(?!\()/g))
  t.same(
    [...declared].filter(name => !drawn.has(name as string)),
    [],
    'the states that are drawn',
  )
  t.equal(declared.size, 4)

  const { message } = new UndeliveredError({
    records: 500,
    bytes: 10_500,
    unresolvedRecords: 0,
    lateRecords: 0,
    bucket: 'examplebucket',
    key: 'logs/app.log',
    tail: { position: 10_390, crc64: '1' },
    cause: new OssError('OSS_ERR_NETWORK', 'down'),
  })
  t.equal(loss?.trim(), `oss-append-stream: ${message}`)
})

t.test('every json fence is JSON', async t => {
  const texts = fences.filter(({ language }) => language === 'json')
  t.ok(texts.length > 2, `${texts.length} fences`)
  for (const { place, code } of texts) t.doesNotThrow(() => JSON.parse(code), place)
})

/** Runs a script with no program in PATH, and an `oss-append` that prints its arguments. */
const RECORDING_SHELL = `
  PATH=/nowhere
  exec 3>&1 >/dev/null
  command_not_found_handle() { return 0; }
  npx() { [ "$1" = -p ] && shift 2; "$@"; }
  oss-append() { printf '%s\\0' "$@" $'\\n' >&3; }
`

t.test('every sh fence is valid bash, and each oss-append in it has valid arguments', async t => {
  const run = promisify(execFile)
  let commands = 0
  for (const { place, code } of fences.filter(({ language }) => language === 'sh')) {
    // Redirections from files that do not exist here are removed.
    const script = `${RECORDING_SHELL}${code.replace(/ <(?=\s)\s*\S+/g, '')}`
    await run('bash', ['-n', '-c', script])
    const { stdout } = await run('bash', ['-c', `${script}\ntrue`], { cwd: ROOT })
    for (const call of stdout.split('\0\n\0').filter(text => text !== '')) {
      commands += 1
      const args = call.split('\0')
      t.doesNotThrow(() => parseArguments(args), `${place}: oss-append ${args.join(' ')}`)
    }
  }
  t.ok(commands > 2, `${commands} commands`)
})
