/**
 * Destroys a stream when a signal is aborted. Streams that share a signal share one listener on it, since
 * Node 20 warns of more than 10.
 */

import { setMaxListeners } from 'node:events'
import { addAbortSignal, type Writable } from 'node:stream'

/** Aborts its own signal when the caller's one is aborted. */
interface Relay {
  readonly signal: AbortSignal
  /** Open streams. The listener on the caller's signal is removed with the last one. */
  streams: number
  readonly stop: () => void
}

const relays = new WeakMap<AbortSignal, Relay>()

export function destroyOnAbort(stream: Writable, signal: AbortSignal): void {
  if (signal.aborted) {
    addAbortSignal(signal, stream)
    return
  }
  const relay = relays.get(signal) ?? createRelay(signal)
  relay.streams += 1
  addAbortSignal(relay.signal, stream)
  stream.once('close', () => {
    relay.streams -= 1
    if (relay.streams === 0) relay.stop()
  })
}

function createRelay(signal: AbortSignal): Relay {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  const onAbort = () => controller.abort(signal.reason)
  signal.addEventListener('abort', onAbort)
  const stop = () => {
    signal.removeEventListener('abort', onAbort)
    relays.delete(signal)
  }
  const relay = { signal: controller.signal, streams: 0, stop }
  relays.set(signal, relay)
  return relay
}
