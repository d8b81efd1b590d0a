import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { crc64 } from '../../lib/crc64/index.ts'
import type { Align } from '../../lib/options.ts'
import { Batcher } from '../../lib/stream/batcher.ts'
import { createRandom, type Random } from '../helpers/random.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const text = (content: Uint8Array | undefined) => content && Buffer.from(content).toString('latin1')

function create(highWaterMark: number, contentMd5 = false) {
  return new Batcher({ highWaterMark, contentMd5, align: 1, maxRecordBytes: 64 << 20 })
}

function createAligned(align: Align, highWaterMark: number, maxRecordBytes = 1 << 20) {
  return new Batcher({ highWaterMark, contentMd5: false, align, maxRecordBytes })
}

/** Takes the next batch, and releases it at once. */
function cycle(batcher: Batcher): Uint8Array | undefined {
  const batch = batcher.take()
  batcher.release()
  return batch?.bytes
}

t.test('release() frees memory that a burst has grown, unless it is used at once', async t => {
  for (const isWanted of [false, true]) {
    const batcher = create(100_000)
    const fill = () => {
      batcher.write(Buffer.alloc(100_000))
      return batcher.take()?.bytes.buffer
    }
    const memory = fill()
    batcher.release(isWanted)
    t.equal(fill() === memory, isWanted)
  }
})

t.test('without bytes there is no batch', async t => {
  const batcher = create(4)
  t.equal(batcher.take(), undefined)
  batcher.release()
  t.equal(batcher.write(bytes('')), 0)
  t.ok(batcher.writeText('', 'utf8'))
  t.equal(batcher.take(), undefined)
  t.match(batcher, { accepted: 0, filling: 0, hasReady: false })
})

t.test('take() returns all bytes written so far', async t => {
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

t.test('at most two buffers are filled, whether one is in flight or not', async t => {
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

t.test('a second batch in flight is refused', async t => {
  const batcher = create(4)
  batcher.write(bytes('abcdefgh'))
  batcher.take()
  t.throws(() => batcher.take(), { code: 'ERR_ASSERTION' })
})

t.test('the memory of a taken batch is not changed until release()', async t => {
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

t.test(
  'a text is written directly if it certainly fits: 3 bytes a character of UTF-8, 1 of latin1',
  async t => {
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
  },
)

t.test('a text is encoded to the same bytes as by Buffer.from()', async t => {
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

t.test("a buffer grows from 16 KiB to highWaterMark, outside of Node's pool", async t => {
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

t.test('a busy batcher reuses two buffers', async t => {
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

t.test('a batcher whose buffers are free at the same time reuses them all', async t => {
  const MARK = 100_000
  const chunk = Buffer.alloc(MARK)
  for (const pipelining of [1, 4]) {
    const options = { contentMd5: false, align: 1, maxRecordBytes: 64 << 20 } as const
    const batcher = new Batcher({ highWaterMark: MARK, pipelining, ...options })
    const memory = new Set<ArrayBufferLike>()
    for (let round = 0; round < 50; round++) {
      for (let taken = 0; taken < pipelining; taken++) {
        batcher.write(chunk)
        memory.add(batcher.take()!.bytes.buffer)
      }
      batcher.write(chunk)
      batcher.release(true)
      memory.add(batcher.take()!.bytes.buffer)
      for (let taken = 0; taken < pipelining; taken++) batcher.release(true)
    }
    t.equal(memory.size, pipelining + 1)
  }
})

t.test('with room for another append in flight, bytes are taken behind a full batch', async t => {
  const options = { contentMd5: false, align: 1, maxRecordBytes: 1 << 20 } as const
  const batcher = new Batcher({ highWaterMark: 10, pipelining: 2, ...options })
  batcher.write(Buffer.alloc(10))
  batcher.take()
  batcher.write(Buffer.alloc(10))
  t.ok(batcher.hasReady)
  t.equal(batcher.write(Buffer.alloc(20)), 10)
})

t.test('an idle batcher frees a buffer that a burst has grown, and keeps a small one', async t => {
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

  // A whole buffer waits, so the memory is needed at once.
  batcher.release()
  const first = fill(MARK)
  batcher.write(bytes('x'))
  batcher.release()
  t.not(fill(0), first, 'the x')
  batcher.write(bytes('y'))
  batcher.release()
  t.equal(fill(0), first, 'the y')
})

t.test('after a burst over both buffers an idle batcher keeps neither', async t => {
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

t.test('random writes, takes and releases give the batches of a model', async t => {
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

/**
 * What becomes of what is written, `,` for a newline: the batches that are full, what a flush sends, what
 * the end sends; or how many bytes are stuck.
 */
function batchesOf(batcher: Batcher, chunks: readonly string[]): string {
  const take = () => {
    // Before the release: what is left of the buffer may move over it.
    const batch = text(batcher.take()?.bytes) ?? ''
    batcher.release()
    return batch.replaceAll('\n', ',')
  }
  const full: string[] = []
  for (const chunk of chunks) {
    let rest = bytes(chunk.replaceAll(',', '\n'))
    do {
      rest = rest.subarray(batcher.write(rest))
      while (batcher.hasReady) full.push(take())
    } while (rest.length > 0 && !batcher.isTooLong)
  }
  const flushed = take()
  const { isTooLong: isStuck, filling } = batcher
  if (!isStuck) batcher.end()
  const ended = isStuck ? `${filling} stuck` : take()
  const more = batcher.take() ? ' and more' : ''
  return `${full.join(' ')}|${flushed}|${ended}${more}`
}

t.test('a batch ends where a record ends, and the rest begins the next batch', async t => {
  // align, highWaterMark; what is written; the batches that are full | the flushed one | the end
  const rows: [Align, number, string[], string][] = [
    [1, 4, ['abcdefghij'], 'abcd efgh|ij|'],

    ['\n', 4, [], '||'],
    ['\n', 4, ['a'], '||a'],
    ['\n', 4, ['a,'], '|a,|'],
    ['\n', 4, ['a', ',', 'b'], '|a,|b'],
    ['\n', 4, ['abc,'], 'abc,||'],
    ['\n', 4, ['ab,c'], 'ab,||c'],
    ['\n', 4, ['ab,cd'], 'ab,||cd'],
    ['\n', 4, ['ab,cd,'], 'ab,|cd,|'],
    ['\n', 4, ['ab,cd,e,'], 'ab, cd,|e,|'],
    ['\n', 4, [',', ',', ',', ',', ','], ',,,,|,|'],
    ['\n', 4, ['a,b,c,d,'], 'a,b, c,d,||'],
    ['\n', 8, ['abc,abcdef,a,'], 'abc, abcdef,|a,|'],

    // A record longer than the mark goes alone, whether it came at once or in pieces.
    ['\n', 4, ['abcd,'], 'abcd,||'],
    ['\n', 4, ['abcd,e'], 'abcd,||e'],
    ['\n', 4, ['abcd,e,f'], 'abcd,|e,|f'],
    ['\n', 4, ['abcdefgh,i,'], 'abcdefgh,|i,|'],
    ['\n', 4, [...'abcdefgh,i,'], 'abcdefgh,|i,|'],
    ['\n', 4, ['abcdefgh'], '||abcdefgh'],
    ['\n', 4, ['a,', 'bcdefgh,', 'i,'], 'a, bcdefgh,|i,|'],
    ['\n', 4, ['a,bcdefgh,ijklmn,o'], 'a, bcdefgh, ijklmn,||o'],

    [3, 6, ['abcdef'], 'abcdef||'],
    [3, 6, ['abcde'], '|abc|de'],
    [3, 7, ['abcdefg'], 'abcdef||g'],
    [3, 7, ['abcdefghijkl'], 'abcdef|ghijkl|'],
    [3, 5, [...'abcdefgh'], 'abc def||gh'],
    [3, 2, ['abcdefgh'], 'abc def||gh'],
    [3, 2, [...'abcdefgh'], 'abc def||gh'],

    ['chunk', 4, ['a', 'bc', 'def'], 'abc|def|'],
    ['chunk', 4, ['a,b', 'c'], 'a,bc||'],
    ['chunk', 4, ['abcd', 'e'], 'abcd|e|'],
    ['chunk', 4, ['abcde', 'f', 'g'], 'abcde|fg|'],
    ['chunk', 4, ['a', 'bcdefgh', 'i'], 'a bcdefgh|i|'],
    ['chunk', 4, ['a', '', 'bcd', ''], 'abcd||'],
  ]
  for (const [align, mark, chunks, expected] of rows) {
    const label = `${JSON.stringify(align)}, ${mark}: ${chunks.join(' ')}`
    t.equal(batchesOf(createAligned(align, mark), chunks), expected, label)
  }
})

t.test('of a record that is too long nothing is sent, but the records before it are', async t => {
  // align, highWaterMark, maxRecordBytes; what is written; as above, or the bytes that are stuck
  const rows: [Align, number, number, string[], string][] = [
    ['\n', 4, 4, ['abc,'], 'abc,||'],
    ['\n', 4, 4, ['abcd'], '||abcd'],
    ['\n', 4, 4, ['abcd,'], '||4 stuck'],
    ['\n', 4, 8, ['abcdefg,'], 'abcdefg,||'],
    ['\n', 4, 8, ['abcdefgh'], '||abcdefgh'],
    ['\n', 4, 8, ['abcdefghi'], '||8 stuck'],
    ['\n', 4, 8, [...'abcdefgh,'], '||8 stuck'],
    ['\n', 4, 8, ['a,b,abcdefgh,c,'], 'a,b,||8 stuck'],
    ['\n', 4, 8, ['a,', 'abcdefg,', 'abcdefgh,'], 'a, abcdefg,||8 stuck'],
    // Also where many records fit into a batch.
    ['\n', 9, 3, ['ab,cd,ef,gh,'], 'ab,cd,ef,|gh,|'],
    ['\n', 9, 3, ['a,b,cd,e', 'f,'], 'a,b,cd,|ef,|'],
    ['\n', 9, 3, ['abc', ','], '||3 stuck'],
    ['\n', 9, 3, ['ab,cde,'], '|ab,|3 stuck'],
    ['\n', 9, 3, [...'a,b,ab,abc,'], 'a,b,ab,||3 stuck'],
    ['chunk', 4, 8, ['ab', 'abcdefgh', 'c'], 'ab abcdefgh|c|'],
    ['chunk', 4, 8, ['ab', 'abcdefghi', 'c'], 'ab||8 stuck'],
    ['chunk', 9, 3, ['ab', 'abc', 'a', 'abc'], 'ababcaabc||'],
    ['chunk', 9, 3, ['ab', 'abcd'], '|ab|3 stuck'],
    [3, 2, 3, ['abcdefgh'], 'abc def||gh'],
  ]
  for (const [align, mark, most, chunks, expected] of rows) {
    const label = `${JSON.stringify(align)}, ${mark}, at most ${most}: ${chunks.join(' ')}`
    t.equal(batchesOf(createAligned(align, mark, most), chunks), expected, label)
  }
})

t.test('a text is written directly with its records, except behind a long record', async t => {
  const batcher = createAligned('\n', 8)
  t.ok(batcher.writeText('a\nb', 'latin1'))
  t.match(batcher, { filling: 3, whole: 2 })
  t.notOk(batcher.writeText('cdefgh', 'latin1'), 'not sure to fit')
  t.equal(batcher.write(bytes('cdefgh')), 6)
  t.equal(text(cycle(batcher)), 'a\n')
  t.match(batcher, { filling: 7, whole: 0 })
  t.equal(batcher.write(bytes('ij')), 2)
  t.match(batcher, { filling: 9, whole: 0, hasReady: false })
  t.notOk(batcher.writeText('\n', 'latin1'), 'it could go on behind the end')
  t.ok(batcher.writeText('', 'latin1'))
  t.equal(batcher.write(bytes('\nk')), 2)
  t.match(batcher, { filling: 1, whole: 0, hasReady: true })
  t.equal(text(batcher.take()?.bytes), 'bcdefghij\n')

  const chunks = createAligned('chunk', 8)
  t.ok(chunks.writeText('ab', 'utf8'))
  t.match(chunks, { filling: 2, whole: 2 })
})

t.test('the rest behind a batch is not changed while the batch is in flight', async t => {
  const batcher = createAligned('\n', 8)
  batcher.write(bytes('abcd\nefg'))
  const first = batcher.take()
  batcher.write(bytes('hi\njk'))
  const copy = Buffer.from(first?.bytes ?? [])
  t.equal(copy.toString(), 'abcd\n')
  t.match(batcher, { hasReady: true, filling: 2 }, 'the next is full too, and has left something')
  t.equal(batcher.write(bytes('l')), 0, 'both buffers hold a batch')
  t.ok(copy.equals(first!.bytes))
  batcher.release()
  const second = batcher.take()
  t.equal(text(second?.bytes), 'efghi\n')
  t.equal(batcher.write(bytes('l\n')), 2)
  t.equal(text(second?.bytes), 'efghi\n')
  batcher.release()
  t.equal(text(batcher.take()?.bytes), 'jkl\n')
})

t.test('the rest behind batches takes no third buffer', async t => {
  const MARK = 100_000
  const batcher = createAligned('\n', MARK)
  const memory = new Set<ArrayBufferLike>()
  const chunk = Buffer.alloc(MARK, `${'x'.repeat(98)}\n`)
  batcher.write(chunk)
  for (let batch = 0; batch < 50; batch++) {
    const { bytes } = batcher.take()!
    t.equal(bytes.length, MARK - (MARK % 99))
    if (batch > 3) memory.add(bytes.buffer)
    batcher.write(chunk.subarray(MARK % 99))
    batcher.release()
  }
  t.equal(memory.size, 2)
})

t.test('a small rest keeps no large buffer', async t => {
  const MARK = 200_000
  const batcher = createAligned('\n', MARK)
  batcher.write(Buffer.concat([Buffer.alloc(MARK - 9, 'x'), bytes('\nrest')]))
  const burst = batcher.take()!.bytes.buffer
  batcher.release()
  t.equal(batcher.filling, 4)
  batcher.end()
  const small = batcher.take()!.bytes
  t.equal(text(small), 'rest')
  t.not(small.buffer, burst)
  t.equal(small.buffer.byteLength, 16_384)
})

t.test('a long record takes the memory that it needs, and frees it', async t => {
  const MARK = 100_000
  const batcher = createAligned('\n', MARK, 4 * MARK)
  const line = Buffer.alloc(MARK, `${'x'.repeat(99)}\n`)
  batcher.write(Buffer.alloc(3 * MARK, 'x'))
  batcher.write(bytes('\n'))
  const record = batcher.take()!.bytes
  t.equal(record.length, 3 * MARK + 1)
  t.ok(record.buffer.byteLength <= 4 * MARK, 'not more than a record may have')
  for (let batch = 0; batch < 4; batch++) {
    batcher.write(line)
    batcher.release()
    const { buffer } = batcher.take()!.bytes
    t.ok(buffer.byteLength <= MARK, 'and the next needs no more than any')
  }
})

t.test('a batch can be cut where a record ends', async t => {
  const rows: [align: Align, writes: string[], ends: number[]][] = [
    [1, ['abc', 'd'], [1, 2, 3, 4]],
    [2, ['abc', 'defg'], [2, 4, 6]],
    ['\n', ['a\nb', 'c\nd'], [2, 5]],
    ['chunk', ['a\nb', 'c\nd'], [6]],
  ]
  for (const [align, writes, expected] of rows) {
    const batcher = createAligned(align, 100)
    for (const part of writes) batcher.write(bytes(part))
    const batch = batcher.take()!
    const found = Array.from({ length: batch.length }, (_, i) => i + 1)
    t.strictSame(
      found.filter(length => batch.isRecordEnd(length)),
      expected,
      JSON.stringify(align),
    )
  }
})

t.test(
  'of chunks, a batch remembers the first end behind each 64 KiB, and where a longer chunk starts',
  async t => {
    const KIB = 1024
    const rows: [what: string, chunks: number[], ends: number[]][] = [
      ['chunks of 30 KiB', Array(10).fill(30 * KIB), [90, 180, 270, 300]],
      ['one long chunk among short ones', [KIB, 200 * KIB, KIB, 64 * KIB], [1, 201, 202, 266]],
      ['exactly 64 KiB', [64 * KIB, 64 * KIB - 1, 1], [64, 128]],
      ['short chunks', [KIB, KIB, KIB], [3]],
    ]
    for (const [what, chunks, ends] of rows) {
      const batcher = createAligned('chunk', 1024 * KIB)
      for (const length of chunks) batcher.write(Buffer.alloc(length, 'x'))
      const expected = ends.map(end => end * KIB)
      for (const isSecond of [false, true]) {
        const batch = batcher.take()!
        t.equal(batch.length, expected.at(-1))
        const found: number[] = []
        for (let length = 1; length <= batch.length; length++) {
          if (batch.isRecordEnd(length)) found.push(length)
        }
        t.strictSame(found, expected, `${what}${isSecond ? ', in the next batch' : ''}`)
        batcher.release()
        // The next batch has ends of its own.
        for (const length of chunks) batcher.write(Buffer.alloc(length, 'y'))
      }
    }
  },
)

t.test('a batch and its prefixes carry an MD5 exactly if appends carry it', async t => {
  for (const hasMd5 of [false, true]) {
    const batcher = create(100, hasMd5)
    batcher.write(bytes('abcdef'))
    const batch = batcher.take()!
    for (const part of [batch, batch.prefix(2), batch.rest(2)]) {
      const md5 = createHash('md5').update(part.bytes).digest('base64')
      t.equal(part.contentMd5, hasMd5 ? md5 : undefined)
    }
  }
})

/** Where records end in `content`, by a look at each byte. */
function endsOf(align: Align, content: Buffer, chunks: readonly number[]): number[] {
  if (align === 'chunk') return [...chunks]
  const ends: number[] = []
  for (let end = 1; end <= content.length; end++) {
    if (align === '\n' ? content[end - 1] === 10 : end % align === 0) ends.push(end)
  }
  return ends
}

/** Bytes of a length that is likely to lie at a boundary, with newlines among them, or with none. */
function createRecords(random: Random, mark: number, most: number): Buffer {
  const lengths = [0, 1, 2, mark - 1, mark, mark + 1, 2 * mark, most - 1, most]
  const length = random.integer(0, 3) ? random.integer(0, 9) : random.pick(lengths)
  const every = random.pick([3, 7, 100])
  return Buffer.from(random.bytes(length).map(byte => (byte % every ? byte | 128 : 10)))
}

/**
 * The model knows only this: bytes come out as they went in; a batch ends where a record ends, and holds
 * at most `mark` bytes, or one record; when room is refused something can leave, or has left; what is
 * stuck is a record longer than it may be.
 */
function runAligned(t: Test, random: Random, [align, mark, most]: [Align, number, number]) {
  const batcher = createAligned(align, mark, most)
  const problems: string[] = []
  const check = (isRight: boolean, what: string) => {
    if (!isRight) problems.push(what)
  }
  const chunks: number[] = []
  let content: Buffer = Buffer.alloc(0)
  let ends: number[] = []
  let rest: Buffer = Buffer.alloc(0)
  let sent = 0
  let inFlight: { bytes: Uint8Array; copy: Buffer } | undefined
  const lastEnd = (length: number) => ends.findLast(end => end <= length) ?? 0
  const take = (whole = lastEnd(batcher.accepted)) => {
    const batch = batcher.take()
    check((batch !== undefined) === whole > sent, `a batch if there is a record: ${sent}, ${whole}`)
    if (!batch) return false
    const copy = Buffer.from(batch.bytes)
    const end = sent + copy.length
    check(copy.equals(content.subarray(sent, end)), 'the bytes in their order')
    check(batch.crc64 === crc64(copy), 'their CRC')
    const part = batch.prefix(random.integer(1, copy.length))
    const partEnd = sent + part.length
    check(
      lastEnd(partEnd) === partEnd || partEnd === whole,
      `a prefix ends with a record: ${partEnd}`,
    )
    check(part.crc64 === crc64(copy.subarray(0, part.length)), 'the CRC of a prefix')
    check(lastEnd(end) === end || end === whole, `ends with a record: ${end}`)
    const isOne = lastEnd(end - 1) <= sent
    check(copy.length <= mark || (isOne && copy.length <= most), `not too long: ${copy.length}`)
    sent = end
    inFlight = { bytes: batch.bytes, copy }
    return true
  }
  const release = () => {
    check(!inFlight || inFlight.copy.equals(inFlight.bytes), 'the batch in flight has changed')
    batcher.release()
    inFlight = undefined
  }
  const write = () => {
    if (rest.length === 0) {
      rest = createRecords(random, mark, most)
      content = Buffer.concat([content, rest])
      if (rest.length > 0) chunks.push(content.length)
      ends = endsOf(align, content, chunks)
    }
    const from = batcher.accepted
    // Of a chunk that is in already in part, the rest is no chunk.
    const isText = random.integer(0, 1) && content.length - rest.length === from
    if (isText && batcher.writeText(rest.toString('latin1'), 'latin1')) {
      check(batcher.accepted - from === rest.length, 'a text is in whole')
      rest = rest.subarray(rest.length)
      return
    }
    const length = batcher.write(rest)
    check(batcher.accepted - from === length, 'what write returns is accepted')
    rest = rest.subarray(length)
    if (rest.length === 0 || batcher.isTooLong) return
    check(batcher.hasReady, 'refused, and nothing can leave')
    if (inFlight) release()
    take()
  }
  for (let step = 0; step < 120 && !batcher.isTooLong; step++) {
    if (rest.length > 0 || random.integer(0, 9) < 6) write()
    else if (!inFlight) take()
    else if (random.integer(0, 1)) release()
    const { accepted, filling, whole, hasReady } = batcher
    const isRight = accepted - filling + whole === lastEnd(accepted)
    check(isRight, `whole ${whole} of ${filling}, ${hasReady}`)
  }
  const { accepted, isTooLong: isStuck } = batcher
  release()
  if (isStuck) {
    const from = lastEnd(accepted)
    const next = ends.find(end => end > from) ?? content.length
    check(next - from > most, `stuck with a record of ${next - from}`)
    check(accepted - from === most, 'and not before it is too long')
    while (take()) release()
  } else {
    batcher.end()
    while (take(accepted)) release()
    check(sent === accepted, 'all of it')
  }
  t.strictSame(problems, [], `${JSON.stringify(align)}, ${mark}, at most ${most}`)
  return { sent, isStuck }
}

t.test('random records give the batches of a model', async t => {
  const seed = Number(process.env.SEED ?? 20261123)
  t.comment(`SEED=${seed}`)
  const random = createRandom(seed)
  const sizes = [
    [1, 1],
    [1, 9],
    [7, 3],
    [7, 7],
    [8, 50],
    [64, 20],
    [100, 1000],
    [1000, 5000],
  ] as const
  let sent = 0
  let stuck = 0
  for (const align of ['\n', 'chunk', 1, 2, 5, 7, 64] as const) {
    for (const [mark, most] of sizes) {
      if (typeof align === 'number' && align > most) continue
      for (let run = 0; run < 8; run++) {
        const ended = runAligned(t, random, [align, mark, most])
        sent += ended.sent
        if (ended.isStuck) stuck++
      }
    }
  }
  t.comment(`${sent} bytes, ${stuck} times stuck`)
  t.ok(sent > 100_000 && stuck > 20, 'enough has gone through it, and enough was too long')
})

t.test('a known CRC gives the batches that computing it gives', async t => {
  const random = createRandom(20261129)
  for (const align of ['\n', 'chunk', 1, 7] as const) {
    for (const maxRecordBytes of [40_000, 1 << 20]) {
      const known = createAligned(align, 300_000, maxRecordBytes)
      const computed = createAligned(align, 300_000, maxRecordBytes)
      let batches = 0
      let wrong = 0
      for (let i = 0; i < 200 && !computed.isTooLong; i++) {
        const chunk = Buffer.alloc(random.integer(1, 11) * 7000 + random.integer(0, 1), 'line 7\n')
        const isEnd = align !== 'chunk' || maxRecordBytes < 100_000 || random.integer(0, 1) === 1
        for (let rest = chunk; rest.length > 0 && !computed.isTooLong; ) {
          const length = computed.write(rest, isEnd)
          if (known.write(rest, isEnd, BigInt(crc64(rest))) !== length) wrong++
          rest = rest.subarray(length)
          if (rest.length === 0 || computed.isTooLong) break
          const [batch, other] = [known.take(), computed.take()]
          if (!batch || batch.length !== other?.length || batch.crc64 !== other.crc64) wrong++
          known.release()
          computed.release()
          batches++
        }
      }
      t.equal(wrong, 0, `${JSON.stringify(align)}, at most ${maxRecordBytes}, ${batches} batches`)
      t.equal(known.isTooLong, computed.isTooLong)
      t.ok(batches > 20 || computed.isTooLong)
    }
  }
})

t.test('a known CRC is not computed again', async t => {
  const batcher = create(100_000)
  batcher.write(Buffer.alloc(100_000, 'x'), true, 17n)
  t.equal(batcher.take()?.crc64, '17')
})
