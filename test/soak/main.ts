/**
 * An hour of real time on loopback, with a fault every few seconds and all kinds of writers at once:
 *
 *     npm run test:soak -- [--minutes 60]
 *
 * In the end each promised record is in the objects once and in order, and no process has grown: idle descriptors,
 * handles and listeners are those of the first minute, and memory stays. It uses about a third of a core.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createOssServer, type Fault } from '../../lib/server/index.ts'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { createRandom } from '../helpers/random.ts'
import { BUCKET } from '../helpers/test-oss.ts'
import { FollowedFile } from './followed-file.ts'
import {
  type SystemSample,
  sampleOf,
  Writer,
  type WriterPlan,
  type WriterReport,
} from './processes.ts'

const COMMAND = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url))
/** Milliseconds. */
const FAULT_INTERVAL = 3000
const RECORD_INTERVAL = 100
/** Records of one process are numbered from a multiple of this. */
const NUMBERS = 1_000_000
/** The three writers that share an object, by their numbers. */
const SHARED = ['shared 1', 'shared 2', 'shared 3'] as const
/** MiB that the memory of a process may grow from one third of the run to the next: what V8 varies by. */
const RSS_MARGIN = 8
/** A run below this number of minutes says nothing about memory. */
const MIN_MEMORY_MINUTES = 15
/** Milliseconds in which all processes end. */
const MAX_END_TIME = 60_000

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '60' } } })
const minutes = Number(values.minutes)
if (!(minutes >= 1)) throw new Error(`--minutes must be at least 1, not ${values.minutes}`)
// A short run kills and rotates more often.
const pace = minutes < 10 ? 3 : 1

const random = createRandom(Date.now())
const folder = mkdtempSync(join(tmpdir(), 'soak-'))
const server = await createOssServer()
const { accessKeyId, accessKeySecret } = server.credentials
const env = {
  OSS_ENDPOINT: server.url,
  OSS_REGION: server.region,
  OSS_ACCESS_KEY_ID: accessKeyId,
  OSS_ACCESS_KEY_SECRET: accessKeySecret,
}
const problems: string[] = []
const common = { bucket: BUCKET, requestTimeout: 2000, retry: { minDelay: 20, maxDelay: 500 } }

/** What each part writes; `{index}` in the key if it rolls. */
const PLANS: Readonly<Record<string, Omit<WriterPlan, 'from' | 'interval'>>> = {
  plain: { kind: 'plain', options: { ...common, key: 'plain' } },
  rolling: { kind: 'rolling', options: { ...common, key: 'rolling/{index}', maxBytes: 20_000 } },
  ...Object.fromEntries(
    SHARED.map(name => [
      name,
      { kind: 'plain', options: { ...common, key: 'shared', shared: true } },
    ]),
  ),
  journal: {
    kind: 'rolling',
    options: {
      ...common,
      ...{ key: 'journal/{index}', maxBytes: 200_000 },
      journal: { dir: join(folder, 'journal'), maxBytes: 1 << 26 },
    },
  },
  pino: { kind: 'pino', options: { ...common, key: 'pino' } },
  winston: { kind: 'winston', options: { ...common, key: 'winston' } },
}
const names = Object.keys(PLANS)

const writers = new Map<string, Writer>()
/** Numbers that the writer with a journal was told to be accepted. */
const accepted: number[] = []
/** What each writer has counted at its end; with a journal, what its last life has. */
const totals = new Map<string, Readonly<Record<string, number>>>()
const samples = new Map<string, SystemSample[]>()
let kills = 0
let rotations = 0
let faults = 0

function startWriter(name: string): void {
  const from =
    name === 'journal' ? kills * NUMBERS : Math.max(0, SHARED.indexOf(name as never)) * NUMBERS
  writers.set(name, new Writer({ ...PLANS[name]!, from, interval: RECORD_INTERVAL }, env))
}

/** A fault that every writer survives: nothing is lost by it that is not sent again. */
function pushFault(): void {
  const how = random.pick(['hang', 'reset', 500] as const)
  const times = random.integer(1, 2)
  server.faults.push(
    random.pick<Fault>([
      { kind: 'lost', how },
      { kind: 'lost', how, on: 'any', times },
      { kind: 'late', how, lands: 'beforeNext' },
      { kind: 'late', how, lands: 'afterLook' },
      { kind: 'late', how, lands: random.integer(1, 5000) },
      { kind: 'reset', when: random.pick(['before', 'middle', 'after']), times },
      { kind: 'status', status: 503, code: 'SlowDown', times: times * 3, on: 'any' },
      { kind: 'slowAnswer', delay: random.integer(100, 1500), on: 'any', times },
      { kind: 'refused', duration: random.integer(100, 2000) },
      { kind: 'early' },
      { kind: 'html' },
      { kind: 'garbage' },
      { kind: 'closed', how: random.pick(['header', 'silent']), times },
    ]),
  )
  faults += 1
}

const file = new FollowedFile(join(folder, 'app.log'))
const follow = spawnClean(
  [
    ...[
      process.execPath,
      COMMAND,
      '--quiet',
      '--align=line',
      '--request-timeout=2s',
      '--min-delay=20ms',
    ],
    ...['--max-delay=500ms', '--follow', join(folder, 'app.log'), `oss://${BUCKET}/follow/{index}`],
  ],
  cleanEnv(env),
  ['ignore', 'ignore', 'pipe'],
)
let followErrors = ''
follow.stderr?.on('data', data => (followErrors += data))
const followClosed = new Promise<string>(resolve =>
  follow.once('close', (code, signal) => resolve(`${code ?? signal}`)),
)

function pidsOf(): [string, number][] {
  return [
    ...[...writers].map(([name, { child }]): [string, number] => [name, child.pid!]),
    ['follow', follow.pid!],
    ['server', process.pid],
  ]
}

/** `spawnClean()` starts `env`, which becomes the program itself: the pid is that of Node. */
function takeSamples(): void {
  for (const [name, pid] of pidsOf()) {
    samples.set(name, [...(samples.get(name) ?? []), sampleOf(pid)])
  }
}

interface IdleSample extends SystemSample {
  readonly kinds: Readonly<Record<string, number>>
  readonly listeners: number
}

/** Lets all writers deliver what they have, and samples them while nothing goes on. */
async function sampleIdle(): Promise<Map<string, IdleSample>> {
  server.faults.clear()
  const reports = new Map<string, WriterReport>()
  await Promise.all(
    [...writers].map(async ([name, writer]) => reports.set(name, await writer.ask('pause'))),
  )
  const idle = pidsOf().map(([name, pid]): [string, IdleSample] => {
    const { kinds = {}, listeners = 0 } = reports.get(name) ?? {}
    return [name, { ...sampleOf(pid), kinds, listeners }]
  })
  for (const writer of writers.values()) writer.resume()
  return new Map(idle)
}

/** Kills the writer with a journal, and starts the next one. */
async function killJournal(): Promise<void> {
  const writer = writers.get('journal')!
  writer.child.kill('SIGKILL')
  await writer.closed
  collectAccepted(writer)
  kills += 1
  startWriter('journal')
}

function collectAccepted({ stdout, stderr }: Writer): void {
  if (stderr !== '') problems.push(`journal: ${stderr}`)
  accepted.push(...stdout.split('\n').slice(0, -1).map(Number))
}

/** The whole lines of the objects of a key, in order. */
function linesOf(key: string): string[] {
  const lines: string[] = []
  for (let index = 0; ; index++) {
    const text = server.read(BUCKET, key.replace('{index}', String(index)))?.toString()
    if (text === undefined) return lines
    const some = text.split('\n')
    if (some.pop() !== '') problems.push(`${key} ${index} ends inside a record`)
    // biome-ignore lint/suspicious/useIterableCallbackReturn: an object may have more lines than arguments fit
    some.forEach(line => lines.push(line))
    if (!key.includes('{index}')) return lines
  }
}

function numberOf(line: string): number {
  const { n, filler } = JSON.parse(line)
  if (filler !== 'x'.repeat((n * 7919) % 300)) problems.push(`a record is torn: ${line}`)
  return n
}

/** Compares numbers in the objects with the promised ones: those from `from` to `from + count - 1`, or `promised`. */
function checkNumbers(name: string, numbers: readonly number[], promised: readonly number[]): void {
  const found = new Set(numbers)
  const lost = promised.filter(n => !found.has(n)).length
  const doubled = numbers.length - found.size
  const isOrdered = numbers.every((n, i) => i === 0 || n > numbers[i - 1]!)
  if (lost > 0) problems.push(`${name}: ${lost} records are lost`)
  if (doubled > 0) problems.push(`${name}: ${doubled} records are there twice`)
  if (!isOrdered && doubled === 0) problems.push(`${name}: records are out of order`)
}

function range(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i)
}

function checkObjects(): void {
  const recordsOf = (name: string) => totals.get(name)?.records ?? 0
  for (const name of ['plain', 'rolling', 'pino', 'winston']) {
    const numbers = linesOf(String(PLANS[name]!.options.key)).map(numberOf)
    const promised = range(0, recordsOf(name))
    checkNumbers(name, numbers, promised)
    if (numbers.length > promised.length) problems.push(`${name}: more records than written`)
  }
  const shared = linesOf('shared').map(numberOf)
  for (const [i, name] of SHARED.entries()) {
    const numbers = shared.filter(n => Math.floor(n / NUMBERS) === i)
    checkNumbers(name, numbers, range(i * NUMBERS, recordsOf(name)))
  }
  checkNumbers('journal', linesOf('journal/{index}').map(numberOf), accepted)
  for (const [index, text] of file.generations.entries()) {
    const object = server.read(BUCKET, `follow/${index}`)?.toString()
    if (object !== text) problems.push(`follow: object ${index} is not generation ${index}`)
  }
}

/** A median: single samples vary with the garbage collector. */
function medianRss(list: readonly SystemSample[]): number {
  return list.map(({ rss }) => rss).sort((a, b) => a - b)[list.length >> 1] ?? 0
}

function checkGrowth(first: Map<string, IdleSample>, last: Map<string, IdleSample>): void {
  for (const [name, before] of first) {
    const after = last.get(name)!
    const grew = (what: string, from: number, to: number, margin = 0) => {
      if (to > from + margin) problems.push(`${name}: ${what} grew from ${from} to ${to}`)
    }
    // A journal keeps the file open that it has read from last: after a start or an outage, one more.
    grew('files', before.files, after.files, name === 'journal' ? 1 : 0)
    // A connection is kept alive after a request, or was closed by a fault just before. The server's are the others'.
    if (name !== 'server') grew('sockets', before.sockets, after.sockets, 1)
    grew('listeners', before.listeners, after.listeners)
    for (const [kind, count] of Object.entries(after.kinds)) {
      grew(kind, before.kinds[kind] ?? 0, count, kind === 'TCPSocketWrap' ? 1 : 0)
    }
    const all = samples.get(name) ?? []
    const third = Math.floor(all.length / 3)
    // The server holds all objects, and a writer with a journal lives for a minute.
    if (minutes < MIN_MEMORY_MINUTES || name === 'server' || name === 'journal') continue
    const [second, rest] = [all.slice(third, 2 * third), all.slice(2 * third)]
    grew('MiB of memory', Math.round(medianRss(second)), Math.round(medianRss(rest)), RSS_MARGIN)
  }
}

async function endAll(): Promise<void> {
  file.close()
  server.faults.clear()
  const deadline = AbortSignal.timeout(MAX_END_TIME)
  const tooLate = new Promise<never>((_, reject) => {
    deadline.onabort = () => reject(new Error(`not ended in ${MAX_END_TIME} ms: ${[...alive]}`))
  })
  const alive = new Set([...names, 'follow'])
  const ended = [...writers].map(async ([name, writer]) => {
    const { counts } = await writer.ask('end')
    totals.set(name, counts)
    const [code] = await writer.closed
    alive.delete(name)
    if (code !== 0 || writer.stderr !== '') problems.push(`${name}: exit ${code} ${writer.stderr}`)
    if (name === 'journal') collectAccepted(writer)
  })
  const followed = async () => {
    const wanted = file.generations.join('').length
    while (linesLength() < wanted) await sleep(100)
    follow.kill('SIGTERM')
    const code = await followClosed
    alive.delete('follow')
    if (code !== '143' || followErrors !== '') problems.push(`follow: exit ${code} ${followErrors}`)
  }
  await Promise.race([Promise.all([...ended, followed()]), tooLate])
}

function linesLength(): number {
  return file.generations.reduce(
    (sum, _, index) => sum + (server.stat(BUCKET, `follow/${index}`)?.length ?? 0),
    0,
  )
}

function printMinute(minute: number): void {
  const parts = pidsOf().map(([name]) => {
    const { rss, sockets, files } = samples.get(name)!.at(-1)!
    return `${name} ${Math.round(rss)} MiB ${files}+${sockets}`
  })
  const time = new Date().toISOString().slice(11, 19)
  console.log(
    `${time} minute ${minute}: ${faults} faults, ${kills} kills, ${rotations} rotations; ${parts.join(', ')}`,
  )
}

function printEnd(first: Map<string, IdleSample>, last: Map<string, IdleSample>): void {
  console.log('idle at start and end: MiB, files, sockets, listeners, active resources')
  for (const [name, before] of first) {
    const show = ({ rss, files, sockets, listeners, kinds }: IdleSample) =>
      `${Math.round(rss)} MiB ${files} ${sockets} ${listeners} ${JSON.stringify(kinds)}`
    console.log(`  ${name}: ${show(before)} -> ${show(last.get(name)!)}`)
  }
  for (const name of names) console.log(`  ${name}: ${JSON.stringify(totals.get(name))}`)
  console.log(`  journal: ${accepted.length} records accepted in ${kills + 1} lives`)
  console.log(`  follow: ${file.lines} records in ${file.generations.length} files`)
  console.log(
    `${faults} faults, ${kills} kills, ${rotations} rotations, fired: ${JSON.stringify(server.faults.fired)}`,
  )
}

/** Until a moment: faults, kills, rotations and samples at their times. */
async function runUntil(end: number): Promise<void> {
  while (performance.now() < end) {
    tick += 1
    const seconds = (tick * RECORD_INTERVAL) / 1000
    const isDue = (every: number) => Number.isInteger(seconds / every)
    file.write()
    if (isDue(FAULT_INTERVAL / 1000)) pushFault()
    if (isDue(30 / pace)) {
      file.rotate()
      rotations += 1
    }
    if (isDue(60 / pace)) await killJournal()
    await sleep(RECORD_INTERVAL)
  }
}

let tick = 0
const begin = performance.now()
for (const name of names) startWriter(name)
let first: Map<string, IdleSample> | undefined
try {
  for (let minute = 1; minute <= minutes; minute++) {
    await runUntil(begin + minute * 60_000)
    takeSamples()
    printMinute(minute)
    first ??= await sampleIdle()
  }
  const last = await sampleIdle()
  await endAll()
  checkObjects()
  checkGrowth(first!, last)
  printEnd(first!, last)
} catch (error) {
  problems.push(String((error as Error).stack))
}
for (const { child } of writers.values()) child.kill('SIGKILL')
follow.kill('SIGKILL')
await server.close()
rmSync(folder, { recursive: true, force: true })
for (const problem of problems) console.log(`FAILED ${problem}`)
console.log(
  problems.length === 0 ? 'ok: 0 lost, 0 doubled, nothing grew' : `${problems.length} problems`,
)
process.exitCode = problems.length === 0 ? 0 : 1
