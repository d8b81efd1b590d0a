/**
 * The bytes that pino writes as whole lines for an outbox. In-process each write is one line. A worker reads many
 * lines at once, and the last one may be incomplete: it waits here for its end.
 */

import { StringDecoder } from 'node:string_decoder'
import type { Outbox } from './outbox.ts'

const LINE = /[^\n]*\n/g

export class LineSplitter {
  readonly #outbox: Pick<Outbox, 'add' | 'hasRoom' | 'chunkLength' | 'maxBuffered'>
  readonly #decoder = new StringDecoder()
  /** A line whose end is not written yet. Undefined if the line is too long: the rest of it is dropped too. */
  #partialLine: string | undefined = ''

  constructor(outbox: Pick<Outbox, 'add' | 'hasRoom' | 'chunkLength' | 'maxBuffered'>) {
    this.#outbox = outbox
  }

  /** Adds the lines that end in a chunk. */
  write(chunk: Buffer | string, encoding: string): void {
    const text = this.#decode(chunk, encoding)
    if (this.#partialLine === '' && text.indexOf('\n') === text.length - 1) this.#outbox.add(text)
    else this.#addChunk(text)
  }

  /** Adds the partial line with an end of line, because no more of it comes. */
  end(): void {
    const last = this.#decoder.end()
    const line = this.#partialLine === undefined ? '' : this.#partialLine + last
    this.#partialLine = ''
    if (line !== '') this.#outbox.add(`${line}\n`)
  }

  /** The text of a chunk, whose bytes are UTF-8. A character that is not complete yet waits for the next chunk. */
  #decode(chunk: Buffer | string, encoding: string): string {
    if (typeof chunk !== 'string') return this.#decoder.write(chunk)
    // Node accepts the encoding 'buffer' for a string. The text is kept, because a logger must lose no record.
    if (encoding === 'utf8' || !Buffer.isEncoding(encoding)) return chunk
    return this.#decoder.write(Buffer.from(chunk, encoding))
  }

  #addChunk(chunk: string): void {
    // The partial line is not searched again for each chunk: that would take quadratic time.
    if (this.#partialLine !== undefined && !chunk.includes('\n')) {
      this.#setPartialLine(this.#partialLine + chunk)
      return
    }
    const text =
      this.#partialLine === undefined ? textAfterNewline(chunk) : this.#partialLine + chunk
    if (text === undefined) return
    let from = 0
    let lines = 0
    for (let to = text.indexOf('\n') + 1; to > 0; to = text.indexOf('\n', to) + 1) {
      lines++
      if (to - from < this.#outbox.chunkLength) continue
      this.#addLines(text.slice(from, to), lines)
      from = to
      lines = 0
    }
    const end = text.lastIndexOf('\n') + 1
    if (lines > 0) this.#addLines(text.slice(from, end), lines)
    this.#setPartialLine(text.slice(end))
  }

  /** Adds lines joined in one text. One by one they would take as long as pino needs to log them. */
  #addLines(text: string, lines: number): void {
    if (this.#outbox.hasRoom(text)) this.#outbox.add(text, lines)
    else for (const line of text.match(LINE) ?? []) this.#outbox.add(line)
  }

  /** A line longer than `maxBuffered` is dropped before its end comes, so that it cannot fill the memory. */
  #setPartialLine(partialLine: string): void {
    this.#partialLine = partialLine
    if (partialLine.length <= this.#outbox.maxBuffered) return
    this.#outbox.add(partialLine)
    this.#partialLine = undefined
  }
}

function textAfterNewline(text: string): string | undefined {
  const end = text.indexOf('\n')
  return end < 0 ? undefined : text.slice(end + 1)
}
