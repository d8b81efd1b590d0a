/**
 * RollingAppendStream: an OssAppendStream whose destination is a Roller. When a batch is sent, how the stream
 * ends and what holds the process is decided by OssAppendStream; which object a batch goes to, by the Roller.
 */

import type { AppenderOptions } from '../append/appender.ts'
import type { AppendInfo } from '../append/destination.ts'
import type { RetryInfo } from '../append/retry-loop.ts'
import type { StreamContext } from '../append/stream-context.ts'
import type { RecoverInfo } from '../journal/recover-info.ts'
import {
  OssAppendStream,
  type OssAppendStreamEvents,
  type ReadyInfo,
} from '../stream/append-stream.ts'
import type {
  AnyListener,
  EventName,
  Listener,
  OtherEvent,
  WritableEvents,
} from '../stream/event-types.ts'
import { internalsOf, withInternals } from '../stream/internals.ts'
import { type RollingAppendStreamOptions, resolveRollingOptions } from './options.ts'
import { Roller, type RollInfo } from './roller.ts'

export type { KeyFunction, KeyParts } from './key-pattern.ts'
export type { RollingAppendStreamOptions } from './options.ts'
export type { RollInfo } from './roller.ts'

/** The events of a RollingAppendStream besides a Writable's, and what their listeners are given. */
export interface RollingAppendStreamEvents extends OssAppendStreamEvents {
  /** An object was left, complete; the next one is in use. The last object has `'finish'` instead. */
  roll: [info: RollInfo]
}

/**
 * Opens an append stream to one object after another: the next one begins when the key of the present
 * time changes, or when the object has `maxBytes`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createRollingAppendStream(
  options: RollingAppendStreamOptions,
): RollingAppendStream {
  return new RollingAppendStream(options)
}

export interface RollingAppendStream {
  /** The tail is known: `{ position, crc64, exists }`. */
  on(event: 'ready', listener: (info: ReadyInfo) => void): this
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  on(event: 'append', listener: (info: AppendInfo) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  on(event: 'retry', listener: (info: RetryInfo) => void): this
  /** The journal of an earlier process is delivered: `bytes` of it were not in its object yet. */
  on(event: 'recover', listener: (info: RecoverInfo) => void): this
  /** An object was left, complete: `key` and `bytes` say which. The next one is in use. */
  on(event: 'roll', listener: (info: RollInfo) => void): this
  on<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  on<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  on<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  /** The tail is known: `{ position, crc64, exists }`. */
  once(event: 'ready', listener: (info: ReadyInfo) => void): this
  /** One append is acknowledged: its bytes are in the object, position and CRC agreed. */
  once(event: 'append', listener: (info: AppendInfo) => void): this
  /** An attempt failed: `error` says why. Another one follows after `delay` milliseconds. */
  once(event: 'retry', listener: (info: RetryInfo) => void): this
  /** The journal of an earlier process is delivered: `bytes` of it were not in its object yet. */
  once(event: 'recover', listener: (info: RecoverInfo) => void): this
  /** An object was left, complete: `key` and `bytes` say which. The next one is in use. */
  once(event: 'roll', listener: (info: RollInfo) => void): this
  once<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  once<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  once<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  off<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  off<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  off<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  addListener<E extends keyof WritableEvents>(event: E, listener: Listener<WritableEvents, E>): this
  addListener<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  addListener<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  removeListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  removeListener<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  removeListener<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  prependListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  prependListener<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  prependListener<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  prependOnceListener<E extends keyof WritableEvents>(
    event: E,
    listener: Listener<WritableEvents, E>,
  ): this
  prependOnceListener<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    listener: AnyListener,
  ): this
  prependOnceListener<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: Listener<RollingAppendStreamEvents, E>,
  ): this

  emit<E extends EventName>(
    event: OtherEvent<E, RollingAppendStreamEvents>,
    ...args: unknown[]
  ): boolean
  emit<E extends keyof RollingAppendStreamEvents>(
    event: E,
    ...args: RollingAppendStreamEvents[E]
  ): boolean
}

/**
 * An OssAppendStream whose bytes end up in one object after another, in order, once each, and no batch
 * in two of them. `key`, `position` and `crc64` are those of the object in use.
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: only methods that EventEmitter has are declared
export class RollingAppendStream extends OssAppendStream {
  /**
   * The same as `createRollingAppendStream`.
   *
   * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
   */
  constructor(options: RollingAppendStreamOptions) {
    const settings = resolveRollingOptions(options)
    const given = internalsOf(options)
    const { now = () => new Date() } = given
    const { nameKey, keyPattern, maxBytes, sealOnRoll, target } = settings
    const { bucket } = target
    const onRoll = (info: RollInfo) => process.nextTick(() => this.emit('roll', info))
    const createDestination = (objects: AppenderOptions, context: StreamContext) =>
      new Roller({ objects, bucket, nameKey, maxBytes, sealOnRoll, now, onRoll }, context)
    super(withInternals({ ...target }, { ...given, settings, keyPattern, createDestination }))
  }
}
