/**
 * `npm run bench -- [--rounds N] [NAME...]`: runs the cases whose names begin so, or all but the long
 * ones, prints them, and writes README.md and chart.svg from the latest results of every case, which
 * results.json keeps. With `--rounds` it is a quick look, and writes nothing. Exits 1 where a
 * contender failed; a target that is not met is told, and fails nothing.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { runCase } from './arena.js'
import { cases } from './cases.js'
import { chart } from './chart.js'
import { describeRun, readme, section, targetTable } from './report.js'

const here = name => new URL(name, import.meta.url)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' } },
})
const chosen = cases.filter(({ name, isLong }) =>
  positionals.length === 0 ? !isLong : positionals.some(given => name.startsWith(given)),
)
if (chosen.length === 0) {
  console.error(`no such case; there are ${cases.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
install()

const command = ['npm run bench', ...(positionals.length ? ['--', ...positionals] : [])].join(' ')
const measured = {}
let hasFailed = false
for (const given of chosen) {
  console.error(`${given.name} ...`)
  const rounds = values.rounds === undefined ? given.rounds : Number(values.rounds)
  const results = await run(given, rounds)
  measured[given.name] = { run: describeRun(command, rounds), results }
  hasFailed ||= Object.values(results).some(({ error }) => error !== undefined)
  console.log(`${section(given, measured[given.name])}\n`)
}
console.log(targetTable(measured))
if (values.rounds === undefined) save()
process.exitCode = hasFailed ? 1 : 0

/** A case whose sink does not come up is a failure of all its contenders, and not of the other cases. */
async function run(given, rounds) {
  try {
    return await runCase(given, rounds, text => console.error(text))
  } catch (error) {
    console.error(`  ${error.message}`)
    return { [given.name]: { turns: [], error: error.message } }
  }
}

/** The peers' packages are not the library's, and come when they are wanted. */
function install() {
  if (existsSync(here('node_modules'))) return
  const args = ['ci', '--prefix', 'benchmarks', '--no-audit', '--no-fund']
  const { status } = spawnSync('npm', args, { cwd: here('..'), stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(1)
}

/** Together with what earlier runs left of other cases. */
function save() {
  const file = here('results.json')
  const earlier = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const all = { ...earlier, ...measured }
  writeFileSync(file, `${JSON.stringify(all, round)}\n`)
  writeFileSync(here('README.md'), readme(all))
  writeFileSync(here('chart.svg'), chart(all))
}

/** What is not told apart need not be kept. */
function round(_key, value) {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value
}
