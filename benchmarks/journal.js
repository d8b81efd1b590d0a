/**
 * The journal beside its bounds: `node benchmarks/journal.js [DIR]`, after `npm run build`. DIR is on the disk to
 * measure; default: the folder for temporary files. Contenders of a case take turns in one process, and each is
 * compared with the first of its case: the median of the ratios. A target compares with the slower of its bounds.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Journal } from '../dist/journal/journal.js'
import { createClient, createStream } from './contenders/ours.js'

const MIB = 1_048_576
const ROUNDS = 7
/** Rounds before them, in which V8 compiles the code of all contenders. */
const WARM_UP = 3
const LINES = 300_000
const LINE = `${'x'.repeat(99)}\n`
const SYNCED_WRITES = 2048

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'journal-bench-'))
const sink = fork(new URL('sink.js', import.meta.url))
const [{ ready }] = await once(sink, 'message')
const client = createClient(ready)
const block = Buffer.alloc(4 * MIB, 'journal')
let folders = 0

function newPath() {
  return join(folder, String(++folders))
}

function openStream(journal, options) {
  return createStream(client, { contentMd5: false, journal, ...options })
}

async function writeAll(stream, chunk, count) {
  for (let i = 0; i < count; i++) if (!stream.write(chunk)) await once(stream, 'drain')
  stream.end()
  await once(stream, 'close')
}

/** Writes of 4 MiB, each synced. */
async function bareLoop(count) {
  const file = await open(newPath(), 'w')
  for (let i = 0; i < count; i++) {
    await file.writev([block], i * block.length)
    await file.datasync()
  }
  await file.close()
}

/** 32 calls at a time write one line, and wait until it is synced. */
async function syncedWrites(write) {
  let left = SYNCED_WRITES
  const loop = async () => {
    while (left-- > 0) await write()
  }
  await Promise.all(Array.from({ length: 32 }, loop))
}

async function bareSyncedWrites() {
  const file = await open(newPath(), 'a')
  await syncedWrites(async () => {
    await file.write(LINE)
    await file.datasync()
  })
  await file.close()
}

async function journaledWrites() {
  const stream = openStream({ dir: newPath(), sync: 'always' })
  await syncedWrites(
    () => new Promise((done, fail) => stream.write(LINE, e => (e ? fail(e) : done()))),
  )
  await writeAll(stream, '', 0)
}

const sync = 200
const BARE = 'writev() and fdatasync() of 4 MiB'
const PLAIN = 'stream without a journal'
const BOTH = 'both of them at the same time'
const FILE = 'fs.createWriteStream()'
const JOURNAL = 'stream with a journal, sync: 200'
const SYNCED = 'write() and fdatasync()'
const ALWAYS = "stream with a journal, sync: 'always'"

/** A case of `count` writes of 4 MiB. */
function blocks(count) {
  const write = journal => writeAll(openStream(journal), block, count)
  return {
    contenders: {
      [BARE]: () => bareLoop(count),
      [PLAIN]: () => write(undefined),
      // The cores are shared with the sink, so this is what a journal could reach without a CRC or a copy.
      [BOTH]: () => Promise.all([bareLoop(count), write(undefined)]),
      [JOURNAL]: () => write({ dir: newPath(), sync }),
    },
    targets: [
      [JOURNAL, [BARE, PLAIN], 0.6],
      [JOURNAL, [BOTH], 0.6],
    ],
  }
}

/** Targets: a contender, its bounds, and the part of the slower bound's speed that it is to reach. */
const CASES = {
  '256 MiB in writes of 4 MiB': blocks(64),
  // A disk takes the first of them faster than a stream that goes on for hours finds it.
  '1 GiB in writes of 4 MiB': blocks(256),
  '300,000 lines of 100 bytes': {
    contenders: {
      [PLAIN]: () => writeAll(openStream(undefined), LINE, LINES),
      [FILE]: () => writeAll(createWriteStream(newPath()), LINE, LINES),
      [JOURNAL]: () => writeAll(openStream({ dir: newPath(), sync }), LINE, LINES),
    },
    targets: [
      [JOURNAL, [PLAIN], 0.5],
      [JOURNAL, [FILE], 1],
    ],
  },
  '2,048 lines, 32 at a time, each synced before its callback': {
    contenders: { [SYNCED]: bareSyncedWrites, [ALWAYS]: journaledWrites },
    targets: [[ALWAYS, [SYNCED], 1]],
  },
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}

async function measure(run) {
  const start = performance.now()
  await run()
  const time = performance.now() - start
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  return time
}

async function runCase(name, { contenders, targets }) {
  const times = Object.fromEntries(Object.keys(contenders).map(label => [label, []]))
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const [label, run] of Object.entries(contenders)) {
      const time = await measure(run)
      if (round >= 0) times[label].push(time)
    }
  }
  const [first] = Object.values(times)
  console.log(`\n${name}`)
  for (const [label, own] of Object.entries(times)) {
    const ratio = median(own.map((time, i) => first[i] / time))
    console.log(
      `  ${label.padEnd(42)} ${median(own).toFixed(0).padStart(6)} ms  ${ratio.toFixed(2)}x`,
    )
  }
  for (const [label, bounds, target] of targets) {
    const boundOf = i => Math.max(...bounds.map(bound => times[bound][i]))
    const reached = median(times[label].map((time, i) => boundOf(i) / time))
    const verdict = reached >= target ? 'met' : 'not met'
    console.log(`  ${reached.toFixed(2)} of ${bounds.join(' / ')}: target ${target} ${verdict}`)
  }
}

/** A journal of 256 MiB, read from the first byte to the last. */
async function measureRecovery() {
  const options = { folder, maxBytes: 1024 * MIB, sync: 'never', align: 1, highWaterMark: 4 * MIB }
  const journal = await Journal.open(options)
  const chunk = block.subarray(0, MIB)
  for (let i = 0; i < 256; i++) await journal.write([{ chunk, encoding: 'utf8' }])
  await journal.close()
  const before = process.memoryUsage.rss()
  const start = performance.now()
  const opened = await Journal.open(options)
  const time = performance.now() - start
  const more = (process.memoryUsage.rss() - before) / MIB
  console.log('\nRecovery of 256 MiB')
  console.log(`  Journal.open(): ${time.toFixed(0)} ms, ${more.toFixed(0)} MiB more memory`)
  await opened.close()
}

try {
  for (const [name, each] of Object.entries(CASES)) await runCase(name, each)
  await measureRecovery()
} finally {
  rmSync(folder, { recursive: true, force: true })
  sink.kill()
  await client.close()
}
