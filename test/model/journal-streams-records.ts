/**
 * The records of the model of streams with a journal: what each was promised, and where it landed. The bytes of all
 * appends, in the order in which they landed, are the records: each whole, once, and upward in each slot.
 */

import type { Align } from '../../lib/options.ts'
import type { Random } from '../helpers/random.ts'

/** Bytes of a record where `align` is a number. */
export const RECORD_BYTES = 12

/** The process that wrote a record. */
export interface RecordOwner {
  readonly number: number
  readonly align: Align
  /** Of its new bytes. Undefined until its journal is open. */
  readonly slot: number | undefined
  /** Whether its records may be in the object of this key. */
  isFor(key: string): boolean
}

/** A record that was given to `write()`. */
export interface GivenRecord {
  readonly index: number
  readonly text: string
  readonly owner: RecordOwner
  /** It has no end of its own: only `end()` makes it whole. */
  readonly isOpen: boolean
  /** Its callback was called, so no kill loses it. */
  isPromised: boolean
  /** No power loss takes it. */
  isSafe: boolean
  /** A start has delivered the journal without it. */
  isGone: boolean
  /** How often it landed. */
  copies: number
}

const NUMBER = /^<(\d{4})/

export class Records {
  readonly all: GivenRecord[] = []
  /** Each byte is a record, and bytes that were sent may be lost. */
  mayBeTorn = false
  readonly #align: Align
  readonly #random: Random
  readonly #report: (problem: string) => void
  /** The first bytes of a record that landed in part. */
  #part = ''
  /** The last record that landed, of each slot or process. */
  readonly #last = new Map<number | undefined, number>()
  readonly #laneOf: (owner: RecordOwner) => number | undefined

  /** `laneOf`: where the order of records is that of their numbers. Default: in each slot. */
  constructor(
    align: Align,
    random: Random,
    report: (problem: string) => void,
    laneOf = ({ slot }: RecordOwner) => slot,
  ) {
    this.#laneOf = laneOf
    this.#align = align
    this.#random = random
    this.#report = report
  }

  give(owner: RecordOwner, isOpen = false): GivenRecord {
    const index = this.all.length
    const text = this.#textOf(index, owner.align, isOpen)
    const states = { isPromised: false, isSafe: false, isGone: false, copies: 0 }
    const record = { index, text, owner, isOpen, ...states }
    this.all.push(record)
    return record
  }

  #textOf(index: number, align: Align, isOpen: boolean): string {
    const number = String(index).padStart(4, '0')
    if (isOpen) return `<${number}!>`
    if (typeof align === 'number' && align > 1) {
      return `<${number}${'z'.repeat(RECORD_BYTES - 6)}>`
    }
    const text = `<${number}${'z'.repeat(this.#random.integer(0, 30))}>`
    return align === '\n' || this.#random.integer(0, 3) === 0 ? `${text}\n` : text
  }

  /** An append has landed in the object of this key. */
  onLanded(key: string, bytes: string): void {
    let rest = this.#part + bytes
    this.#part = ''
    while (rest.length > 0) {
      const record = this.all[Number(NUMBER.exec(rest)?.[1] ?? -1)]
      if (!record || !rest.startsWith(record.text)) {
        const next = this.mayBeTorn ? rest.indexOf('<', 1) : -1
        if (next < 0) break
        rest = rest.slice(next)
        continue
      }
      rest = rest.slice(record.text.length)
      this.#onRecord(key, record)
    }
    // Where each byte is a record, an append may end anywhere.
    if (this.#align === 1) this.#part = rest
    else if (rest !== '') this.#report(`a record is torn: ${JSON.stringify(rest)}`)
  }

  #onRecord(key: string, record: GivenRecord): void {
    record.copies += 1
    const name = nameOf(record)
    if (record.copies > 1) this.#report(`${name} has landed ${record.copies} times`)
    if (!record.owner.isFor(key)) this.#report(`${name} has landed in ${key}, a wrong object`)
    if (record.isGone) this.#report(`${name} has landed, and a start did not deliver it`)
    const lane = this.#laneOf(record.owner)
    if (record.index < (this.#last.get(lane) ?? -1)) this.#report(`${name} is out of order`)
    this.#last.set(lane, record.index)
  }

  /** Reports each of these records that is in no object, and should be. */
  require(records: readonly GivenRecord[], why: string): void {
    for (const record of records) {
      if (record.copies === 0) this.#report(`${nameOf(record)} is lost: ${why}`)
    }
  }

  /** After the end: nothing is left of a record that landed in part. */
  checkWhole(): void {
    if (this.#part !== '' && !this.mayBeTorn)
      this.#report(`a record is torn: ${JSON.stringify(this.#part)}`)
  }

  /** After a power loss. */
  forgetUnsafe(): void {
    for (const record of this.all) record.isPromised &&= record.isSafe
  }
}

function nameOf({ text }: GivenRecord): string {
  return text.trim()
}
