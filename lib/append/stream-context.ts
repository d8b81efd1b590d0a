/** What the objects of one stream share: the retry loop, the size of attempts, and what is known of permissions. */

import type { Clock } from '../clock.ts'
import { AttemptSize } from './attempt-size.ts'
import { RetryLoop, type RetryLoopOptions } from './retry-loop.ts'
import { WinnerPause } from './winner-pause.ts'

export interface StreamContextOptions extends RetryLoopOptions {
  readonly clock: Clock
  /** Bytes that an attempt has at most, unless one record is longer. */
  readonly highWaterMark: number
  /** Bytes of the least size of attempts. Undefined: that of AttemptSize. Only tests set it. */
  readonly attemptFloor?: number | undefined
}

export class StreamContext {
  readonly retryLoop: RetryLoop
  readonly attemptSize: AttemptSize
  readonly winnerPause: WinnerPause
  /** OSS has refused the last HEAD: a policy, or a token that has expired. */
  isReadForbidden = false
  /** The number of the journal's slot, once it is known. */
  slot: number | undefined

  constructor(options: StreamContextOptions) {
    this.retryLoop = new RetryLoop(options)
    this.attemptSize = new AttemptSize(options.highWaterMark, options.attemptFloor)
    this.winnerPause = new WinnerPause(options.clock)
  }
}
