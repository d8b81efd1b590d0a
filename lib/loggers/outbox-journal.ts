/**
 * The journal of an outbox, over all its streams. While the process exits, records go there synchronously: into the
 * journal of the stream, or into one of their own if that is not open.
 */

import type { ExitJournal } from '../journal/exit-journal.ts'
import type { JournalSource } from '../stream/journal-source.ts'
import type { RecordQueue } from './record-queue.ts'

export class OutboxJournal {
  readonly #onError: (error: Error) => void
  /** That of the stream in use. */
  #source: JournalSource
  #exitJournal: ExitJournal | undefined

  constructor(source: JournalSource, onError: (error: Error) => void) {
    this.#source = source
    this.#onError = onError
  }

  /** Takes over the journal of a new stream. */
  use(source: JournalSource): void {
    this.#source = source
  }

  /** Bytes that the stream in use has written to it. */
  get journaled(): number {
    return this.#source.journaled
  }

  /** Bytes in it that are not acknowledged. */
  get bytes(): number {
    return (this.#source.undelivered ?? 0) + (this.#exitJournal?.journaled ?? 0)
  }

  /** Until it is open, it may hold records of an earlier stream or process. */
  get mayHaveBytes(): boolean {
    return this.#source.undelivered !== 0
  }

  /** Writes what is not there yet. Records of later listeners of `'exit'` follow. */
  keepOnExit(queue: RecordQueue): void {
    const place = this.#source.isOpen ? this.#source : this.#openExitJournal(queue)
    if (!place) return
    place.writeUnconfirmedSync()
    const chunks = queue.takeRest(place.journaled)
    if (chunks.length === 0) return
    place.writeUnconfirmedSync(chunks.map(chunk => ({ chunk, encoding: 'utf8' })))
    queue.acknowledge(place.journaled)
  }

  /** Undefined: there is nothing to write, or the folder cannot be written to. */
  #openExitJournal(queue: RecordQueue): ExitJournal | undefined {
    if (this.#exitJournal || queue.length === 0) return this.#exitJournal
    queue.rewind()
    try {
      this.#exitJournal = this.#source.createExitJournal()
    } catch (error) {
      this.#onError(error as Error)
    }
    return this.#exitJournal
  }
}
