/**
 * A process that follows a file and is killed by SIGKILL again and again, while a writer writes and rotates the
 * file as logrotate does, and the server is slow, loses responses, and serves appends of dead processes late. In
 * the end each object must have exactly the bytes of one generation, in order.
 */

import {
  closeSync,
  existsSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Fault } from '../../lib/server/index.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { startCliServer, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'

const BUCKET = 'examplebucket'
/** Rotated files that are kept; the command may miss as many rotations while it is dead. */
const KEPT = 12

/** Writes lines, and keeps what each generation of the file was given. */
class RotatedFile {
  /** The text of each generation, in order. */
  readonly generations: string[] = ['']
  readonly #file: string
  readonly #random: Random
  #fd: number
  /** The generation that `#fd` writes to. */
  #index = 0
  #lines = 0

  constructor(file: string, random: Random) {
    this.#file = file
    this.#random = random
    this.#fd = openSync(file, 'a')
  }

  write(): void {
    const text = `line ${this.#lines++} ${'x'.repeat(this.#random.integer(0, 300))}\n`
    // A reader may see the first part of a line alone.
    const cut = this.#random.integer(0, text.length)
    for (const part of [text.slice(0, cut), text.slice(cut)]) writeSync(this.#fd, part)
    this.generations[this.#index] += text
  }

  /** Renames the files. The writer goes on with the old descriptor until `reopen()`. */
  rotate(): void {
    const file = this.#file
    rmSync(`${file}.${KEPT}`, { force: true })
    for (let index = KEPT - 1; index > 0; index--) {
      if (existsSync(`${file}.${index}`)) renameSync(`${file}.${index}`, `${file}.${index + 1}`)
    }
    renameSync(file, `${file}.1`)
    writeFileSync(file, '')
    this.generations.push('')
  }

  reopen(): void {
    closeSync(this.#fd)
    this.#fd = openSync(this.#file, 'a')
    this.#index = this.generations.length - 1
  }

  close(): void {
    closeSync(this.#fd)
  }
}

function randomFault(random: Random): Fault {
  return random.pick<Fault>([
    { kind: 'slowAnswer', delay: random.integer(10, 120) },
    { kind: 'late', how: 'reset', lands: random.integer(10, 300) },
    { kind: 'late', how: 'hang', lands: 'beforeNext' },
    { kind: 'late', how: 'reset', lands: 'afterLook' },
    { kind: 'lost', how: 'reset' },
    { kind: 'reset', when: 'middle' },
    { kind: 'status', status: 503, code: 'SlowDown', commits: true },
  ])
}

/** Kills `kills` processes at random moments, and compares all bytes in the end. */
export async function testKills(t: Test, kills: number, seed: number): Promise<void> {
  t.comment(`seed ${seed}`)
  const random = createRandom(seed)
  const { server, env } = await startCliServer(t)
  const file = join(t.testdir({}), 'app.log')
  const log = new RotatedFile(file, random)
  const isByLine = random.integer(0, 1) === 1
  const args = ['--interval=20ms', '--flush-interval=10ms', '--min-delay=5ms', '--max-delay=50ms']
  if (isByLine) args.push('--align=line')
  args.push('--request-timeout=500ms', '--quiet', '--follow', file, `oss://${BUCKET}/{index}`)
  const start = () => {
    const child = startProcess(args, { env })
    t.teardown(() => child.kill('SIGKILL'))
    return { child, result: waitForExit(child) }
  }
  const objects = () => {
    const texts: string[] = []
    for (let index = 0; ; index++) {
      const bytes = server.read(BUCKET, String(index))
      if (bytes === undefined) return texts
      texts.push(String(bytes))
    }
  }
  const stored = () => objects().join('').length
  let isWriting = true
  const writing = (async () => {
    for (let tick = 0; isWriting; tick++) {
      for (let n = random.integer(0, 5); n > 0; n--) log.write()
      const behind = log.generations.length - objects().length
      if (tick % 40 === 39 && server.read(BUCKET, '0') && behind < KEPT / 2) {
        log.rotate()
        for (let n = random.integer(0, 2); n > 0; n--) log.write()
        log.reopen()
      }
      await delay(5)
    }
  })()

  for (let kill = 0; kill < kills; kill++) {
    const before = stored()
    const { child, result } = start()
    await waitFor(() => stored() > before || child.exitCode !== null)
    if (child.exitCode !== null) {
      isWriting = false
      throw new Error(`process ${kill} ended by itself: ${(await result).stderr}`)
    }
    for (let n = random.integer(0, 3); n > 0; n--) server.faults.push(randomFault(random))
    await delay(random.integer(0, 400))
    child.kill('SIGKILL')
    await result
    if (isByLine) {
      for (const text of objects()) t.match(text, /\n$/, 'whole lines')
    }
    await delay(random.integer(0, 100))
  }
  isWriting = false
  await writing
  log.close()
  server.faults.clear()
  const { child, result } = start()
  const wanted = log.generations.filter(text => text !== '')
  await waitFor(() => stored() >= wanted.join('').length || child.exitCode !== null)
  child.kill('SIGTERM')
  t.match(await result, { code: 143, stderr: '' })
  const found = objects()
  t.comment(`${wanted.length} generations, ${wanted.join('').length} bytes`)
  t.equal(found.length, wanted.length, 'one object for each generation')
  for (const [index, text] of wanted.entries()) {
    t.ok(found[index] === text, `object ${index} is generation ${index}`)
  }
}
