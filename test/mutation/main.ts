/**
 * Puts each deliberate fault (mutant-table.ts) into a copy of the project, where the tests named with it
 * must fail. A mutant that lives means a rule that nobody checks. `npm run test:mutants` runs them all, two
 * at a time; with names as arguments, those.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnv } from '../helpers/child-process.ts'
import { MUTANTS, type Mutant, mutate } from './mutants.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Whether one of the mutant's tests fails in a copy that has it. */
async function isKilled(mutant: Mutant): Promise<boolean> {
  const copy = await makeCopy()
  try {
    const file = join(copy, mutant.file)
    await writeFile(file, mutate(mutant, await readFile(file, 'utf8')))
    await build(copy)
    for (const test of mutant.tests) {
      if (!(await passes(copy, test)) && (await isReliable(test))) return true
    }
    return false
  } finally {
    await rm(copy, { recursive: true, force: true })
  }
}

const reliability = new Map<string, Promise<boolean>>()

/** Whether a test passes in a copy without a fault. Or else its failing says nothing. */
function isReliable(test: string): Promise<boolean> {
  const known = reliability.get(test) ?? passesUnmodified(test)
  reliability.set(test, known)
  return known
}

async function passesUnmodified(test: string): Promise<boolean> {
  const copy = await makeCopy()
  await build(copy)
  const isPassed = await passes(copy, test)
  if (!isPassed) console.log(`fails without a fault, and does not count: test/${test}.test.ts`)
  await rm(copy, { recursive: true, force: true })
  return isPassed
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
    await cp(join(ROOT, part), join(copy, part), { recursive: true })
  }
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  return copy
}

/** Many tests run `dist/`. Without a look at types, of which a mutant could die: that says nothing of tests. */
async function build(cwd: string): Promise<void> {
  const args = [
    'node_modules/typescript/bin/tsc',
    '-p',
    'lib',
    '--noCheck',
    '--declaration',
    'false',
  ]
  const [code] = await once(spawn(process.execPath, args, { cwd, stdio: 'inherit' }), 'close')
  if (code !== 0) throw new Error(`tsc ended with ${code}`)
}

/** Runs one test file by itself, with tap's own loader. */
async function passes(cwd: string, test: string): Promise<boolean> {
  const args = ['--import=./test/helpers/typescript.js', `test/${test}.test.ts`]
  // As tap does: the time that a test may take, in seconds.
  const env = cleanEnv({ TAP_TIMEOUT: '300' })
  const child = spawn(process.execPath, args, { cwd, env, stdio: 'ignore' })
  // A mutant that hangs is found out too.
  const timer = setTimeout(() => child.kill('SIGKILL'), 300_000)
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
