/**
 * The rules of pipelined appends (docs/design.md), as small as they can be said: a chain of attempts, a tail, the
 * attempts in doubt. Each rule can be left out, and the model shows what it prevents.
 */

import type { Random } from '../helpers/random.ts'
import type { Attempt, Network, Request, Result, Tail } from './pipelining-network.ts'

/** The rules, by what goes wrong without each. */
export interface Rules {
  /** From the moment that a follower is sent, the whole chain is in doubt. */
  readonly chainIsInDoubt: boolean
  /** A refusal of an attempt in a chain proves nothing, since the library may have sent it twice. */
  readonly refusalProvesNothing: boolean
  /** After a final refusal of the head, its followers stay in doubt. */
  readonly refusalKeepsFollowers: boolean
  /** Settlement covers all unacknowledged records, and not those of the head alone. */
  readonly settlesWholeChain: boolean
  /** The success of a follower proves the attempts before it. */
  readonly successProvesEarlier: boolean
  /** A success has the computed CRC, and not the computed length alone. */
  readonly checksCrc: boolean
  /** The followers are aborted with the head. */
  readonly abortsFollowers: boolean
  /** After a failure one attempt is in flight until one succeeds. */
  readonly goesOnAlone: boolean
  /** Only the head has a deadline. */
  readonly onlyHeadExpires: boolean
  /** An attempt in doubt is forgotten only when the tail is past its start. */
  readonly doubtLastsUntilPast: boolean
  /** The next object is begun only when nothing is in doubt. */
  readonly rollsWithoutDoubt: boolean
  /** A chain never spans two objects. */
  readonly rollsWithoutChain: boolean
}

export const ALL_RULES: Rules = {
  chainIsInDoubt: true,
  refusalProvesNothing: true,
  refusalKeepsFollowers: true,
  settlesWholeChain: true,
  successProvesEarlier: true,
  checksCrc: true,
  abortsFollowers: true,
  goesOnAlone: true,
  onlyHeadExpires: true,
  doubtLastsUntilPast: true,
  rollsWithoutDoubt: true,
  rollsWithoutChain: true,
}

/** Bytes that may be in the object, now or later, and are not acknowledged. */
export interface Unresolved {
  readonly from: number
  readonly to: number
}

export interface Failure {
  readonly code: 'conflict' | 'replaced' | 'integrity' | 'refused' | 'retriesExhausted'
  readonly unresolved: Unresolved | undefined
}

/** What a writer tells its user. */
export interface WriterUser {
  /** `isSettled`: a tail proved it, and no response of the attempt. */
  onAcknowledged(key: number, before: Tail, after: Tail, end: number, isSettled: boolean): void
  onFailed(failure: Failure): void
}

export interface WriterOptions {
  readonly random: Random
  readonly network: Network
  readonly user: WriterUser
  readonly rules: Rules
  readonly depth: number
  readonly records: readonly string[]
  /** Bytes of an object, beyond which the next one begins. */
  readonly maxBytes: number
  readonly maxRetries: number
  readonly key: number
  readonly tail: Tail
  readonly next: number
}

/** An attempt in flight. */
interface Link {
  readonly attempt: Attempt
  readonly before: Tail
  readonly request: Request
  isInChain: boolean
}

type State = 'appending' | 'asking' | 'ended'

export class Writer {
  readonly #options: WriterOptions
  key: number
  /** The acknowledged end of the object. */
  tail: Tail
  /** Records before this one are acknowledged. */
  #next: number
  #state: State = 'appending'
  /** Attempts in flight, the head first. */
  #chain: Link[] = []
  /** Attempts that were aborted; the library may have settled some of them before. */
  #aborted: Link[] = []
  #inDoubt: Attempt[] = []
  #limit: number
  #retries = 0

  constructor(options: WriterOptions) {
    this.#options = options
    this.key = options.key
    this.tail = options.tail
    this.#next = options.next
    this.#limit = options.depth
  }

  get isAsking(): boolean {
    return this.#state === 'asking'
  }

  get hasEnded(): boolean {
    return this.#state === 'ended'
  }

  /** The last attempt failed, and none has succeeded since. */
  get isAfterFailure(): boolean {
    return this.#retries > 0
  }

  /** How many attempts are in flight. */
  get inFlight(): number {
    return this.#chain.length
  }

  /** Sends one more attempt, if the chain may be longer. */
  fill(): void {
    if (this.#state !== 'appending' || this.#chain.length >= this.#limit) return
    const { random, records, maxBytes, network } = this.#options
    const last = this.#chain.at(-1)
    const first = last?.attempt.end ?? this.#next
    if (first === records.length) {
      if (!last) this.#state = 'ended'
      return
    }
    const end = Math.min(records.length, first + random.integer(1, 3))
    const text = records.slice(first, end).join('')
    const end0 = last ? endOf(last) : { key: this.key, tail: this.tail }
    const isFull = end0.tail.position > 0 && end0.tail.position + text.length > maxBytes
    const start = isFull ? this.#roll(end0.key) : end0
    // In doubt and full: the object goes on, one attempt at a time, until nothing is in doubt.
    if (!start && last) return
    const { key, tail } = start ?? end0
    if (!last) {
      this.key = key
      this.tail = tail
    }
    const from = tail.position
    const attempt = { key, from, to: from + text.length, text, first, end }
    const link: Link = {
      attempt,
      before: tail,
      request: network.send(attempt, result => this.#onResult(link, result)),
      isInChain: false,
    }
    this.#chain.push(link)
    if (this.#chain.length > 1) this.#onChained()
  }

  /** The next object; undefined: not now. */
  #roll(key: number) {
    const { rules } = this.#options
    if (rules.rollsWithoutChain && this.#chain.length > 0) return undefined
    const inChain = this.#chain.map(({ attempt }) => attempt)
    const isInDoubt = this.#inDoubt.some(each => !inChain.includes(each))
    if (rules.rollsWithoutDoubt && isInDoubt) return undefined
    if (!rules.rollsWithoutDoubt && this.#chain.length === 0) this.#inDoubt = []
    return { key: key + 1, tail: { position: 0, crc: '' } }
  }

  #onChained(): void {
    for (const link of this.#chain) {
      if (link.isInChain) continue
      link.isInChain = true
      if (this.#options.rules.chainIsInDoubt) this.#inDoubt.push(link.attempt)
    }
  }

  /** Deadline of an attempt in flight: that of the head. */
  expire(): void {
    const { rules, random, network } = this.#options
    const index = rules.onlyHeadExpires ? 0 : random.integer(0, this.#chain.length - 1)
    const link = this.#chain[index]
    if (!link) return
    this.#doubt(link)
    if (index === 0) {
      network.abort(rules.abortsFollowers ? this.#requests() : [link.request])
      this.#onHeadFailed(link)
      return
    }
    const removed = this.#chain.splice(index)
    network.abort(removed.map(({ request }) => request))
  }

  #requests(): Request[] {
    return this.#chain.map(({ request }) => request)
  }

  #onResult(link: Link, result: Result): void {
    if (this.#state === 'ended') return
    if (this.#aborted.includes(link)) {
      // It was settled in the same read as the head that failed.
      if (result.name === 'stored' && this.#isProof(link, result.tail)) this.#succeed(link)
      return
    }
    if (!this.#chain.includes(link)) return
    if (result.name === 'stored') {
      if (this.#isProof(link, result.tail)) this.#succeed(link)
      else this.#fail('integrity')
      return
    }
    const isRefusal = !['serverError', 'reset'].includes(result.name)
    if (!isRefusal) this.#doubt(link)
    else if (!this.#options.rules.refusalProvesNothing) this.#forget(link)
    if (result.name === 'refused') {
      if (!this.#options.rules.refusalKeepsFollowers) {
        for (const follower of this.#chain.slice(1)) this.#forget(follower)
      }
      this.#fail('refused')
      return
    }
    this.#onHeadFailed(link)
    if (result.name === 'positionRefused' && !this.hasEnded) this.#state = 'asking'
  }

  #isProof(link: Link, tail: Tail): boolean {
    const { tail: after } = endOf(link)
    return (
      tail.position === after.position && (!this.#options.rules.checksCrc || tail.crc === after.crc)
    )
  }

  #succeed(link: Link): void {
    const { rules } = this.#options
    const { attempt } = link
    const { key, tail: after } = endOf(link)
    const isLater = this.#state === 'asking' || link.before.position !== this.tail.position
    // Without the rule only its own bytes count, and those before it are sent again.
    if (isLater && !rules.successProvesEarlier) {
      this.tail = after
      this.#state = 'appending'
      return
    }
    const index = this.#chain.indexOf(link)
    this.#chain.splice(0, index + 1)
    this.#commit(key, after, attempt.end, false)
  }

  #commit(key: number, after: Tail, end: number, isSettled: boolean): void {
    const { rules, user, depth } = this.#options
    const before = key === this.key ? this.tail : { position: 0, crc: '' }
    this.key = key
    this.tail = after
    this.#next = end
    this.#inDoubt = rules.doubtLastsUntilPast
      ? this.#inDoubt.filter(each => each.key > key || each.from >= after.position)
      : []
    this.#retries = 0
    this.#limit = depth
    this.#aborted = []
    if (this.#state === 'asking') this.#state = 'appending'
    user.onAcknowledged(key, before, after, end, isSettled)
  }

  #onHeadFailed(link: Link): void {
    const { rules, network, maxRetries } = this.#options
    this.#chain = this.#chain.filter(each => each !== link)
    this.#aborted = this.#chain
    if (rules.abortsFollowers) network.abort(this.#requests())
    this.#chain = []
    if (rules.goesOnAlone) this.#limit = 1
    this.#retries += 1
    if (this.#retries > maxRetries) this.#fail('retriesExhausted')
  }

  /** Answers `isAsking`. */
  onTail(seen: Tail | undefined): void {
    if (this.#state !== 'asking') return
    this.#state = 'appending'
    const { rules, records } = this.#options
    const length = (seen?.position ?? 0) - this.tail.position
    if (length < 0) {
      this.#fail('replaced')
      return
    }
    let end = this.#next
    let text = ''
    while (text.length < length && end < records.length) text += records[end++]
    const isOurs = text.length === length && (seen?.crc ?? '') === this.tail.crc + text
    const longest = Math.max(...this.#inDoubt.filter(this.#isAtTail).map(({ to }) => to))
    const isCovered = rules.settlesWholeChain || (seen?.position ?? 0) <= longest
    if (!isOurs || (length > 0 && !isCovered)) this.#fail('conflict', seen)
    else if (length > 0) this.#commit(this.key, seen!, end, true)
  }

  readonly #isAtTail = ({ from }: Attempt): boolean => from === this.tail.position

  #doubt({ attempt }: Link): void {
    if (!this.#inDoubt.includes(attempt)) this.#inDoubt.push(attempt)
  }

  #forget({ attempt }: Link): void {
    this.#inDoubt = this.#inDoubt.filter(each => each !== attempt)
  }

  #fail(code: Failure['code'], seen?: Tail): void {
    const { user, network } = this.#options
    network.abort(this.#requests())
    this.#state = 'ended'
    const inDoubt = this.#inDoubt.filter(({ key }) => key === this.key)
    const isShutOut = ({ from, to }: Attempt) =>
      code === 'conflict' && seen !== undefined && from < seen.position && seen.position < to
    const to = Math.max(...inDoubt.map(each => each.to))
    const isClear = inDoubt.every(isShutOut)
    user.onFailed({ code, unresolved: isClear ? undefined : { from: this.tail.position, to } })
  }
}

/** The object and the tail behind an attempt in flight. */
function endOf({ attempt, before }: Link): { readonly key: number; readonly tail: Tail } {
  return { key: attempt.key, tail: { position: attempt.to, crc: before.crc + attempt.text } }
}
