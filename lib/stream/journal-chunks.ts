/** Chunks as a stream with a journal hands them to it. Pure. */

import type { JournalChunk } from '../journal/frame-layout.ts'
import type { Align } from '../options.ts'
import { NEWLINE } from './align.ts'
import type { WrittenChunk } from './event-types.ts'

/** Encodings whose text has as many newlines as its bytes, and whose length in bytes is exact. */
const DIRECT: ReadonlySet<string> = new Set(['utf8', 'utf-8', 'latin1', 'binary'])
const UTF8: ReadonlySet<string> = new Set(['utf8', 'utf-8'])
/** Bytes that a UTF-16 code unit has in UTF-8. */
export const MOST_BYTES = 3

/** What the journal takes as one chunk. */
export interface WritableChunk extends JournalChunk {
  /** The chunks of the stream that it was joined from. */
  readonly members?: readonly WrittenChunk[]
}

/** Text in an encoding other than UTF-8 and latin1 as bytes: its length and its newlines are not those of the text. */
export function toWritable({ chunk, encoding }: WrittenChunk): JournalChunk {
  const isDirect = typeof chunk !== 'string' || DIRECT.has(encoding)
  return isDirect ? { chunk, encoding } : { chunk: Buffer.from(chunk, encoding), encoding }
}

/** Neighbouring texts as one of at most `maxBytes`, which is encoded faster than each alone. */
export function joinTexts(chunks: readonly WrittenChunk[], maxBytes: number): WritableChunk[] {
  const maxLength = Math.floor(maxBytes / MOST_BYTES)
  const joined: WritableChunk[] = []
  let text = ''
  let members: WrittenChunk[] = []
  const endText = () => {
    const bytes = Buffer.byteLength(text)
    if (members.length > 0) joined.push({ chunk: text, encoding: 'utf8', bytes, members })
    text = ''
    members = []
  }
  for (const written of chunks) {
    const { chunk, encoding } = written
    const isText = typeof chunk === 'string' && UTF8.has(encoding) && !endsInHalf(chunk)
    if (!isText || text.length + chunk.length > maxLength) endText()
    if (isText && chunk.length <= maxLength) {
      text += chunk
      members.push(written)
    } else joined.push(toWritable(written))
  }
  endText()
  return joined
}

/** The text ends with the first half of a character: joined with the next text it would be another character. */
function endsInHalf(text: string): boolean {
  return (text.charCodeAt(text.length - 1) & 0xfc00) === 0xd800
}

/** Whether a record ends where a whole chunk ends. Not for a number as `align`, which counts bytes. */
export function isEnd(align: Align, chunk: Uint8Array | string): boolean {
  if (align === 'chunk') return true
  return typeof chunk === 'string' ? chunk.endsWith('\n') : chunk.at(-1) === NEWLINE
}

export function toBytes(chunk: Uint8Array | string, encoding: BufferEncoding): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}
