import t from 'tap'
import { EVERY_BYTE } from '../../lib/append/tail.ts'
import type { Align } from '../../lib/options.ts'
import { createRecordEnds, findFirstRecordEnd, findLastRecordEnd } from '../../lib/stream/align.ts'

// what a record is, the bytes that came in, how far behind an end; the last end from there, the bytes
// of the first record
const rows: [align: Align, part: string, at: number, last: number, first: number][] = [
  ['\n', '', 0, 0, 0],
  ['\n', 'abc', 0, 0, 3],
  ['\n', 'abc', 7, 0, 3],
  ['\n', '\n', 0, 1, 1],
  ['\n', '\n', 7, 8, 1],
  ['\n', 'ab\n', 0, 3, 3],
  ['\n', 'ab\nc', 7, 10, 3],
  ['\n', 'ab\nc\n', 0, 5, 3],
  ['\n', '\n\n\nabc', 0, 3, 1],
  ['\n', '\r\n\r', 0, 2, 2],
  ['\n', 'é\u010a', 0, 0, 4],
  [1, '', 0, 0, 0],
  [1, 'abc', 0, 3, 1],
  [4, '', 0, 0, 0],
  [4, 'abc', 0, 0, 3],
  [4, 'abcd', 0, 4, 4],
  [4, 'abcde', 0, 4, 4],
  [4, 'abcdefgh', 0, 8, 4],
  [4, 'a', 2, 0, 1],
  [4, 'ab', 2, 4, 2],
  [4, 'abc', 2, 4, 2],
  [4, 'abcdef', 3, 8, 1],
  ['chunk', '', 0, 0, 0],
  ['chunk', 'a\nb\n', 0, 0, 4],
  ['chunk', 'a\nb\n', 3, 0, 4],
]

t.test('the last and the first end of a record are found', async t => {
  for (const [align, text, at, last, first] of rows) {
    // In Node a chunk is a Buffer; an array of bytes finds the same.
    for (const part of [Buffer.from(text), Uint8Array.from(Buffer.from(text))]) {
      const label = `${JSON.stringify(align)}: ${JSON.stringify(text)} at ${at}`
      t.equal(findLastRecordEnd(align, part, at), last, `${label}: last`)
      t.equal(findFirstRecordEnd(align, part, at), first, `${label}: first`)
    }
  }
})

t.test('in UTF-8 and latin1 the newline byte is part of no other character', async t => {
  for (const text of ['ÿ\nĊ', '漢\n字', '😀\n\ud83d']) {
    for (const encoding of ['utf8', 'latin1'] as const) {
      const bytes = Buffer.from(text, encoding)
      const length = Buffer.byteLength(text.slice(0, text.indexOf('\n') + 1), encoding)
      if (encoding === 'latin1' && text.includes('Ċ')) {
        t.equal(
          findLastRecordEnd('\n', bytes, 0),
          3,
          'latin1 has no Ċ: Node writes its low byte, a newline',
        )
      } else {
        t.equal(findLastRecordEnd('\n', bytes, 0), length, `${text} as ${encoding}`)
      }
    }
  }
})

// what a record is, ends of chunks, the bytes; the lengths at which a record ends, the first record
const ends: [align: Align, chunkEnds: number[], text: string, ends: number[], first: number][] = [
  [1, [], 'abc', [1, 2, 3], 1],
  [2, [], 'abcde', [2, 4], 2],
  [4, [], 'abc', [], 4],
  ['\n', [], 'ab\n\ncd', [3, 4], 3],
  ['\n', [], 'abc', [], 3],
  ['chunk', [2, 5], 'a\nb\ncd', [2, 5], 2],
  ['chunk', [], 'a\nb\n', [], 4],
]

t.test('record ends: whether a record ends there, the last before it, the first', async t => {
  for (const [align, chunkEnds, text, expected, first] of ends) {
    for (const bytes of [Buffer.from(text), Uint8Array.from(Buffer.from(text))]) {
      const recordEnds = createRecordEnds(align, chunkEnds)
      const label = `${JSON.stringify(align)}: ${JSON.stringify(text)}`
      t.equal(recordEnds.findFirst(bytes), first, `${label}: first`)
      for (let length = 1; length <= bytes.length; length++) {
        t.equal(recordEnds.isEnd(bytes, length), expected.includes(length), `${label}: ${length}`)
        const last = expected.findLast(end => end <= length) ?? 0
        t.equal(recordEnds.findLast(bytes, length), last, `${label}: last until ${length}`)
      }
      for (const end of expected) {
        const rest = bytes.subarray(end)
        const after = recordEnds.after(end)
        for (let length = 1; length <= rest.length; length++) {
          const isEnd = expected.includes(end + length)
          t.equal(after.isEnd(rest, length), isEnd, `${label}: ${length} behind ${end}`)
        }
      }
    }
  }
})

t.test('where each byte is a record, no ends are made', async t => {
  t.equal(createRecordEnds(1, []), EVERY_BYTE)
})
