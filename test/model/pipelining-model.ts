/**
 * Pipelined appends against chance, in memory: chains of some attempts on one connection, and everything that
 * may happen to them. A sender gives records to one writer after another, as a logger does: when one fails, the
 * next goes on behind what was acknowledged or reported as unresolved. The oracle compares the objects with
 * what the sender was told.
 */

import { createRandom, type Random } from '../helpers/random.ts'
import {
  type Attempt,
  Network,
  type NetworkObserver,
  type Request,
  type Tail,
} from './pipelining-network.ts'
import {
  ALL_RULES,
  type Failure,
  type Rules,
  Writer,
  type WriterUser,
} from './pipelining-writer.ts'

export interface Troubles {
  /** Attempts in flight at most. */
  readonly depth: number
  /** Percent: another writer acts between two events. */
  readonly rival: number
  /** The other writer also deletes and replaces objects. */
  readonly deletes?: boolean
  readonly rules?: Rules
}

/** What happened to a run: a problem, or numbers that show what it covered. */
export interface Outcome {
  readonly problem: string | undefined
  readonly log: readonly string[]
  readonly counts: Readonly<Record<string, number>>
}

/** Events after which nothing goes wrong any more, so that each run comes to an end. */
const CALM_AFTER = 150
const MOST_EVENTS = 2000

export class PipeliningWorld implements NetworkObserver, WriterUser {
  readonly log: string[] = []
  readonly counts: Record<string, number> = {}
  problem: string | undefined
  readonly #random: Random
  readonly #troubles: Troubles
  readonly #network: Network
  readonly #records: readonly string[]
  readonly #ownAppends: Attempt[] = []
  readonly #acknowledged = new Set<number>()
  readonly #unresolved = new Set<number>()
  readonly #maxBytes: number
  readonly #maxRetries: number
  #writer!: Writer
  #next = 0
  #events = 0
  /** The answer to a HEAD, on its way. */
  #seen: { readonly tail: Tail | undefined } | undefined

  constructor(seed: number, troubles: Troubles) {
    this.#random = createRandom(seed)
    this.#troubles = troubles
    this.#network = new Network(this.#random, this)
    const count = this.#random.integer(4, 12)
    this.#records = Array.from({ length: count }, (_, i) => {
      return `<${i}${'x'.repeat(this.#random.integer(0, 3))}>`
    })
    this.#maxBytes = this.#random.pick([12, 20, Infinity, Infinity])
    this.#maxRetries = this.#random.pick([2, 5, Infinity])
    this.#network.objects[0] = this.#random.pick([undefined, '', 'B', 'BASE'])
  }

  run(): Outcome {
    this.#open(0)
    while (!this.problem && !(this.#writer.hasEnded && this.#next === this.#records.length)) {
      this.#events += 1
      this.#network.isCalm = this.#events > CALM_AFTER
      if (this.#events > MOST_EVENTS) this.#report('it never ends')
      this.#step()
    }
    while (this.#network.late.length > 0) this.#network.landLate()
    if (!this.problem) this.#judge()
    const { problem, log, counts } = this
    return { problem, log, counts }
  }

  /** A writer from the end of the object on. */
  #open(key: number): void {
    const { depth, rules = ALL_RULES } = this.#troubles
    const tail = this.#network.tailOf(key) ?? { position: 0, crc: '' }
    this.#seen = undefined
    this.#writer = new Writer({
      ...{ random: this.#random, network: this.#network, user: this, rules, depth, key, tail },
      ...{ records: this.#records, maxBytes: this.#maxBytes, next: this.#next },
      maxRetries: this.#network.isCalm ? Infinity : this.#maxRetries,
    })
  }

  #step(): void {
    const { rival } = this.#troubles
    const { isCalm } = this.#network
    if (this.#writer.hasEnded) {
      this.#open(
        this.#network.sealed.has(this.#writer.key) ? this.#writer.key + 1 : this.#writer.key,
      )
    }
    if (!isCalm && this.#random.integer(0, 99) < rival) this.#actAsRival()
    const events = this.#network.events
    if (this.#writer.isAsking) events.push(() => this.#ask())
    else events.push(...Array(3).fill(() => this.#writer.fill()))
    if (this.#network.late.length > 0 && !isCalm) events.push(() => this.#network.landLate())
    const mayExpire = this.#network.isHung || (!isCalm && this.#random.integer(0, 9) === 0)
    if (this.#writer.inFlight > 0 && mayExpire) events.push(() => this.#expire())
    this.#random.pick(events)()
  }

  #expire(): void {
    this.log.push('a deadline')
    this.count(this.#writer.inFlight > 1 ? 'deadline in a chain' : 'deadline')
    this.#writer.expire()
  }

  /** HEAD, on a connection of its own: OSS answers, and then the answer arrives or is lost. */
  #ask(): void {
    if (!this.#seen) {
      this.#seen = { tail: this.#network.tailOf(this.#writer.key) }
      return
    }
    const { tail } = this.#seen
    this.#seen = undefined
    if (!this.#network.isCalm && this.#random.integer(0, 4) === 0) return
    this.log.push(`the object is seen with ${tail?.position}`)
    this.#writer.onTail(tail)
  }

  // ---- what the network tells

  onStored(attempt: Attempt): void {
    this.#ownAppends.push(attempt)
    const { objects } = this.#network
    const isBehindOurs = (objects[attempt.key] ?? '').slice(0, attempt.from).endsWith('~')
    if (isBehindOurs) this.count('stored behind bytes of others')
  }

  /** The invariants of what is sent. */
  onSent(request: Request): void {
    const { key, from } = request.attempt
    const { key: current, tail, isAfterFailure } = this.#writer
    if (isAfterFailure && key === current && from > tail.position) {
      this.#report('a follower is sent after a failure, before a success')
    }
    if (request.sent > 1 && request.isDisturbed) {
      this.#report('an abort made the library send another request again')
    }
  }

  count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1
  }

  // ---- what the writer tells

  onAcknowledged(key: number, before: Tail, after: Tail, end: number, isSettled: boolean): void {
    this.log.push(`acknowledged ${key}:${before.position}-${after.position}`)
    this.count(isSettled ? 'acknowledged by the tail' : 'acknowledged')
    const text = this.#records.slice(this.#next, end).join('')
    const stored = this.#network.objects[key]?.slice(0, after.position)
    if (before.position + text.length !== after.position)
      this.#report('acknowledged a wrong length')
    // Between the response and its arrival the object may be deleted.
    if (stored !== before.crc + text && !this.#troubles.deletes) {
      this.#report(`acknowledged ${before.crc}${text}, and the object has ${stored}`)
    }
    for (let record = this.#next; record < end; record++) this.#acknowledged.add(record)
    this.#next = end
  }

  onFailed({ code, unresolved }: Failure): void {
    this.log.push(`failed: ${code}, unresolved ${unresolved?.from}-${unresolved?.to}`)
    this.count(code)
    const isAlone = this.#troubles.rival === 0 && this.#unresolved.size === 0
    if (isAlone && !['refused', 'retriesExhausted'].includes(code)) {
      this.#report(`${code}, and there is no other writer`)
    }
    if (!unresolved) return
    this.count('unresolved')
    let { from } = unresolved
    while (from < unresolved.to && this.#next < this.#records.length) {
      from += this.#records[this.#next]!.length
      this.#unresolved.add(this.#next++)
    }
    if (from !== unresolved.to) this.#report('unresolved ends inside a record')
  }

  /** Compares the objects with what the sender was told. */
  #judge(): void {
    const { objects } = this.#network
    for (const [index, record] of this.#records.entries()) {
      const copies = this.#ownAppends.filter(
        ({ first, end }) => first <= index && index < end,
      ).length
      const isAcknowledged = this.#acknowledged.has(index)
      const isKnown = isAcknowledged || this.#unresolved.has(index)
      if (!isKnown)
        this.#report(`record ${index} is ${copies > 0 ? 'silently there' : 'forgotten'}`)
      if (this.#troubles.deletes) continue
      const isThere = objects.some(text => text?.includes(record))
      if (copies > 1) this.#report(`record ${index} was stored ${copies} times`)
      if (isAcknowledged && !isThere) this.#report(`record ${index} is absent`)
    }
    if (this.#troubles.rival > 0 || this.#unresolved.size > 0) return
    const base = objects.join('').replace(/^B?(ASE)?/, '')
    if (base !== this.#records.join('')) this.#report('the objects are not equal to the source')
  }

  #report(problem: string): void {
    this.problem ??= problem
  }

  /** Another writer appends bytes as long as one of our attempts, or a few; seals, deletes or replaces. */
  #actAsRival(): void {
    const { objects, sealed, queue } = this.#network
    const { key } = this.#writer
    const lengths = queue.map(({ attempt: { from, to } }) => to - from)
    const length = this.#random.pick([this.#random.integer(1, 4), ...lengths])
    const act = this.#random.integer(0, 19)
    if (act === 0 && this.#random.integer(0, 3) === 0) {
      sealed.add(key)
      this.count('sealed')
    } else if (act < 6 && this.#troubles.deletes) {
      objects[key] = this.#random.pick([undefined, '~'.repeat(objects[key]?.length ?? 0)])
      sealed.delete(key)
      this.count('deleted')
    } else if (!sealed.has(key)) {
      objects[key] = (objects[key] ?? '') + '~'.repeat(length)
      this.count(lengths[0] === length ? 'a rival as long as the head' : 'a rival')
    }
    this.log.push(`the other writer acts, the object has ${objects[key]?.length}`)
  }
}
