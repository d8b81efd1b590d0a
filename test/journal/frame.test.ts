/** The format of the journal: the bytes that docs/journal.md shows, and what is read from damaged ones. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { chainFrames, decodeFrame, firstCrc } from '../../lib/journal/frame.ts'
import { type JournalChunk, layOut } from '../../lib/journal/frame-layout.ts'
import {
  ANCHOR_PLACES,
  createTarget,
  decodeHead,
  encodeHead,
  HEAD_BYTES,
  parseSegmentName,
  type SegmentHeader,
  segmentName,
  VERSION,
} from '../../lib/journal/segment.ts'
import type { Align } from '../../lib/options.ts'

const salt = Buffer.from('0001020304050607', 'hex')
const header: SegmentHeader = {
  version: VERSION,
  generation: 7,
  offset: 1000,
  salt,
  align: 'chunk',
  firstGeneration: 5,
  beginsRecord: true,
  target: { bucket: 'my-bucket', key: 'logs/{index}', isPattern: true },
}
/** Bytes of it. */
const HEADER_BYTES = 56 + 9 + 12
const anchor = {
  sequence: 3,
  offset: 900,
  bucket: 'my-bucket',
  key: 'ключ.log',
  position: 12_345,
  crc64: '18446744073709551615',
}

function text(value: string): JournalChunk {
  return { chunk: value, encoding: 'utf8' }
}

const allocate = (size: number) => Buffer.alloc(size)
const options = { capacity: 100, frameBytes: 10, isByChunk: true, allocate }

/** Frames of these chunks, as they lie in a segment. */
function frames(chunks: readonly JournalChunk[], isByChunk = true): Buffer {
  const { buffer, sums } = layOut(chunks, { ...options, isByChunk })
  chainFrames(buffer, sums, firstCrc(salt))
  return buffer
}

t.test('a header, an anchor and two frames have the bytes of docs/journal.md', async t => {
  const head = encodeHead(header, anchor)
  const [at] = ANCHOR_PLACES
  const bytes = {
    header: head.subarray(0, HEADER_BYTES),
    anchor: head.subarray(at, at + 44 + 9 + 12),
    frames: frames([text('ab'), text('c'), text('defghijk')]),
  }
  const page = readFileSync(new URL('../../docs/journal.md', import.meta.url), 'utf8')
  for (const [name, value] of Object.entries(bytes)) {
    const [, shown = ''] =
      new RegExp(`<!-- ${name} -->\\s*\`\`\`text\\n(.*?)\`\`\``, 's').exec(page) ?? []
    t.equal(shown.replaceAll(/\s/g, ''), value.toString('hex'), name)
  }
  t.equal(head.length, HEAD_BYTES)
})

t.test('a head is read as it was written', async t => {
  for (const align of ['\n', 'chunk', 1, 4096] as Align[]) {
    const { header: found } = decodeHead(encodeHead({ ...header, align }, undefined))
    t.same(found, { ...header, align })
  }
  for (const target of [undefined, { bucket: 'b', key: '', isPattern: true }]) {
    const { header: found } = decodeHead(encodeHead({ ...header, target }, undefined))
    t.same(found?.target, target)
  }
  t.same(decodeHead(encodeHead(header, anchor)), {
    header,
    anchor,
    staleAnchorAt: undefined,
    isAnchorDamaged: false,
  })
  t.same(decodeHead(encodeHead(header, undefined)).anchor, undefined)
})

t.test('a head has room for the longest bucket and pattern', async t => {
  const target = createTarget('b'.repeat(63), 'ф'.repeat(3000), true)
  t.equal(target.key.length, 1024)
  t.same(decodeHead(encodeHead({ ...header, target }, anchor)), {
    ...{ header: { ...header, target }, anchor },
    ...{ staleAnchorAt: undefined, isAnchorDamaged: false },
  })
})

t.test('of two anchors the one with the higher sequence number is read', async t => {
  const head = encodeHead(header, anchor)
  for (const [index, at] of ANCHOR_PLACES.entries()) {
    const sequence = 4 + index
    encodeHead(header, { ...anchor, sequence }).copy(head, at, at, at + 4096)
    t.equal(decodeHead(head).anchor?.sequence, sequence)
  }
})

t.test('each flipped bit of a header or an anchor is noticed', async t => {
  const head = encodeHead(header, anchor)
  const [first, second] = ANCHOR_PLACES
  for (let bit = 0; bit < HEADER_BYTES * 8; bit++) {
    const flipped = Buffer.from(head)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    if (decodeHead(flipped).header) t.fail(`bit ${bit} of the header`)
  }
  for (let bit = 0; bit < 65 * 8; bit++) {
    const flipped = Buffer.from(head)
    flipped[first + (bit >> 3)]! ^= 1 << (bit & 7)
    t.same(decodeHead(flipped).anchor, anchor, 'the other copy is read')
    flipped[second + (bit >> 3)]! ^= 1 << (bit & 7)
    const { anchor: none, isAnchorDamaged } = decodeHead(flipped)
    if (none || !isAnchorDamaged) t.fail(`bit ${bit} of both copies`)
  }
  t.ok(decodeHead(head.subarray(0, 5000)).isAnchorDamaged, 'a file that is cut')
})

t.test('names of segments sort by stream offset', async t => {
  const name = segmentName({ offset: 2 ** 53 - 1, generation: 12 })
  t.equal(name, '9007199254740991-00000012.journal')
  t.same(parseSegmentName(name), { offset: 2 ** 53 - 1, generation: 12 })
  const last = { offset: 0, generation: 100_000_000 }
  t.same(parseSegmentName(segmentName(last)), last, 'a generation of nine digits')
  for (const other of ['a.journal', `${name}.new`, `${name}.damaged`, 'lock~a~1~2~3~4']) {
    t.equal(parseSegmentName(other), undefined, other)
  }
})

t.test('frames are read as they were written, with the ends of chunks', async t => {
  const buffer = frames([text('ab'), text(''), text('c'), text('defghijk'), text('')])
  const first = decodeFrame(buffer, 0, firstCrc(salt))
  if (typeof first === 'string') throw new Error(first)
  t.match(first, { ends: [2], goesOn: false })
  t.equal(first.bytes.toString(), 'abc')
  const second = decodeFrame(buffer, first.length, first.crc)
  if (typeof second === 'string') throw new Error(second)
  t.match(second, { ends: [], goesOn: false })
  t.equal(second.bytes.toString(), 'defghijk')
})

t.test('where chunks are no records, a frame lists no ends', async t => {
  const first = decodeFrame(frames([text('ab'), text('c')], false), 0, firstCrc(salt))
  t.match(first, { ends: [] })
})

t.test('a chunk that is longer than a frame goes on in the next one', async t => {
  const { buffer, sums, pieces, chunks, rest, length } = layOut(
    [text('0123456789abcde'), text('f')],
    options,
  )
  t.match({ chunks, rest, length }, { chunks: 1, rest: undefined, length: 15 })
  t.same(
    pieces.map(({ bytes, isEnd }) => [bytes.toString(), isEnd]),
    [
      ['0123456789', false],
      ['abcde', true],
    ],
  )
  chainFrames(buffer, sums, firstCrc(salt))
  t.match(decodeFrame(buffer, 0, firstCrc(salt)), { goesOn: true })
})

t.test('a chunk that is longer than one write leaves a rest', async t => {
  const long = Buffer.alloc(250, 'x')
  const { chunks, rest, length } = layOut([{ chunk: long, encoding: 'utf8' }], options)
  t.match({ chunks, length }, { chunks: 0, length: 100 })
  t.equal(rest?.chunk.length, 150)
})

t.test('one write takes as many whole chunks as it has room for, and at least one', async t => {
  const chunks = Array.from({ length: 30 }, (_, index) => text(`chunk ${index % 10};`))
  t.match(layOut(chunks, options), { chunks: 12, length: 96, rest: undefined })
  t.match(layOut(chunks, { ...options, capacity: 1 }), { chunks: 1, length: 8 })
  t.match(layOut([text(''), text('')], options), { chunks: 2, length: 0 })
  t.match(layOut([], options), { chunks: 0, length: 0 })
  t.equal(layOut([{ chunk: 'ä', encoding: 'latin1' }], options).length, 1)
  t.equal(layOut([{ chunk: 'ffff', encoding: 'hex' }], options).length, 2)
})

t.test('each flipped bit and each cut of a frame is noticed', async t => {
  const buffer = frames([text('ab'), text('c')])
  for (let bit = 0; bit < buffer.length * 8; bit++) {
    const flipped = Buffer.from(buffer)
    flipped[bit >> 3]! ^= 1 << (bit & 7)
    // A length that grew may ask for more bytes than there are.
    if (typeof decodeFrame(flipped, 0, firstCrc(salt)) !== 'string') t.fail(`bit ${bit}`)
  }
  for (let length = 0; length < buffer.length; length++) {
    t.equal(decodeFrame(buffer.subarray(0, length), 0, firstCrc(salt)), 'short')
  }
})

t.test('a frame does not continue another segment, nor other frames', async t => {
  const buffer = frames([text('0123456789'), text('abc')])
  const length = 26
  const other = frames([text('9876543210'), text('abc')])
  const first = decodeFrame(other, 0, firstCrc(salt))
  if (typeof first === 'string') throw new Error(first)
  t.equal(decodeFrame(buffer, length, first.crc), 'broken')
  t.equal(decodeFrame(buffer, 0, firstCrc(Buffer.alloc(8))), 'broken')
})
