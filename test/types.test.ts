/**
 * The declarations, as a strict compiler of a user reads them: `test/fixtures/consumer/use.ts` against the packed
 * package, by every TypeScript that is supported. Its `@ts-expect-error` lines fail where misuse passes.
 */

import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import { exec, MODULES, pack } from './fixtures/packed.ts'

const USE = fileURLToPath(new URL('fixtures/consumer/use.ts', import.meta.url))

interface Compiler {
  /** The name that it is installed under. */
  readonly module: string
  readonly version: string
  readonly files: readonly string[]
  readonly moduleResolution?: 'bundler'
  /** The declarations of Node, by the name that they are installed under. */
  readonly nodeTypes?: string
}

/** CommonJS may `require()` an ES module from 5.9 on. */
const BOTH = ['use.mts', 'use.cts']
const COMPILERS: readonly Compiler[] = [
  { module: 'typescript54', version: '5.4', files: ['use.mts'] },
  { module: 'typescript59', version: '5.9', files: BOTH },
  { module: 'typescript', version: '6.0', files: BOTH },
  { module: 'typescript7', version: '7.0', files: BOTH },
  { module: 'typescript7', version: '7.0', files: BOTH, nodeTypes: 'types-node26' },
  { module: 'typescript7', version: '7.0', files: ['use.mts'], moduleResolution: 'bundler' },
]

const { app, installed } = await pack(t)

t.test('users of every TypeScript', async t => {
  for (const file of BOTH) await cp(USE, join(app, file))
  await writeFile(join(app, 'package.json'), '{}')
  // Strict with the declarations of others too, so that each name in ours is found.
  const strictest = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
  }

  for (const { module, version, files, moduleResolution, nodeTypes } of COMPILERS) {
    const name = [version, ...files, moduleResolution, nodeTypes].join(' ')
    await t.test(name, async t => {
      const types = join(app, 'node_modules/@types/node')
      if (nodeTypes) {
        await mkdir(join(types, '..'), { recursive: true })
        await symlink(join(MODULES, nodeTypes), types)
      }
      const compilerOptions = {
        ...strictest,
        ...(moduleResolution ? { module: 'esnext', moduleResolution } : { module: 'nodenext' }),
        target: 'es2022',
        noEmit: true,
        types: ['node'],
        typeRoots: [nodeTypes ? join(types, '..') : join(MODULES, '@types')],
      }
      await writeFile(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
      const tsc = [process.execPath, join(MODULES, module, 'bin/tsc')]
      t.match((await exec([...tsc, '--version'])).stdout, `Version ${version}.`)
      t.match(await exec([...tsc, '-p', '.'], { cwd: app }), { stdout: '', stderr: '', code: 0 })
    })
  }
})

t.test('an editor shows what each member means', async t => {
  const program = ts.createProgram([join(installed, 'dist/index.d.ts')], {
    module: ts.ModuleKind.NodeNext,
    types: [],
  })
  const checker = program.getTypeChecker()
  const entry = program.getSourceFile(join(installed, 'dist/index.d.ts'))
  const module = entry && checker.getSymbolAtLocation(entry)
  if (!module) throw new Error('no entry')
  const told = (symbol: ts.Symbol) =>
    ts.displayPartsToString(symbol.getDocumentationComment(checker))
  /** The properties of an exported type, its own and those that it inherits from ours. */
  const members = (name: string) => {
    const [found] = checker.getExportsOfModule(module).filter(symbol => symbol.name === name)
    if (!found) throw new Error(`no ${name}`)
    const isAlias = (found.flags & ts.SymbolFlags.Alias) !== 0
    const symbol = isAlias ? checker.getAliasedSymbol(found) : found
    return checker.getDeclaredTypeOfSymbol(symbol).getProperties()
  }

  for (const name of ['AppendStreamOptions', 'RollingAppendStreamOptions', 'GzipMembersOptions']) {
    const options = members(name)
    t.ok(options.length > 2, name)
    const untold = options.filter(option => told(option) === '').map(option => option.name)
    t.same(untold, [], `${name}: each option is told of`)
  }
  const [highWaterMark] = members('AppendStreamOptions').filter(
    option => option.name === 'highWaterMark',
  )
  t.match(highWaterMark && told(highWaterMark), /bytes.*default 4 MiB/i, 'with unit and default')
})
