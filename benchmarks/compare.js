/**
 * `npm run bench:compare -- DIR [--rounds 3] [NAME...]`: compares this checkout with the one in DIR. Both have
 * to be built. Only our own contenders run, in turns: A B A B ... The last column is this checkout's CPU
 * time by DIR's. On a busy machine CPU seconds are steadier than seconds.
 */

import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { runCase } from './arena.js'
import { cases, OURS, OURS_NULL } from './cases.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' } },
})
const [dir, ...names] = positionals
if (dir === undefined) {
  console.error('name the folder of the other checkout')
  process.exit(2)
}
const worker = pathToFileURL(resolve(dir, 'benchmarks/worker.js')).href
const wanted = names.length > 0 ? names : ['append-4MiB', 'lines-']

for (const given of cases.filter(({ name }) => wanted.some(start => name.startsWith(start)))) {
  for (const contender of given.contenders.filter(({ label }) => isOurs(label))) {
    const contenders = [
      { ...contender, label: 'old', worker },
      { ...contender, label: 'new' },
    ]
    const results = await runCase({ ...given, contenders }, Number(values.rounds), console.error)
    print(`${given.name}, ${contender.label}`, results)
  }
}

function isOurs(label) {
  return label === OURS || label === OURS_NULL
}

function print(title, { old, new: current }) {
  const error = old.error ?? current.error
  if (error !== undefined) {
    console.log(`${title}: ${error}`)
    process.exitCode = 1
    return
  }
  const ratio = key => (median(current, key) / median(old, key)).toFixed(3)
  const list = ({ turns }, key) => turns.map(turn => turn[key].toFixed(2)).join(' ')
  console.log(`${title}: seconds x${ratio('seconds')}, CPU x${ratio('cpu')}`)
  for (const [label, result] of Object.entries({ old, new: current })) {
    console.log(`  ${label}: seconds ${list(result, 'seconds')}; CPU ${list(result, 'cpu')}`)
  }
}

function median({ turns }, key) {
  const sorted = turns.map(turn => turn[key]).sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
