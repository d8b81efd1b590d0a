import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { Batcher } from '../lib/batcher.ts'
import { crc64 } from '../lib/crc64/index.ts'
import { createRandom, type Random } from './fixtures/random.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const text = (content: Uint8Array | undefined) => content && Buffer.from(content).toString('latin1')

function create(highWaterMark: number, contentMd5 = false) {
  return new Batcher({ highWaterMark, contentMd5 })
}

/** Takes what there is, and releases it at once. */
function cycle(batcher: Batcher): Uint8Array | undefined {
  const batch = batcher.take()
  batcher.release()
  return batch?.bytes
}

t.test('nothing in, nothing out', async t => {
  const batcher = create(4)
  t.equal(batcher.take(), undefined)
  batcher.release()
  t.equal(batcher.write(bytes('')), 0)
  t.ok(batcher.writeText('', 'utf8'))
  t.equal(batcher.take(), undefined)
  t.match(batcher, { accepted: 0, filling: 0, hasReady: false })
})

t.test('bytes come together until they are taken', async t => {
  const batcher = create(10)
  t.equal(batcher.write(bytes('abc')), 3)
  t.ok(batcher.writeText('de', 'utf8'))
  t.match(batcher, { accepted: 5, filling: 5, hasReady: false })
  t.equal(text(batcher.take()?.bytes), 'abcde')
  t.match(batcher, { accepted: 5, filling: 0, hasReady: false })
})

t.test('a batch carries its CRC, and its MD5 if that is sent', async t => {
  for (const contentMd5 of [false, true]) {
    const batcher = create(10, contentMd5)
    batcher.write(bytes('abc'))
    const batch = batcher.take()
    t.equal(batch?.crc64, '3231342946509354535')
    // RFC 1321, A.5: 900150983cd24fb0d6963f7d28e17f72.
    t.equal(batch?.contentMd5, contentMd5 ? 'kAFQmDzST7DWlj99KOF/cg==' : undefined)
  }
})

t.test('two buffers are the bound, whether one is in flight or not', async t => {
  const batcher = create(4)
  t.equal(batcher.write(bytes('abcdefghij')), 8)
  t.match(batcher, { accepted: 8, filling: 4, hasReady: true })
  t.equal(batcher.write(bytes('i')), 0)
  t.equal(text(batcher.take()?.bytes), 'abcd')
  t.match(batcher, { accepted: 8, filling: 0, hasReady: true })
  t.equal(batcher.write(bytes('i')), 0, 'one in flight, one full')
  batcher.release()
  t.equal(batcher.write(bytes('ij')), 2)
  t.equal(text(batcher.take()?.bytes), 'efgh', 'in order')
  t.equal(batcher.write(bytes('klm')), 2)
  t.ok(batcher.hasReady)
  batcher.release()
  t.equal(text(cycle(batcher)), 'ijkl')
  t.equal(batcher.take(), undefined)
})

t.test('one batch in flight: a second is refused', async t => {
  const batcher = create(4)
  batcher.write(bytes('abcdefgh'))
  batcher.take()
  t.throws(() => batcher.take(), { code: 'ERR_ASSERTION' })
})

t.test('what is taken is not touched until it is released', async t => {
  const batcher = create(4)
  const source = bytes('abcd')
  batcher.write(source)
  source.fill('!')
  const batch = batcher.take()
  t.equal(batcher.write(bytes('efghi')), 4)
  t.equal(text(batch?.bytes), 'abcd')
  batcher.release()
  batcher.write(bytes('ijkl'))
  t.equal(text(batcher.take()?.bytes), 'efgh')
})

t.test('a text goes in if it is sure to fit: 3 bytes a character of utf8, 1 of latin1', async t => {
  const rows: [text: string, encoding: 'utf8' | 'latin1', before: number, fits: boolean][] = [
    ['ab', 'utf8', 0, true],
    ['ab', 'utf8', 1, false],
    ['abc', 'utf8', 0, false],
    ['abcdef', 'latin1', 0, true],
    ['abcdef', 'latin1', 1, false],
    ['abcdefg', 'latin1', 0, false],
    ['', 'utf8', 5, true],
  ]
  for (const [content, encoding, before, fits] of rows) {
    const batcher = create(6)
    batcher.write(Buffer.alloc(before, 'x'))
    t.equal(batcher.writeText(content, encoding), fits, `${content} after ${before}`)
    t.equal(batcher.accepted, before + (fits ? content.length : 0))
  }
})

t.test('a text has the bytes that Node would give it', async t => {
  const texts = [
    'plain',
    'é',
    '漢字',
    '😀',
    'a😀b',
    '\ud83d',
    '\ude00',
    '\ude00\ud83d',
    '\u0000',
    '\u07ff\u0800\uffff',
    'ÿĀ\u0100',
    '\ufeffbom',
  ]
  for (const encoding of ['utf8', 'latin1'] as const) {
    for (const content of texts) {
      const expected = Buffer.from(content, encoding)
      // Exactly the room it may need, and more.
      for (const highWaterMark of [content.length * 3, 100]) {
        const batcher = create(highWaterMark)
        t.ok(batcher.writeText(content, encoding))
        t.equal(batcher.accepted, expected.length)
        t.strictSame(batcher.take()?.bytes, expected, `${encoding} ${JSON.stringify(content)}`)
      }
    }
  }
})

t.test('memory: from small to highWaterMark, of its own, and not more', async t => {
  const MARK = 300_000
  const batcher = create(MARK)
  const content = createRandom(1).bytes(MARK + 1)
  const memory = (length: number) => {
    // One byte at a time where buffers grow would take long; odd steps cross every boundary.
    for (let at = 0; at < length; at += 4099) {
      batcher.write(content.subarray(at, Math.min(at + 4099, length)))
    }
    const batch = batcher.take()
    t.ok(batch && Buffer.compare(batch.bytes, content.subarray(0, length)) === 0, `${length}`)
    batcher.release()
    t.equal(batch?.bytes.byteOffset, 0, 'not a slice of a pool that it would keep alive')
    return batch?.bytes.buffer.byteLength ?? 0
  }
  t.equal(memory(1), 16_384)
  t.equal(memory(16_384), 16_384)
  t.ok(memory(16_385) <= 65_536)
  t.ok(memory(65_537) < MARK)
  t.equal(memory(MARK), MARK)
  for (const mark of [1, 100, 16_384]) {
    const small = create(mark)
    small.write(bytes('x'))
    t.equal(small.take()?.bytes.buffer.byteLength, mark, 'a small mark needs no more')
  }
})

t.test('busy: two buffers serve for ever', async t => {
  const MARK = 100_000
  const batcher = create(MARK)
  const chunk = Buffer.alloc(MARK, 'x')
  const memory = new Set<ArrayBufferLike>()
  batcher.write(chunk)
  for (let batch = 0; batch < 50; batch++) {
    const { buffer } = batcher.take()!.bytes
    if (batch > 3) memory.add(buffer)
    batcher.write(chunk.subarray(0, 60_000))
    // Texts too, and those of no length where there is no room.
    if (batch % 3) batcher.write(chunk.subarray(0, 40_000))
    t.ok(batcher.writeText('', 'utf8'))
    batcher.release()
  }
  t.equal(memory.size, 2)
})

t.test('idle: what a burst has grown is given back, what is small is kept', async t => {
  const MARK = 200_000
  const batcher = create(MARK)
  const fill = (length: number) => {
    batcher.write(Buffer.alloc(length, 'x'))
    return batcher.take()!.bytes.buffer
  }
  const burst = fill(MARK)
  batcher.release()
  const small = fill(1)
  t.not(small, burst)
  t.equal(small.byteLength, 16_384)
  batcher.release()
  t.equal(fill(65_536).byteLength, 65_536)
  batcher.release()
  const kept = fill(1)
  t.equal(kept.byteLength, 65_536, '64 KiB are small')
  batcher.release()
  t.equal(fill(1), kept)

  // Something is owed: the memory is needed at once.
  batcher.release()
  const first = fill(MARK)
  batcher.write(bytes('x'))
  batcher.release()
  t.not(fill(0), first, 'the x')
  batcher.write(bytes('y'))
  batcher.release()
  t.equal(fill(0), first, 'the y')
})

t.test('idle after a burst over both buffers: neither is kept', async t => {
  const MARK = 200_000
  const batcher = create(MARK)
  batcher.write(Buffer.alloc(2 * MARK))
  const burst = [batcher.take()!.bytes.buffer]
  batcher.release()
  burst.push(batcher.take()!.bytes.buffer)
  batcher.release()
  batcher.write(bytes('x'))
  const memory = [batcher.take()!.bytes.buffer]
  batcher.write(bytes('y'))
  batcher.release()
  memory.push(batcher.take()!.bytes.buffer)
  t.notOk(memory.some(each => burst.includes(each)))
})

/** Bytes, or a text, of a length that is likely to lie at a boundary. */
function createChunk(random: Random, mark: number) {
  const lengths = [0, 1, 2, mark - 1, mark, mark + 1, 2 * mark, 2 * mark + 1, 3 * mark]
  const length = random.integer(0, 2) ? random.integer(0, 12) : random.pick(lengths)
  if (random.integer(0, 1)) return random.bytes(length)
  const letters = ['a', 'é', '漢', '😀', '\ud83d', 'ÿ']
  return Array.from({ length: Math.min(length, 2000) }, () => random.pick(letters)).join('')
}

/**
 * The model knows only this: bytes come out as they went in; at most two times `mark` are held, once
 * while a batch is in flight; a batch is `mark` bytes, or all there are.
 */
function runModel(t: Test, random: Random, mark: number) {
  const batcher = create(mark, random.integer(0, 1) === 1)
  let waiting = Buffer.alloc(0)
  let accepted = 0
  let inFlight: { bytes: Uint8Array; copy: Buffer } | undefined
  const accept = (content: Buffer) => {
    waiting = Buffer.concat([waiting, content])
    accepted += content.length
  }
  const problems: string[] = []
  const check = (isRight: boolean, what: string) => {
    if (!isRight) problems.push(what)
  }
  for (let step = 0; step < 150; step++) {
    const room = (inFlight ? 1 : 2) * mark - waiting.length
    const action = random.integer(0, 9)
    if (action < 6) {
      const chunk = createChunk(random, mark)
      const encoding = random.pick(['utf8', 'latin1'] as const)
      const content = typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk)
      if (typeof chunk === 'string') {
        const inBuffer = room === 0 ? 0 : mark - (waiting.length % mark)
        const isSure = chunk.length * (encoding === 'utf8' ? 3 : 1) <= inBuffer
        check(batcher.writeText(chunk, encoding) === isSure, `text of ${chunk.length}`)
        if (isSure) accept(content)
      } else {
        const length = batcher.write(chunk)
        chunk.fill(0)
        check(length === Math.min(content.length, room), `wrote ${length} of ${content.length}`)
        accept(content.subarray(0, length))
      }
    } else if (inFlight) {
      check(inFlight.copy.equals(inFlight.bytes), 'the batch in flight has changed')
      if (random.integer(0, 1)) batcher.release()
      else continue
      inFlight = undefined
    } else {
      const batch = batcher.take()
      const copy = Buffer.from(waiting.subarray(0, mark))
      waiting = waiting.subarray(copy.length)
      check((batch === undefined) === (copy.length === 0), 'a batch if there is a byte')
      if (!batch) continue
      check(copy.equals(batch.bytes), 'the bytes in their order')
      check(batch.crc64 === crc64(copy), 'their CRC')
      const md5 = createHash('md5').update(copy).digest('base64')
      check(batch.contentMd5 === undefined || batch.contentMd5 === md5, 'their MD5')
      check(batch.bytes.buffer.byteLength <= mark, 'in no more memory than allowed')
      inFlight = { bytes: batch.bytes, copy }
    }
    const hasReady = waiting.length >= mark
    check(batcher.accepted === accepted, `accepted ${batcher.accepted}, not ${accepted}`)
    check(batcher.hasReady === hasReady, `hasReady with ${waiting.length}`)
    check(batcher.filling === waiting.length - (hasReady ? mark : 0), `filling ${batcher.filling}`)
  }
  t.strictSame(problems, [], `mark ${mark}`)
  return accepted
}

t.test('as a model says, whatever is written, taken and released', async t => {
  const seed = Number(process.env.SEED ?? 20260102)
  t.comment(`SEED=${seed}`)
  const random = createRandom(seed)
  const marks = [1, 2, 3, 7, 64, 1000, 16_383, 16_384, 16_385, 40_000]
  let accepted = 0
  for (const mark of marks) {
    for (let run = 0; run < 8; run++) accepted += runModel(t, random, mark)
  }
  t.ok(accepted > 1_000_000, 'enough has gone through it')
})
