/** Room on the disk comes back, and an anchor can name no object. */

import t from 'tap'
import { Journal, type JournalOptions } from '../../lib/journal/journal.ts'
import { HEAD_BYTES } from '../../lib/journal/segment.ts'
import { FakeClock } from '../helpers/fake-clock.ts'
import { createRandom } from '../helpers/random.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const ANCHOR = { offset: 0, bucket: 'b', key: 'k', position: 0, crc64: '0' }

function openOn(disk: SimulatedDisk, more: Partial<JournalOptions> = {}): Promise<Journal> {
  return Journal.open({
    ...{ folder: '/j/0', maxBytes: 1e9, sync: 200, align: 'chunk', highWaterMark: 1000 },
    ...{ fileSystem: disk.fileSystem(), clock: new FakeClock(), ...more },
  })
}

function chunk(text: string) {
  return [{ chunk: text, encoding: 'utf8' as const }]
}

/** Runs all that waits for no timer. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
}

t.test('behind an anchor without an object, the bytes go where the options say', async t => {
  const disk = new SimulatedDisk(createRandom(1))
  const journal = await openOn(disk)
  await journal.write(chunk('old'))
  await journal.anchor(ANCHOR)
  journal.acknowledge(3, { position: 3, crc64: '1' })
  await journal.leaveObject()
  await journal.write(chunk('new'))
  disk.kill()
  const next = await openOn(disk)
  t.match(next.recovered, { anchor: undefined, from: 3, end: 6 })
  // The number of the anchor goes on, so the next one rules.
  await next.anchor({ ...ANCHOR, offset: 3, key: 'k2' })
  disk.kill()
  const last = await openOn(disk)
  t.match(last.recovered, { anchor: { key: 'k2' }, from: 3, end: 6 })
})

t.test('a journal that never sent anything has no object to leave', async t => {
  const disk = new SimulatedDisk(createRandom(1))
  const journal = await openOn(disk)
  await journal.write(chunk('new'))
  const files = disk.paths.map(path => disk.read(path))
  await journal.leaveObject()
  t.same(
    disk.paths.map(path => disk.read(path)),
    files,
  )
})

t.test('an acknowledgement that comes while segments are deleted deletes more', async t => {
  const disk = new SimulatedDisk(createRandom(1))
  // Three segments are more than half of `maxBytes`, so a segment is deleted as soon as it can be.
  const sizes = { segmentBytes: HEAD_BYTES + 1, maxBytes: 5 * HEAD_BYTES }
  const journal = await openOn(disk, sizes)
  for (const text of ['a', 'b', 'c']) await journal.write(chunk(text))
  await journal.anchor(ANCHOR)
  t.equal(disk.paths.length, 3)
  journal.acknowledge(1, { position: 1, crc64: '1' })
  // The first deletion is under way.
  for (let turn = 0; disk.paths.length === 3 && turn < 1000; turn++) await null
  t.equal(disk.paths.length, 2)
  journal.acknowledge(3, { position: 3, crc64: '3' })
  await settle()
  t.equal(disk.paths.length, 1)
})

t.test(
  'with room to spare, a segment is deleted once the next one has an anchor behind it',
  async t => {
    const disk = new SimulatedDisk(createRandom(1))
    const journal = await openOn(disk, { segmentBytes: HEAD_BYTES + 1 })
    for (const text of ['a', 'b']) await journal.write(chunk(text))
    await journal.anchor(ANCHOR)
    journal.acknowledge(1, { position: 1, crc64: '1' })
    await settle()
    t.equal(disk.paths.length, 2, 'no anchor is written for its sake')
    await journal.write(chunk('c'))
    t.equal(disk.paths.length, 3)
    journal.acknowledge(2, { position: 2, crc64: '2' })
    await settle()
    t.equal(
      disk.paths.length,
      2,
      'the head of the third segment says that the first is acknowledged',
    )
  },
)

t.test('a wait for room deletes a segment that had the last anchor', async t => {
  const disk = new SimulatedDisk(createRandom(1))
  const journal = await openOn(disk, { segmentBytes: HEAD_BYTES + 1 })
  await journal.write(chunk('a'))
  await journal.anchor(ANCHOR)
  journal.acknowledge(1, { position: 1, crc64: '1' })
  await settle()
  await journal.write(chunk('b'))
  t.equal(disk.paths.length, 2)
  await journal.waitForRoom()
  t.equal(disk.paths.length, 1)
})

for (const isKilled of [false, true]) {
  const name = isKilled ? 'a new start on a full disk' : 'a full disk with one segment'
  t.test(`${name} takes writes again once all is acknowledged`, async t => {
    const disk = new SimulatedDisk(createRandom(1))
    const sizes = { highWaterMark: 2 * HEAD_BYTES }
    const accepted = 'x'.repeat(HEAD_BYTES + 100)
    let journal = await openOn(disk, sizes)
    await journal.write(chunk(accepted))
    await journal.anchor(ANCHOR)
    disk.capacity = 2 * HEAD_BYTES + 140
    t.ok((await journal.write(chunk('longer than the disk'))).isFull)
    if (isKilled) {
      disk.kill()
      journal = await openOn(disk, sizes)
      t.same(journal.recovered.damaged, [], 'no torn frame is left')
      t.ok((await journal.write(chunk('new'))).isFull)
    }
    const { length } = accepted
    journal.acknowledge(length, { position: length, crc64: '1' })
    await journal.waitForRoom()
    t.notOk((await journal.write(chunk('new'))).isFull)
    disk.kill()
    const last = await openOn(disk)
    const anchor = { position: length, crc64: '1' }
    t.match(last.recovered, { anchor, from: length, end: length + 3, damaged: [] })
  })
}
