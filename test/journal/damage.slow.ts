/** Each byte of a small journal flipped, and each file cut at each length. */

import t from 'tap'
import { OssError } from '../../lib/errors.ts'
import { Journal, type JournalOptions } from '../../lib/journal/journal.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import { createRandom } from '../helpers/random.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const FOLDER = '/journal/0'
const RECORDS = Array.from({ length: 9 }, (_, index) => `<${index}>\n`)

function options(disk: SimulatedDisk): JournalOptions {
  return {
    ...{ folder: FOLDER, maxBytes: 1e9, sync: 'always', align: 'chunk', highWaterMark: 8 },
    ...{ segmentBytes: HEAD_BYTES + 60, fileSystem: disk.fileSystem() },
  } as const
}

/** A journal of several segments: the first three records are acknowledged. */
async function writeJournal(hasAnchor: boolean): Promise<Map<string, Buffer>> {
  const disk = new SimulatedDisk(createRandom(1))
  const journal = await Journal.open(options(disk))
  for (const [index, record] of RECORDS.entries()) {
    await journal.write([{ chunk: record, encoding: 'utf8' }])
    if (index !== 1 || !hasAnchor) continue
    await journal.anchor({ offset: 0, bucket: 'b', key: 'k', position: 0, crc64: '0' })
    await journal.anchor({ offset: 8, bucket: 'b', key: 'k', position: 8, crc64: '1' })
  }
  // The newest segment has the anchor of its head, and this one.
  if (hasAnchor) {
    await journal.anchor({ offset: 12, bucket: 'b', key: 'k', position: 12, crc64: '2' })
  }
  await journal.close()
  return new Map(disk.paths.map(path => [path, disk.read(path)]))
}

interface Outcome {
  readonly text: string
  readonly error: OssError | undefined
  readonly disk: SimulatedDisk
  readonly damaged: boolean
}

async function recover(files: Map<string, Buffer>): Promise<Outcome> {
  const disk = new SimulatedDisk(createRandom(1))
  for (const [path, bytes] of files) disk.replace(path, Buffer.from(bytes))
  try {
    const journal = await Journal.open(options(disk))
    const { from, end, damaged } = journal.recovered
    let text = ''
    while (from + text.length < end) {
      for (const { bytes } of await journal.read(from + text.length, 100)) text += bytes
    }
    return { text, error: undefined, disk, damaged: damaged.length > 0 }
  } catch (error) {
    if (!(error instanceof OssError)) throw error
    return { text: '', error, disk, damaged: true }
  }
}

/** What is wrong with an outcome; undefined: nothing. */
function complaint(
  { text, error, disk, damaged }: Outcome,
  files: Map<string, Buffer>,
  whole: string,
) {
  if (error) {
    const { code, message } = error
    const isRight =
      code === 'OSS_ERR_JOURNAL' && /\(\/journal\/0\/\S+\.journal, byte \d+\)$/.test(message)
    const isKept = [...files].every(([path, bytes]) => disk.read(path).equals(bytes))
    return isRight && isKept ? undefined : message
  }
  // The longest prefix ends at a record: the damaged bytes, or those behind a gap, are never in it.
  if (!whole.startsWith(text) || text.length % 4 !== 0) return `recovered ${text}`
  if (text !== whole && !damaged) return `recovered ${text} without a report`
  const kept = disk.paths.map(path => path.replace('.damaged', ''))
  const isGone = [...files.keys()].some(path => !kept.includes(path))
  return isGone ? 'an undelivered file is gone' : undefined
}

for (const hasAnchor of [false, true]) {
  const what = hasAnchor ? 'with an anchor' : 'without an anchor'

  t.test(`a journal ${what}, with each byte flipped, is recovered up to there`, async t => {
    const files = await writeJournal(hasAnchor)
    t.ok(files.size > 1, `${files.size} segments`)
    const { text: whole } = await recover(files)
    t.equal(whole, RECORDS.join('').slice(hasAnchor ? 12 : 0))
    const found = new Set<string>()
    for (const [path, bytes] of files) {
      for (const at of positions(bytes.length)) {
        const flipped = Buffer.from(bytes)
        flipped[at]! ^= 0xff
        const damaged = new Map(files).set(path, flipped)
        const outcome = await recover(damaged)
        found.add(outcome.error ? 'refused' : outcome.text)
        const problem = complaint(outcome, damaged, whole)
        if (problem) t.fail(`${path}, byte ${at}: ${problem}`)
      }
    }
    t.notOk(found.has('refused'), 'one byte refuses no start: the anchor is there twice')
    t.ok(found.has(whole) && found.size > 6, `${found.size} different outcomes`)
  })

  t.test(`a journal ${what}, cut anywhere, is recovered up to there or refused`, async t => {
    const files = await writeJournal(hasAnchor)
    const { text: whole } = await recover(files)
    let refused = 0
    for (const [path, bytes] of files) {
      for (const length of positions(bytes.length)) {
        const cut = new Map(files).set(path, bytes.subarray(0, length))
        const outcome = await recover(cut)
        if (outcome.error) refused += 1
        // A file that ends where a frame does looks whole: only one behind it tells.
        const isLast = path === [...files.keys()].at(-1)
        // What is left of it may be acknowledged, and deleted.
        const kept = new Map([...cut].filter(([other]) => outcome.error || other !== path))
        const problem = complaint(isLast ? { ...outcome, damaged: true } : outcome, kept, whole)
        if (problem) t.fail(`${path}, ${length} bytes: ${problem}`)
      }
    }
    t.ok(refused > 0, 'where both copies of the anchor are damaged')
  })
}

/** All positions in a file, and of the long empty parts of its head only some. */
function positions(length: number): number[] {
  const all = Array.from({ length }, (_, at) => at)
  return all.filter(at => at >= HEAD_BYTES || at % 4096 < 70 || at % 2000 === 0)
}

t.test('a version that is newer is refused, and nothing is changed', async t => {
  const files = await writeJournal(true)
  const { crc32 } = await import('node:zlib')
  const [path = ''] = files.keys()
  const bytes = Buffer.from(files.get(path) as Buffer)
  bytes.writeUInt32LE(2, 8)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 44)), 44)
  // What is behind has another meaning there.
  bytes.fill(0xff, 48, 100)
  const newer = new Map(files).set(path, bytes)
  const { error, disk } = await recover(newer)
  t.match(error, {
    code: 'OSS_ERR_JOURNAL',
    message: /has format 2, .* reads up to 1: .*newer version/,
  })
  t.same(disk.paths, [...files.keys()])
})

t.test('each single bit of the frames flipped is noticed', async t => {
  const files = await writeJournal(false)
  const { text: whole } = await recover(files)
  const [path = ''] = files.keys()
  const bytes = files.get(path) as Buffer
  for (let bit = HEAD_BYTES * 8; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    const outcome = await recover(new Map(files).set(path, flipped))
    const problem = complaint(outcome, files, whole)
    if (problem || outcome.text === whole) t.fail(`bit ${bit}: ${problem ?? 'not noticed'}`)
  }
})
