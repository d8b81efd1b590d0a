/**
 * What replaces an abort where there is a journal: at the end of the grace the bytes that were read go into the
 * journal, and the stream closes without an error. The next start delivers them.
 */

import { finished, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { OssAppendStream } from '../index.ts'
import type { StoppableSource } from './source.ts'

/**
 * Milliseconds in which the last stage hands its bytes to the stream. While the journal is full the stage waits for
 * OSS, which may be down: the bytes that are left then count as lost.
 */
const ACCEPT_TIMEOUT = 300

/** A pipeline into a stream with a journal. */
export interface JournaledPipeline {
  readonly source: StoppableSource
  /** In order; the last one is piped into the stream. */
  readonly stages: readonly NodeJS.ReadWriteStream[]
  readonly stream: OssAppendStream
  /** Aborted when the command has to end. */
  readonly signal: AbortSignal
}

/** Resolves to whether the stream was suspended: false if it finished. Rejects if it failed. */
export async function pipeOrSuspend(options: JournaledPipeline): Promise<boolean> {
  const { source, stages, stream, signal } = options
  const piped = pipeline([...stages, stream])
  // After `suspend()` it rejects, since the stream closes before its end.
  piped.catch(() => {})
  await Promise.race([piped, whenAborted(signal)])
  if (stream.writableFinished) return false
  source.stop()
  await whenRead(stages.at(-1) as NodeJS.ReadableStream)
  // A chunk that found no room fails the stream. The caller counts what is in the journal.
  await stream.suspend().catch(() => {})
  if (stream.writableFinished) return false
  return true
}

/** Resolves once. The listener does not outlive the command. */
function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Resolves when the stage has handed all its bytes to the stream, or after `ACCEPT_TIMEOUT`. */
function whenRead(stage: NodeJS.ReadableStream): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ACCEPT_TIMEOUT)
    const stopListening = finished(stage as Readable, { writable: false }, done)
    function done() {
      clearTimeout(timer)
      stopListening()
      resolve()
    }
  })
}
