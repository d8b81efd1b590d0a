/**
 * `npm run bench -- [--rounds N] [NAME...]` runs the cases whose names begin with NAME, or all but the long ones,
 * and prints them. results.json keeps the latest results of every case, from which README.md and chart.svg
 * are written. With `--rounds` no file is written. The exit code is 1 if a contender failed. A target that is
 * not met fails nothing.
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
  positionals.length === 0 ? !isLong : positionals.some(prefix => name.startsWith(prefix)),
)
if (chosen.length === 0) {
  console.error(`no case is called so: use ${cases.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
install()

const command = ['npm run bench', ...(positionals.length ? ['--', ...positionals] : [])].join(' ')
const measured = {}
let hasFailed = false
for (const benchmark of chosen) {
  const { name } = benchmark
  console.error(`${name} ...`)
  const rounds = values.rounds === undefined ? benchmark.rounds : Number(values.rounds)
  const results = await run(benchmark, rounds)
  measured[name] = { run: describeRun(command, rounds), results }
  hasFailed ||= Object.values(results).some(({ error }) => error !== undefined)
  console.log(`${section(benchmark, measured[name])}\n`)
}
console.log(targetTable(measured))
if (values.rounds === undefined) save()
process.exitCode = hasFailed ? 1 : 0

/** If the sink does not start, the case fails and the other cases run. */
async function run(benchmark, rounds) {
  try {
    return await runCase(benchmark, rounds, text => console.error(text))
  } catch (error) {
    console.error(`  ${error.message}`)
    return { [benchmark.name]: { turns: [], error: error.message } }
  }
}

/** Installs the packages of the contenders, which are no dependencies of this package. */
function install() {
  if (existsSync(here('node_modules'))) return
  const args = ['ci', '--prefix', 'benchmarks', '--no-audit', '--no-fund']
  const { status } = spawnSync('npm', args, { cwd: here('..'), stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(1)
}

/** Writes the files, with the results of earlier runs for the other cases. */
function save() {
  const file = here('results.json')
  const earlier = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const all = { ...earlier, ...measured }
  writeFileSync(file, `${JSON.stringify(all, round)}\n`)
  writeFileSync(here('README.md'), readme(all))
  writeFileSync(here('chart.svg'), chart(all))
}

/** Keeps six significant digits. */
function round(_key, value) {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value
}
