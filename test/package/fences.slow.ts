/** Every `ts` fence of README.md and `docs/` compiles, strictly, against the published types. */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { fences } from '../helpers/readme.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Types of a package that has none of its own. */
const DECLARATIONS = [`${ROOT}test/helpers/ali-oss.d.ts`]

/** What a fragment without imports needs. */
const PRELUDE = `
  import { pipeline } from 'node:stream/promises'
  import { createAppendStream } from 'oss-append-stream'
  declare const source: NodeJS.ReadableStream
`

t.test('every ts fence compiles', async t => {
  const files = new Map(
    fences
      .filter(({ language }) => language === 'ts')
      .map(({ path, line, code }) => {
        const isFragment = !/^import /m.test(code)
        const name = `${ROOT}${path.replace(/\W/g, '-')}-${line}.ts`
        return [name, isFragment ? PRELUDE + code : code]
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
  const program = ts.createProgram([...files.keys(), ...DECLARATIONS], options, host)
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
