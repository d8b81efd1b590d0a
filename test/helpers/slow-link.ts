/**
 * A client over a link that some streams share, in virtual time. All attempts in flight get equal parts of its
 * rate. The deadline of an attempt is that of the real client, whose socket has taken the whole body at
 * once: 30 s, and 1 ms for each 64 bytes. What times out has used the link for nothing.
 */

import type {
  AppendRequest,
  AppendResult,
  Client,
  Target,
} from '../../lib/append/client-interface.ts'
import type { Timer } from '../../lib/clock.ts'
import { update } from '../../lib/crc64/index.ts'
import { OssError } from '../../lib/index.ts'
import type { VirtualClock } from './virtual-clock.ts'

const REQUEST_TIMEOUT = 30_000
/** Bytes per millisecond of deadline. */
const SLOWEST_LINK = 64

export interface SlowLinkOptions {
  /** Bytes per second. */
  readonly rate: number
  /** Milliseconds between the last byte and the response. */
  readonly roundTrip: number
  /** Bytes that a proxy accepts. Default: any. */
  readonly maxBytes?: number
}

interface Transfer {
  left: number
  readonly done: () => void
}

export class SlowLink implements Client {
  readonly sendsOnce = true
  readonly isSecure = true
  timeouts = 0
  refusals = 0
  /** Bytes that the link carried. */
  carried = 0
  readonly #clock: VirtualClock
  readonly #options: SlowLinkOptions
  readonly #transfers = new Set<Transfer>()
  readonly #tails = new Map<string, { position: number; crc: bigint }>()
  #updatedAt = 0
  #timer: Timer | undefined

  constructor(clock: VirtualClock, options: SlowLinkOptions) {
    this.#clock = clock
    this.#options = options
  }

  lengthOf(key: string): number | undefined {
    return this.#tails.get(key)?.position
  }

  async head(): Promise<null> {
    return null
  }

  append({ key }: Target, request: AppendRequest): Promise<AppendResult> {
    const { body, position, deadlineFactor = 1 } = request
    const { roundTrip, maxBytes = Infinity } = this.#options
    return new Promise((resolve, reject) => {
      if (body.length > maxBytes) {
        this.refusals += 1
        const refusal = new OssError('OSS_ERR_NETWORK', 'not from OSS: HTTP 413', { status: 413 })
        this.#clock.setTimeout(() => reject(refusal), roundTrip)
        return
      }
      const transfer: Transfer = {
        left: body.length,
        done: () => {
          this.#clock.clearTimeout(deadline)
          this.#clock.setTimeout(() => resolve(this.#land(key, position, body)), roundTrip)
        },
      }
      const expire = () => {
        this.timeouts += 1
        this.#update(() => this.#transfers.delete(transfer))
        reject(new OssError('OSS_ERR_TIMEOUT', 'no response'))
      }
      const delay = (REQUEST_TIMEOUT + body.length / SLOWEST_LINK) * deadlineFactor
      const deadline = this.#clock.setTimeout(expire, delay)
      this.#update(() => this.#transfers.add(transfer))
    })
  }

  async close(): Promise<void> {}

  #land(key: string, position: number, body: Uint8Array): AppendResult {
    const tail = this.#tails.get(key) ?? { position: 0, crc: 0n }
    if (tail.position !== position) throw new Error(`an append at ${position} of ${tail.position}`)
    const after = { position: position + body.length, crc: update(tail.crc, body) }
    this.#tails.set(key, after)
    return { position: after.position, crc64: String(after.crc), requestId: 'simulated' }
  }

  /** Moves all transfers on to the present time, changes them, and waits for the next one that is done. */
  #update(change: () => void): void {
    const { rate } = this.#options
    const now = this.#clock.now()
    const part = ((now - this.#updatedAt) / 1000) * (rate / Math.max(1, this.#transfers.size))
    this.#updatedAt = now
    for (const transfer of this.#transfers) {
      this.carried += Math.min(part, transfer.left)
      transfer.left -= part
    }
    change()
    for (const transfer of this.#transfers) {
      if (transfer.left > 0.001) continue
      this.#transfers.delete(transfer)
      transfer.done()
    }
    if (this.#timer) this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#transfers.size === 0) return
    const least = Math.min(...[...this.#transfers].map(({ left }) => left))
    const delay = (least / (rate / this.#transfers.size)) * 1000
    this.#timer = this.#clock.setTimeout(() => this.#update(() => {}), delay)
  }
}
