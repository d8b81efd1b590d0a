/**
 * The types of a stream's `on`, `emit` and their like: they know the stream's own events and what each
 * carries. Node's events, and any other name, are as in Node. Types alone: nothing here runs.
 */

import type { Readable, Writable } from 'node:stream'

/** `on`, `once`, `off` and their like, which return the stream. */
export interface Listen<Events extends Carried<Events>, Stream> {
  <E extends keyof Events>(event: E, listener: (...args: Events[E]) => void): Stream
  <E extends keyof WritableEvents>(event: E, listener: (...args: WritableEvents[E]) => void): Stream
  <E extends string | symbol>(event: Other<E, Events>, listener: AnyListener): Stream
}

/** `emit`. */
export interface Emit<Events extends Carried<Events>> {
  <E extends keyof Events>(event: E, ...args: Events[E]): boolean
  <E extends string | symbol>(event: Other<E, Events>, ...args: unknown[]): boolean
}

type Carried<Events> = Record<keyof Events, unknown[]>

/** The events that every Writable has. */
interface WritableEvents {
  close: []
  drain: []
  error: [error: Error]
  finish: []
  pipe: [source: Readable]
  unpipe: [source: Readable]
}

/** Any name but these: else a listener that does not fit its event would pass for another's. */
type Other<E, Events> = E extends keyof Events ? never : E

/** What Node takes as the listener of an event that it does not know. */
type AnyListener = Parameters<Writable['on']>[1]
