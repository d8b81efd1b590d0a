/**
 * `npm run test:mutants [-- NAME...]` puts each deliberate fault of mutants.ts into a copy of the project. One
 * of its tests must fail there. If none fails, the mutant lives: no test checks the rule that it breaks.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnv } from '../helpers/child-process.ts'
import { MUTANTS, type Mutant, mutate, testFiles } from './mutants.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Milliseconds that one test file may take. */
const TIMEOUT = 600_000

/** Whether one of the mutant's tests fails because of it. */
async function isKilled(mutant: Mutant): Promise<boolean> {
  const copy = await makeCopy()
  try {
    const file = join(copy, mutant.file)
    await writeFile(file, mutate(mutant, await readFile(file, 'utf8')))
    await build(copy)
    for (const test of mutant.tests.flatMap(testFiles)) {
      if (!(await passes(copy, test)) && (await isReliable(test))) return true
    }
    return false
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

const reliability = new Map<string, Promise<boolean>>()

/** Whether a test passes without a mutant. The failure of a test that does not pass proves nothing. */
function isReliable(test: string): Promise<boolean> {
  const known = reliability.get(test) ?? passesUnmodified(test)
  reliability.set(test, known)
  return known
}

async function passesUnmodified(test: string): Promise<boolean> {
  const copy = await makeCopy()
  await build(copy)
  const hasPassed = await passes(copy, test)
  if (!hasPassed) console.log(`fails without a mutant, so it does not count: ${test}`)
  await rm(copy, { recursive: true, force: true })
  return hasPassed
}

async function makeCopy(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'mutant-'))
  for (const part of [
    'lib',
    'test',
    'package.json',
    '.taprc',
    'tsconfig.json',
    'README.md',
    'docs',
  ]) {
    if (existsSync(join(ROOT, part))) {
      await cp(join(ROOT, part), join(copy, part), { recursive: true })
    }
  }
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** Builds `dist/`, which many tests run. Types are not checked: a mutant must die of a test, not of a type. */
async function build(cwd: string): Promise<void> {
  const args = [
    'node_modules/typescript7/bin/tsc',
    '-p',
    'lib',
    '--noCheck',
    '--declaration',
    'false',
  ]
  const [code] = await once(spawn(process.execPath, args, { cwd, stdio: 'inherit' }), 'close')
  if (code !== 0) throw new Error(`tsc ended with ${code}`)
}

/** Runs one test file without the runner of tap. */
async function passes(cwd: string, test: string): Promise<boolean> {
  const args = ['--import=./test/helpers/typescript.js', test]
  const env = cleanEnv({ TAP_TIMEOUT: String(TIMEOUT / 1000) })
  const child = spawn(process.execPath, args, { cwd, env, stdio: 'ignore' })
  // A mutant that makes its test hang is killed too.
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT)
  const [code] = await once(child, 'close')
  clearTimeout(timer)
  return code === 0
}

const wanted = process.argv.slice(2)
const queue = MUTANTS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
let killed = 0
let lived = 0

async function testMutants(): Promise<void> {
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
    const isDead = await isKilled(mutant)
    if (isDead) killed++
    else lived++
    console.log(`${isDead ? 'killed' : 'LIVES '}  ${mutant.name}`)
  }
}

await Promise.all([testMutants(), testMutants()])
console.log(`${killed} killed, ${lived} alive`)
process.exitCode = lived === 0 && killed > 0 ? 0 : 1
