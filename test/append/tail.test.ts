import t from 'tap'
import {
  advance,
  createBatch,
  EMPTY_TAIL,
  isSameTail,
  isShutOut,
  type Seen,
  settle,
  type Tail,
  type Verdict,
} from '../../lib/append/tail.ts'
import { crc64 } from '../../lib/crc64/index.ts'
import { createRandom } from '../helpers/random.ts'

const bytes = (text: string) => Buffer.from(text)

/** The tail of an object with this content, made in one pass and without `advance`. */
const tailOf = (text: string): Tail => ({ position: text.length, crc64: crc64(bytes(text)) })

t.test('an empty object has the tail that OSS gives it', async t => {
  t.strictSame(EMPTY_TAIL, { position: 0, crc64: '0' })
  t.strictSame(EMPTY_TAIL, tailOf(''))
})

t.test('createBatch keeps the bytes themselves, their CRC, and the MD5 it is given', async t => {
  const abc = bytes('abc')
  const batch = createBatch(abc)
  t.equal(batch.bytes, abc)
  // A sample answer in OSS's documentation.
  t.equal(batch.crc64, '3231342946509354535')
  t.equal(batch.contentMd5, undefined)
  t.equal(createBatch(abc, 'kAFQmDzST7DWlj99KOF/cg==').contentMd5, 'kAFQmDzST7DWlj99KOF/cg==')
})

t.test('advance gives the tail of the whole, however it was cut', async t => {
  t.strictSame(advance(EMPTY_TAIL, createBatch(bytes('abc'))), tailOf('abc'))
  t.strictSame(
    advance(tailOf('abc'), createBatch(bytes(''))),
    tailOf('abc'),
    'nothing changes nothing',
  )
  t.strictSame(advance(tailOf('12345'), createBatch(bytes('6789'))), {
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
      tail = advance(tail, createBatch(whole.subarray(at, end)))
      at = Math.max(end, at)
      if (random.integer(0, 9) === 0) break
    }
    t.strictSame(tail, { position: tail.position, crc64: crc64(whole.subarray(0, tail.position)) })
  }
})

t.test('advance is exact where 32 bits end', async t => {
  const before = { position: 2 ** 32 - 1, crc64: '0' }
  t.equal(advance(before, createBatch(bytes('ab'))).position, 2 ** 32 + 1)
})

t.test('advance leaves its arguments alone', async t => {
  const before = Object.freeze(tailOf('abc'))
  const batch = Object.freeze(createBatch(bytes('def')))
  t.strictSame(advance(before, batch), tailOf('abcdef'))
  t.strictSame(before, tailOf('abc'))
})

t.test('the same tail: both numbers, and both known', async t => {
  t.ok(isSameTail(tailOf('abc'), tailOf('abc')))
  t.notOk(isSameTail(tailOf('abc'), tailOf('abd')))
  t.notOk(isSameTail(tailOf('abc'), { position: 2, crc64: tailOf('abc').crc64 }))
  t.notOk(isSameTail(tailOf('abc'), { position: 3 }))
})

const before = tailOf('old')
const after = tailOf('old+new')
const foreign = crc64(bytes('somebody'))

t.test('settle', async t => {
  const rows: [what: string, before: Tail, after: Tail, seen: Seen | null, verdict: Verdict][] = [
    ['after, both numbers', before, after, after, 'landed'],
    [
      'the length of after, bytes of a rival',
      before,
      after,
      { position: 7, crc64: foreign },
      'conflict',
    ],
    ['the length of after, no CRC', before, after, { position: 7 }, 'conflict'],
    [
      "the length of after, before's CRC",
      before,
      after,
      { position: 7, crc64: before.crc64 },
      'conflict',
    ],
    ['before, both numbers', before, after, before, 'absent'],
    [
      'the length of before, other bytes',
      before,
      after,
      { position: 3, crc64: foreign },
      'conflict',
    ],
    [
      "the length of before, after's CRC",
      before,
      after,
      { position: 3, crc64: after.crc64 },
      'conflict',
    ],
    ['the length of before, no CRC', before, after, { position: 3 }, 'conflict'],
    [
      'one byte shorter than before',
      before,
      after,
      { position: 2, crc64: before.crc64 },
      'replaced',
    ],
    ['shorter, no CRC', before, after, { position: 2 }, 'replaced'],
    ['empty', before, after, EMPTY_TAIL, 'replaced'],
    ['gone', before, after, null, 'replaced'],
    ['between', before, after, { position: 4, crc64: foreign }, 'conflict'],
    [
      "one byte less than after, after's CRC",
      before,
      after,
      { position: 6, crc64: after.crc64 },
      'conflict',
    ],
    [
      "one byte more than after, after's CRC",
      before,
      after,
      { position: 8, crc64: after.crc64 },
      'conflict',
    ],
    ['far beyond, no CRC', before, after, { position: 2 ** 40 }, 'conflict'],
    ['no object yet', EMPTY_TAIL, tailOf('new'), null, 'absent'],
    ['an empty object', EMPTY_TAIL, tailOf('new'), EMPTY_TAIL, 'absent'],
    ['created by us', EMPTY_TAIL, tailOf('new'), tailOf('new'), 'landed'],
    ['created by a rival', EMPTY_TAIL, tailOf('new'), { position: 3, crc64: foreign }, 'conflict'],
    ['length 0, no CRC', EMPTY_TAIL, tailOf('new'), { position: 0 }, 'conflict'],
    ['an empty object that we made', EMPTY_TAIL, EMPTY_TAIL, EMPTY_TAIL, 'landed'],
    ['an empty object that is not there', EMPTY_TAIL, EMPTY_TAIL, null, 'absent'],
  ]
  for (const [what, before, after, seen, verdict] of rows) {
    t.equal(settle(before, after, seen), verdict, what)
  }
})

t.test('settle: of all replies there are, one means landed and one means absent', async t => {
  const codes = [before.crc64, after.crc64, foreign, '0', undefined]
  const verdicts = new Map<Verdict, Seen[]>()
  for (let position = 0; position <= 12; position++) {
    for (const crc64 of codes) {
      const seen = { position, crc64 }
      const verdict = settle(before, after, seen)
      verdicts.set(verdict, [...(verdicts.get(verdict) ?? []), seen])
    }
  }
  t.strictSame(verdicts.get('landed'), [after])
  t.strictSame(verdicts.get('absent'), [before])
  t.equal(verdicts.get('replaced')?.length, 3 * codes.length)
  t.ok(verdicts.get('replaced')?.every(({ position }) => position < before.position))
})

t.test('shut out: proof that our bytes are not in the object and never will be', async t => {
  const rows: [what: string, seen: Seen, isProven: boolean][] = [
    ['as long as before: a late attempt still fits', { position: 3, crc64: foreign }, false],
    ['one byte longer: no attempt of ours ends or begins here', { position: 4 }, true],
    ['one byte less than after', { position: 6 }, true],
    [
      'as long as after: ours may follow the bytes of another object',
      { position: 7, crc64: foreign },
      false,
    ],
    ['as long as after, and nobody tells of what', { position: 7 }, false],
    ['longer than after: ours may lie below', { position: 8, crc64: foreign }, false],
    ['longer than after, no CRC', { position: 8 }, false],
  ]
  for (const [what, seen, isProven] of rows) {
    t.equal(settle(before, after, seen), 'conflict', what)
    t.equal(isShutOut(before, after, seen), isProven, what)
  }
})
