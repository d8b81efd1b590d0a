/** Compiles a program of a user, and mistakes of one, against the packed package. */

import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import ts from 'typescript'
import { execClean, MODULES, type PackedPackage } from '../helpers/packed-package.ts'

export const USE = fileURLToPath(new URL('consumer/use.ts', import.meta.url))
const MISTAKES = fileURLToPath(new URL('consumer/mistakes.ts', import.meta.url))

export interface Compiler {
  /** The name of its package in node_modules. */
  readonly module: string
  readonly version: string
  readonly files: readonly string[]
  readonly moduleResolution?: 'bundler'
  /** The package with the types of Node. Default: `@types/node`. */
  readonly nodeTypes?: string
}

/** As an ES module and as CommonJS, which may `require()` an ES module from TypeScript 5.9 on. */
export const BOTH: readonly string[] = ['use.mts', 'use.cts']

/** Strict also for declarations, so that the compiler resolves each name in them. */
const STRICT = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
}

/** Adds a test for each compiler: the program compiles, and each mistake gives one error of two lines at most. */
export async function testCompilers(
  t: Test,
  { app }: PackedPackage,
  compilers: readonly Compiler[],
): Promise<void> {
  for (const file of BOTH) await cp(USE, join(app, file))
  await cp(MISTAKES, join(app, 'mistakes.mts'))
  const mistakes = await linesOfStatements(MISTAKES)
  await writeFile(join(app, 'package.json'), '{}')
  for (const { module, version, files, moduleResolution, nodeTypes } of compilers) {
    const name = [version, ...files, moduleResolution, nodeTypes].filter(Boolean).join(', ')
    await t.test(`TypeScript ${name}`, async t => {
      const types = join(app, 'node_modules/@types/node')
      if (nodeTypes) {
        await mkdir(join(types, '..'), { recursive: true })
        await symlink(join(MODULES, nodeTypes), types)
      }
      const compilerOptions = {
        ...STRICT,
        ...(moduleResolution ? { module: 'esnext', moduleResolution } : { module: 'nodenext' }),
        target: 'es2022',
        noEmit: true,
        types: ['node'],
        typeRoots: [nodeTypes ? join(types, '..') : join(MODULES, '@types')],
      }
      const tsconfig = { compilerOptions, files: [...files, 'mistakes.mts'] }
      await writeFile(join(app, 'tsconfig.json'), JSON.stringify(tsconfig))
      const tsc = [process.execPath, join(MODULES, module, 'bin/tsc')]
      t.match((await execClean([...tsc, '--version'])).stdout, `Version ${version}.`)
      const { stdout, stderr } = await execClean([...tsc, '-p', '.'], { cwd: app })
      t.equal(stderr, '')
      const errors = errorsIn(stdout)
      t.same(
        errors.filter(({ file }) => file !== 'mistakes.mts'),
        [],
        'the program compiles',
      )
      t.same(
        errors.filter(({ file }) => file === 'mistakes.mts').map(({ line }) => line),
        mistakes,
        'each mistake has one error',
      )
      const long = errors.filter(({ text }) => text.trimEnd().split('\n').length > 2)
      t.same(long, [], 'each error has at most two lines')
    })
  }
}

/** The first line of each statement that is not an import. */
async function linesOfStatements(file: string): Promise<number[]> {
  const source = ts.createSourceFile(file, await readFile(file, 'utf8'), ts.ScriptTarget.ES2022)
  return source.statements
    .filter(statement => !ts.isImportDeclaration(statement))
    .map(statement => source.getLineAndCharacterOfPosition(statement.getStart(source)).line + 1)
}

/** The errors that tsc prints, each with its lines of explanation. */
function errorsIn(stdout: string): { file: string; line: number; text: string }[] {
  return stdout
    .split(/^(?=\S)/m)
    .filter(text => text !== '')
    .map(text => {
      const [, file = '', line] = /^(.*)\((\d+),\d+\): error TS/.exec(text) ?? []
      return { file, line: Number(line), text }
    })
}
