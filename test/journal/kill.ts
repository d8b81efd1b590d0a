/**
 * A process that writes numbered records through a plain and a rolling stream, each with a journal, and is killed
 * again and again. It tells through a pipe which records were accepted. The test server loses requests and
 * responses meanwhile. At the end each accepted record is in the objects once, in order, and none without the
 * ones before it.
 */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import {
  createAppendStream,
  createRollingAppendStream,
  type OssAppendStream,
} from '../../lib/index.ts'
import type { Fault, OssServer } from '../../lib/server/index.ts'
import { cleanEnv, DIST, spawnClean } from '../helpers/child-process.ts'
import { newFolder } from '../helpers/journal.ts'
import { createServerOnKeptPort } from '../helpers/kept-port.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { BUCKET, networkOptions } from '../helpers/test-oss.ts'

/** Records of one life are numbered from a multiple of this. */
const LIFE = 1_000_000
/** Bytes. Rolls are frequent. */
const OBJECT_BYTES = 30_000
const KEYS = { plain: 'plain.log', rolling: 'rolling-{index}.log' } as const
const NAMES = ['plain', 'rolling'] as const

/** `DIST` stands for the URL of dist/. */
const PROGRAM = `
  import { writeSync } from 'node:fs'
  import { createAppendStream, createRollingAppendStream } from 'DISTindex.js'
  const { from, options, plain, rolling, pause } = JSON.parse(process.env.PLAN)
  const streams = {
    plain: createAppendStream({ ...options, ...plain }),
    rolling: createRollingAppendStream({ ...options, ...rolling }),
  }
  let n = from
  for (const stream of Object.values(streams)) stream.on('error', error => { throw error })
  writeSync(3, 'started\\n')
  const write = () => {
    for (const [name, stream] of Object.entries(streams)) {
      for (let i = n % 17; i >= 0 && !stream.writableNeedDrain; i--) {
        const number = n++
        const text = number + ' ' + 'x'.repeat((number * 7919) % 300) + '\\n'
        stream.write(text, error => { if (!error) writeSync(3, name + ' ' + number + '\\n') })
      }
      if (n % 29 === 0) stream.flush()
    }
    setTimeout(write, pause)
  }
  write()
`

interface Plan {
  readonly seed: number
  readonly kills: number
}

/** Numbers of the accepted records, by stream. */
type Accepted = Record<(typeof NAMES)[number], Set<number>>

export async function testKills(t: Test, { seed, kills }: Plan): Promise<void> {
  const random = createRandom(seed)
  const server = await createServerOnKeptPort()
  const folder = newFolder(t)
  t.teardown(() => server.close())
  const accepted: Accepted = { plain: new Set(), rolling: new Set() }
  for (let life = 1; life <= kills; life++) {
    await live(server, folder, random, { life, accepted })
    if (life % 3 === 0) server.faults.clear()
  }
  server.faults.clear()
  await deliverRest(server, folder)
  for (const name of NAMES) check(t, `seed ${seed}, ${name}`, read(server, name), accepted[name])
}

/** Starts the process, disturbs its requests, and kills it. */
async function live(
  server: OssServer,
  folder: string,
  random: Random,
  { life, accepted }: { readonly life: number; readonly accepted: Accepted },
): Promise<void> {
  const plan = {
    from: life * LIFE,
    pause: random.integer(0, 8),
    options: { ...networkOptions(server), ...optionsOf(random) },
    ...targets(folder, random.pick(['always', 'never', 2, 200] as const)),
  }
  const env = cleanEnv({ PLAN: JSON.stringify(plan) })
  const node = [process.execPath, '--input-type=module', '-e', PROGRAM.replaceAll('DIST', DIST)]
  const child = spawnClean(node, env, ['ignore', 'ignore', 'pipe', 'pipe'])
  const output = collect(child)
  const closed = once(child, 'close')
  // Some lives end before their first record is accepted.
  const sign = random.integer(1, 6) === 1 ? 'started' : ' '
  while (!output.lines.includes(sign) && child.exitCode === null) await delay(2)
  for (let faults = random.integer(0, 4); faults > 0; faults--) {
    server.faults.push(randomFault(random))
    await delay(random.integer(0, 60))
  }
  await delay(random.integer(0, 100))
  child.kill('SIGKILL')
  await closed
  if (output.errors !== '') throw new Error(`the process failed: ${output.errors}`)
  for (const line of output.lines.split('\n').slice(0, -1)) {
    const [name, number] = line.split(' ')
    if (number !== undefined) accepted[name as keyof Accepted].add(Number(number))
  }
}

function collect(child: ChildProcess): { lines: string; errors: string } {
  const output = { lines: '', errors: '' }
  child.stdio[3]?.on('data', data => (output.lines += data))
  child.stderr?.on('data', data => (output.errors += data))
  return output
}

function optionsOf(random: Random) {
  return {
    align: '\n',
    highWaterMark: random.pick([4096, 20_000]),
    flushInterval: random.pick([5, 50]),
    requestTimeout: 150,
    retry: { minDelay: 1, maxDelay: 20 },
  } as const
}

function targets(folder: string, sync: 'always' | 'never' | number) {
  const journal = (name: string) => ({ dir: join(folder, name), sync, maxBytes: 1 << 20 })
  return {
    plain: { bucket: BUCKET, key: KEYS.plain, journal: journal('plain') },
    rolling: {
      bucket: BUCKET,
      key: KEYS.rolling,
      journal: journal('rolling'),
      maxBytes: OBJECT_BYTES,
    },
  }
}

function randomFault(random: Random): Fault {
  const how = random.pick(['hang', 'reset', 500] as const)
  const times = random.integer(1, 3)
  return random.pick<Fault>([
    { kind: 'lost', how, times },
    { kind: 'lost', how, times, on: 'any' },
    { kind: 'late', how, lands: 'beforeNext' },
    { kind: 'late', how, lands: 'afterLook' },
    { kind: 'late', how, lands: random.integer(1, 200) },
    { kind: 'status', status: 503, times: times * 10, on: 'any' },
    { kind: 'reset', when: 'middle', times },
    { kind: 'refused', duration: random.integer(10, 200) },
  ])
}

/** A start that writes nothing. */
async function deliverRest(server: OssServer, folder: string): Promise<void> {
  const { plain, rolling } = targets(folder, 200)
  const options = { ...networkOptions(server), align: '\n', requestTimeout: 150 } as const
  const streams: OssAppendStream[] = [
    createAppendStream({ ...options, ...plain }),
    createRollingAppendStream({ ...options, ...rolling }),
  ]
  for (const stream of streams) {
    stream.end()
    await once(stream, 'close')
  }
}

/** The numbers in the objects of a stream, in order. */
function read(server: OssServer, name: (typeof NAMES)[number]): number[] {
  const numbers: number[] = []
  for (let index = 0; ; index++) {
    const bytes = server.read(BUCKET, KEYS[name].replace('{index}', String(index)))
    if (!bytes || (name === 'plain' && index > 0)) return numbers
    const lines = bytes.toString().split('\n')
    if (lines.pop() !== '') throw new Error(`${name} ${index} ends inside a record`)
    for (const line of lines) {
      const [number, text = ''] = line.split(' ')
      if (text.length !== (Number(number) * 7919) % 300) throw new Error(`torn: ${line}`)
      numbers.push(Number(number))
    }
  }
}

function check(t: Test, what: string, numbers: readonly number[], accepted: Set<number>): void {
  const inObjects = new Set(numbers)
  t.ok(accepted.size > 0, `${what}: ${accepted.size} records accepted, ${numbers.length} arrived`)
  t.equal(inObjects.size, numbers.length, `${what}: none is there twice`)
  const isOrdered = numbers.every((number, i) => i === 0 || number > (numbers[i - 1] ?? number))
  t.ok(isOrdered, `${what}: they are in order`)
  const lost = [...accepted].filter(number => !inObjects.has(number))
  t.same(lost, [], `${what}: no accepted record is lost`)
}
