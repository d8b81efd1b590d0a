/**
 * RollingAppendStream: the same Writable face over one object after another. What is written, when a
 * batch leaves, how it ends and who holds the process is all the plain stream's; which object a batch
 * goes to is the roller's.
 */

import { OssAppendStream, type OssAppendStreamEvents } from '../stream/append-stream.ts'
import type { Emit, Listen } from '../stream/event-types.ts'
import {
  type RollingAppendStreamOptions,
  type RollingSettings,
  resolveRollingOptions,
} from './options.ts'
import { Roller, type RollInfo } from './roller.ts'

export type { KeyFunction, KeyParts } from './key-pattern.ts'
export type { RollingAppendStreamOptions } from './options.ts'
export type { RollInfo } from './roller.ts'

/** The events of a RollingAppendStream besides a Writable's, and what their listeners are given. */
export interface RollingAppendStreamEvents extends OssAppendStreamEvents {
  /** An object was left, complete; the next is in use. Not told of the last one: that is `'finish'`. */
  roll: [info: RollInfo]
}

/**
 * Opens an append stream to one object after another: a new one when the key of the present changes, or
 * the object has `maxBytes`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createRollingAppendStream(
  options: RollingAppendStreamOptions,
): RollingAppendStream {
  return new RollingAppendStream(resolveRollingOptions(options))
}

/**
 * An OssAppendStream whose bytes end up in one object after another, in order, once each, and no batch
 * in two of them. `key`, `position` and `crc64` are those of the object in use. Made by
 * `createRollingAppendStream`.
 */
export class RollingAppendStream extends OssAppendStream {
  declare readonly on: Listen<RollingAppendStreamEvents, this>
  declare readonly once: Listen<RollingAppendStreamEvents, this>
  declare readonly off: Listen<RollingAppendStreamEvents, this>
  declare readonly addListener: Listen<RollingAppendStreamEvents, this>
  declare readonly removeListener: Listen<RollingAppendStreamEvents, this>
  declare readonly prependListener: Listen<RollingAppendStreamEvents, this>
  declare readonly prependOnceListener: Listen<RollingAppendStreamEvents, this>
  declare readonly emit: Emit<RollingAppendStreamEvents>

  readonly #roller: Roller

  /** `now`: the wall clock, by which keys are asked for. */
  constructor(settings: RollingSettings, now: () => Date = () => new Date()) {
    let roller: Roller | undefined
    super(settings, options => {
      const { bucket } = settings.target
      const { nameKey, maxBytes, highWaterMark, sealOnRoll } = settings
      const onRoll = (info: RollInfo) => process.nextTick(() => this.emit('roll', info))
      const rollingOptions = { bucket, nameKey, maxBytes, highWaterMark, sealOnRoll, now, onRoll }
      roller = new Roller({ ...options, ...rollingOptions })
      return roller
    })
    this.#roller = roller as Roller
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    super._destroy(error, reason => {
      // The look-out for the next object may take a moment longer to end than the batch.
      void this.#roller.whenIdle().then(() => callback(reason))
    })
  }
}
