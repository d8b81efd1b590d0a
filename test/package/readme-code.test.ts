/**
 * No fence of README is left to itself: what is TypeScript compiles, strictly, against what we publish;
 * what is a shell's is read by bash, and every `oss-append` in it by the command's own parser. A fence
 * of another kind has to say that it is `text`, and is one of two.
 */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import ts from 'typescript'
import { parseArguments } from '../../lib/cli/arguments.ts'
import { OssError } from '../../lib/errors.ts'
import { UndeliveredError } from '../../lib/loggers/undelivered-error.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const readme = await readFile(`${ROOT}README.md`, 'utf8')

interface Fence {
  /** Of its first mark, from 1. */
  readonly line: number
  readonly language: string
  readonly code: string
}

/** Fences of the one form that is used here: three backticks from the left margin on, and a word. */
function fencesOf(text: string): Fence[] {
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(match => ({
    line: text.slice(0, match.index).split('\n').length,
    language: match[1] ?? '',
    code: match[2] ?? '',
  }))
}

/** The lines that may begin or end a fence of any form, also in a list or a quotation, and do none of ours. */
function strayMarks(text: string): number[] {
  const ours = fencesOf(text).flatMap(({ line, code }) => [line, line + code.split('\n').length])
  const isMark = (line: string) => /^(\s|[-*+>]|\d+[.)])*(`{3,}|~{3,})/.test(line)
  return text
    .split('\n')
    .flatMap((line, i) => (isMark(line) ? [i + 1] : []))
    .filter(line => !ours.includes(line))
}

const fences = fencesOf(readme)

/** What a fragment, which imports nothing, takes for granted. */
const PRELUDE = `
  import { pipeline } from 'node:stream/promises'
  import { createAppendStream } from 'oss-append-stream'
  declare const source: NodeJS.ReadableStream
`

t.test('a fence of another form would be seen', async t => {
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

t.test('every fence is of a kind that is looked at', async t => {
  t.ok(fences.length > 10, 'the fences are found')
  const stray = strayMarks(readme).map(line => `README.md:${line}`)
  t.strictSame(stray, [], 'and no mark is left')
  for (const { line, language } of fences) {
    t.ok(['ts', 'sh', 'text'].includes(language), `README.md:${line} is \`${language}\``)
  }
})

t.test('the rest is one drawing, and what is said of a loss', async t => {
  const [drawing, loss, ...others] = fences.filter(({ language }) => language === 'text')
  t.match(drawing?.code, '──copy──>')
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
  t.equal(loss?.code.trim(), `oss-append-stream: ${message}`)
  t.same(others, [])
})

t.test('TypeScript compiles', async t => {
  const files = new Map(
    fences
      .filter(({ language }) => language === 'ts')
      .map(({ line, code }) => {
        const isFragment = !/^import /m.test(code)
        return [`${ROOT}README-${line}.ts`, isFragment ? PRELUDE + code : code]
      }),
  )
  const options: ts.CompilerOptions = {
    strict: true,
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    types: ['node'],
    noEmit: true,
    skipLibCheck: true,
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = name => files.has(name) || fileExists(name)
  host.readFile = name => files.get(name) ?? readFile(name)
  host.getSourceFile = (name, target, ...rest) => {
    const text = files.get(name)
    return text === undefined
      ? getSourceFile(name, target, ...rest)
      : ts.createSourceFile(name, text, target)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  for (const name of files.keys()) {
    const source = program.getSourceFile(name)
    const problems = [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ]
    const texts = problems.map(({ messageText }) =>
      ts.flattenDiagnosticMessageText(messageText, ' '),
    )
    t.strictSame(texts, [], name.slice(ROOT.length))
  }
})

/** Reads a script with nothing in reach but an `oss-append` that tells how it was called. */
const RECORDING_SHELL = `
  PATH=/nowhere
  exec 3>&1 >/dev/null
  command_not_found_handle() { return 0; }
  npx() { "$@"; }
  oss-append() { printf '%s\\0' "$@" $'\\n' >&3; }
`

t.test('what is for a shell is understood by it, and by the command', async t => {
  const run = promisify(execFile)
  let commands = 0
  for (const { line, code } of fences.filter(({ language }) => language === 'sh')) {
    // Files that it would read are not here.
    const script = `${RECORDING_SHELL}${code.replace(/ <(?=\s)\s*\S+/g, '')}`
    await run('bash', ['-n', '-c', script])
    const { stdout } = await run('bash', ['-c', `${script}\ntrue`], { cwd: ROOT })
    for (const call of stdout.split('\0\n\0').filter(text => text !== '')) {
      commands += 1
      const args = call.split('\0')
      t.doesNotThrow(() => parseArguments(args), `README.md:${line}: oss-append ${args.join(' ')}`)
    }
  }
  t.ok(commands > 2, `${commands} commands`)
})
