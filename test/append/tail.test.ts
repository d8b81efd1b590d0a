import { createHash } from 'node:crypto'
import t from 'tap'
import {
  advance,
  Batch,
  EMPTY_TAIL,
  isSameTail,
  type RecordEnds,
  settle,
  type Tail,
  type Verdict,
} from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import type { ObservedTail } from '../../lib/errors.ts'
import type { Align } from '../../lib/options.ts'
import { createRecordEnds } from '../../lib/stream/align.ts'
import { createRandom } from '../helpers/random.ts'

const bytes = (text: string) => Buffer.from(text)

/** The tail of an object with this content, made in one pass and without `advance`. */
const tailOf = (text: string): Tail => ({ position: text.length, crc64: crc64(bytes(text)) })

const md5Of = (text: string) => createHash('md5').update(text).digest('base64')

t.test('an empty object has the tail that OSS gives it', async t => {
  t.strictSame(EMPTY_TAIL, { position: 0, crc64: '0' })
  t.strictSame(EMPTY_TAIL, tailOf(''))
})

t.test(
  'a batch has the bytes themselves, their CRC, and their MD5 if appends carry it',
  async t => {
    const abc = bytes('abc')
    const batch = new Batch(abc)
    t.equal(batch.bytes, abc)
    t.equal(batch.length, 3)
    // A sample response in OSS's documentation.
    t.equal(batch.crc64, '3231342946509354535')
    t.equal(batch.contentMd5, undefined)
    t.equal(new Batch(abc, { hasMd5: true }).contentMd5, 'kAFQmDzST7DWlj99KOF/cg==')
  },
)

t.test('a batch does not compute the digests that it is given', async t => {
  const given = { hasMd5: true, crc64: '7', contentMd5: 'the MD5' }
  const batch = new Batch(bytes('abc'), given)
  t.equal(batch.crc64, '7')
  t.equal(batch.contentMd5, 'the MD5')
  t.equal(new Batch(bytes('abc'), { ...given, hasMd5: false }).contentMd5, undefined)
})

t.test('a prefix and the rest of a batch have digests of their own', async t => {
  const given = { hasMd5: true, crc64: '7', contentMd5: 'the MD5' }
  const batch = new Batch(bytes('abcdef'), given)
  for (const [part, text] of [
    [batch.prefix(2), 'ab'],
    [batch.rest(2), 'cdef'],
    [batch.rest(2).prefix(3), 'cde'],
    [batch.rest(2).rest(1), 'def'],
  ] as const) {
    t.equal(Buffer.from(part.bytes).toString(), text)
    t.equal(part.crc64, crc64(bytes(text)), text)
    t.equal(part.contentMd5, md5Of(text), text)
    t.equal(part.bytes.buffer, batch.bytes.buffer, 'no byte is copied')
  }
  t.equal(batch.prefix(6), batch)
  t.equal(batch.prefix(7), batch)
  t.equal(new Batch(bytes('abc')).prefix(2).contentMd5, undefined)
})

/**
 * Everything that a batch says of its record ends, against a list of them. `text` is the batch; `ends` are
 * the lengths at which an append may end, the whole batch among them.
 */
const aligned: [what: string, align: Align, chunkEnds: number[], text: string, ends: number[]][] = [
  ['bytes', 1, [], 'abcd', [1, 2, 3, 4]],
  ['one byte', 1, [], 'a', [1]],
  ['records of 3 bytes', 3, [], 'abcdef', [3, 6]],
  ['records of 3 bytes, and the last is short', 3, [], 'abcdefg', [3, 6, 7]],
  ['one short record of 3 bytes', 3, [], 'ab', [2]],
  ['lines', '\n', [], 'ab\n\ncd\n', [3, 4, 7]],
  ['lines, and the last has no newline', '\n', [], 'ab\ncd', [3, 5]],
  ['one line without a newline', '\n', [], 'abc', [3]],
  ['a newline', '\n', [], '\n', [1]],
  ['chunks whose ends are not in the bytes', 'chunk', [2, 5], 'a\nb\ncd', [2, 5, 6]],
  ['chunks, and the last end is that of the batch', 'chunk', [2, 6], 'abcdef', [2, 6]],
  ['chunks without a remembered end', 'chunk', [], 'a\nb\n', [4]],
]

t.test('isRecordEnd, prefix: an append ends where a record ends', async t => {
  for (const [what, align, chunkEnds, text, ends] of aligned) {
    const batch = new Batch(bytes(text), { ends: createRecordEnds(align, chunkEnds) })
    const found = []
    for (let length = 1; length <= text.length; length++) {
      if (batch.isRecordEnd(length)) found.push(length)
      const expected = ends.findLast(end => end <= length) ?? ends[0]!
      const prefix = batch.prefix(length)
      t.equal(prefix.length, expected, `${what}: prefix(${length})`)
      t.ok(batch.isRecordEnd(prefix.length), `${what}: prefix(${length}) ends with a record`)
      t.equal(Buffer.from(prefix.bytes).toString(), text.slice(0, expected))
    }
    t.strictSame(found, ends, what)
    t.equal(batch.prefix(0).length, ends[0], `${what}: at least one record`)
  }
})

t.test('rest: its record ends are those of the batch', async t => {
  for (const [what, align, chunkEnds, text, ends] of aligned) {
    const batch = new Batch(bytes(text), { ends: createRecordEnds(align, chunkEnds) })
    for (const cut of ends.slice(0, -1)) {
      const rest = batch.rest(cut)
      t.equal(Buffer.from(rest.bytes).toString(), text.slice(cut))
      const found = []
      for (let length = 1; length <= rest.length; length++) {
        if (rest.isRecordEnd(length)) found.push(cut + length)
      }
      const expected = ends.filter(end => end > cut)
      t.strictSame(found, expected, `${what}: behind ${cut}`)
      t.equal(rest.prefix(0).length, expected[0]! - cut, `${what}: the first record behind ${cut}`)
    }
  }
})

t.test('advance gives the tail of the whole, however it was cut', async t => {
  t.strictSame(advance(EMPTY_TAIL, new Batch(bytes('abc'))), tailOf('abc'))
  const nothing = new Batch(bytes(''))
  t.strictSame(advance(tailOf('abc'), nothing), tailOf('abc'), 'nothing changes nothing')
  t.strictSame(advance(tailOf('12345'), new Batch(bytes('6789'))), {
    position: 9,
    crc64: '11051210869376104954',
  })

  const seed = 20260101
  t.comment(`seed ${seed}`)
  const random = createRandom(seed)
  for (let run = 0; run < 50; run++) {
    const whole = random.bytes(random.integer(0, 5000))
    let tail = EMPTY_TAIL
    for (let at = 0; at < whole.length; ) {
      const end = at + random.integer(0, whole.length - at)
      tail = advance(tail, new Batch(whole.subarray(at, end)))
      at = Math.max(end, at)
      if (random.integer(0, 9) === 0) break
    }
    t.strictSame(tail, { position: tail.position, crc64: crc64(whole.subarray(0, tail.position)) })
  }
})

t.test('advance is exact where 32 bits end', async t => {
  const before = { position: 2 ** 32 - 1, crc64: '0' }
  t.equal(advance(before, new Batch(bytes('ab'))).position, 2 ** 32 + 1)
})

t.test('advance leaves its arguments alone', async t => {
  const before = Object.freeze(tailOf('abc'))
  const batch = new Batch(bytes('def'))
  Object.freeze(batch)
  t.strictSame(advance(before, batch), tailOf('abcdef'))
  t.strictSame(before, tailOf('abc'))
  t.equal(Buffer.from(batch.bytes).toString(), 'def')
})

t.test('the same tail: both numbers, and both known', async t => {
  t.ok(isSameTail(tailOf('abc'), tailOf('abc')))
  t.notOk(isSameTail(tailOf('abc'), tailOf('abd')))
  t.notOk(isSameTail(tailOf('abc'), { position: 2, crc64: tailOf('abc').crc64 }))
  t.notOk(isSameTail(tailOf('abc'), { position: 3 }))
})

const OLD = 'old\n'
const NEW = 'one\nfour\nx'
const before = tailOf(OLD)
/** Records of 4, 5 and 1 bytes behind an object of 4. */
const unacknowledged = new Batch(bytes(NEW), { ends: createRecordEnds('\n', []) })
const one = tailOf(`${OLD}one\n`)
const two = tailOf(`${OLD}one\nfour\n`)
const all = tailOf(OLD + NEW)
const foreign = crc64(bytes('another writer'))

const landed = (length: number, after: Tail): Verdict => ({ name: 'landed', length, after })
const ABSENT: Verdict = { name: 'absent' }
const REPLACED: Verdict = { name: 'replaced' }
const CONFLICT: Verdict = { name: 'conflict' }

t.test('settle: records that landed behind an object', async t => {
  const rows: [what: string, seen: ObservedTail | null, verdict: Verdict][] = [
    ['all records', all, landed(10, all)],
    ['the first record', one, landed(4, one)],
    ['two of three records', two, landed(9, two)],
    ['inside the first record, with our own bytes', tailOf(`${OLD}on`), CONFLICT],
    ['one byte before the end of a record', tailOf(`${OLD}one\nfour`), CONFLICT],
    ['one byte behind the end of a record', tailOf(`${OLD}one\nf`), CONFLICT],
    ['as long as a record, bytes of another writer', tailOf(`${OLD}ONE\n`), CONFLICT],
    ['as long as all, bytes of another writer', { position: 14, crc64: foreign }, CONFLICT],
    ['as long as a record, CRC of all', { position: one.position, crc64: all.crc64 }, CONFLICT],
    ['as long as all, CRC of a record', { position: all.position, crc64: one.crc64 }, CONFLICT],
    ['as long as a record, CRC of before', { ...one, crc64: before.crc64 }, CONFLICT],
    ['as long as a record, no CRC', { position: one.position }, CONFLICT],
    ['as long as all, no CRC', { position: all.position }, CONFLICT],
    ['one byte more than all', tailOf(`${OLD + NEW}!`), CONFLICT],
    ['one byte more than all, CRC of all', { position: 15, crc64: all.crc64 }, CONFLICT],
    ['the first record twice', tailOf(`${OLD}one\none\n`), CONFLICT],
    ['the records in another order', tailOf(`${OLD}four\none\nx`), CONFLICT],
    ['far beyond, no CRC', { position: 2 ** 40 }, CONFLICT],
    ['before, both numbers', before, ABSENT],
    ['as long as before, other bytes', { position: 4, crc64: foreign }, CONFLICT],
    ['as long as before, CRC of all', { position: 4, crc64: all.crc64 }, CONFLICT],
    ['as long as before, no CRC', { position: 4 }, CONFLICT],
    ['one byte shorter than before', { position: 3, crc64: before.crc64 }, REPLACED],
    ['shorter, no CRC', { position: 2 }, REPLACED],
    ['empty', EMPTY_TAIL, REPLACED],
    ['gone', null, REPLACED],
  ]
  for (const [what, seen, verdict] of rows) {
    t.strictSame(settle(before, unacknowledged, seen), verdict, what)
  }
})

t.test('settle: records that landed in a new object', async t => {
  const rows: [what: string, seen: ObservedTail | null, verdict: Verdict][] = [
    ['no object yet', null, ABSENT],
    ['an empty object', EMPTY_TAIL, ABSENT],
    ['created by an attempt of all', tailOf(NEW), landed(10, tailOf(NEW))],
    ['created by a shorter attempt', tailOf('one\n'), landed(4, tailOf('one\n'))],
    ['created by another writer', { position: 4, crc64: foreign }, CONFLICT],
    ['length 0, no CRC', { position: 0 }, CONFLICT],
  ]
  for (const [what, seen, verdict] of rows) {
    t.strictSame(settle(EMPTY_TAIL, unacknowledged, seen), verdict, what)
  }
  const nothing = new Batch(bytes(''))
  t.strictSame(settle(EMPTY_TAIL, nothing, EMPTY_TAIL), ABSENT, 'nothing, and an empty object')
  t.strictSame(settle(EMPTY_TAIL, nothing, null), ABSENT, 'nothing, and no object')
})

t.test('settle: each length has one CRC that is no conflict', async t => {
  const codes = [before, one, two, all].map(tail => tail.crc64)
  const others = [foreign, '0', undefined]
  const verdicts: Record<string, ObservedTail[]> = {}
  for (let position = 0; position <= 20; position++) {
    for (const crc64 of [...codes, ...others]) {
      const seen = { position, crc64 }
      const { name } = settle(before, unacknowledged, seen)
      verdicts[name] = [...(verdicts[name] ?? []), seen]
    }
  }
  t.strictSame(verdicts.landed, [one, two, all])
  t.strictSame(verdicts.absent, [before])
  t.equal(verdicts.replaced?.length, before.position * (codes.length + others.length))
  t.ok(verdicts.replaced?.every(({ position }) => position < before.position))
})

t.test('settle asks for record ends with the bytes of the batch', async t => {
  const asked: [string, number][] = []
  const ends: RecordEnds = {
    isEnd: (content, length) => asked.push([Buffer.from(content).toString(), length]) > 0,
    findLast: (_content, length) => length,
    findFirst: () => 1,
    after: () => ends,
  }
  const batch = new Batch(bytes(NEW), { ends })
  t.equal(settle(before, batch, one).name, 'landed')
  t.strictSame(asked, [[NEW, 4]])
})
