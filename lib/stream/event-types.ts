/**
 * Types of a stream's events and callbacks. A class declares `on()` and its like in an interface that is
 * merged with it, so that a subclass can override them. The overload of the stream's own events
 * comes last, since TypeScript's error for a wrong listener quotes the last one.
 */

import type { Readable, Writable } from 'node:stream'

/** What a write, `_final()` and `close()` call when they are done, with the error if they failed. */
export type WriteCallback = (error?: Error | null) => void

/** A chunk, as Node passes it to `_writev()`. */
export type WrittenChunk = { readonly chunk: Buffer | string; readonly encoding: BufferEncoding }

/** The events of every Writable, and what their listeners are given. */
export interface WritableEvents {
  close: []
  drain: []
  error: [error: Error]
  finish: []
  pipe: [source: Readable]
  unpipe: [source: Readable]
}

export type EventName = string | symbol

/** The listener of one of these events. */
export type Listener<Events extends Record<E, unknown[]>, E extends keyof Events> = (
  ...args: Events[E]
) => void

/** Any event but these: otherwise a listener that does not fit its event would pass as that of another event. */
export type OtherEvent<E, Events> = E extends keyof Events ? never : E

/** What Node takes as the listener of an event that it does not know. */
export type AnyListener = Parameters<Writable['on']>[1]
