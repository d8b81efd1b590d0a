/**
 * Many streams on one client, for the quick and the slow tests of them: what the streams share stays
 * bounded, and nothing of them stays open.
 */

import { once } from 'node:events'
import type { Test } from 'tap'
import { createAppendStream, type OssAppendStream, OssClient } from '../../lib/index.ts'
import type { Fault, OssServer } from '../../lib/server/index.ts'
import { BUCKET, networkOptions, startOss, waitUntil } from '../helpers/test-oss.ts'

/** The exchanges that a client has in flight at once, as its documentation says. */
export const MAX_IN_FLIGHT = 64

export interface StreamGroup {
  readonly client: OssClient
  readonly warnings: Error[]
  /** The most connections that the server saw open at once. */
  maxConnections: number
  /** The most calls of the credentials provider that ran at once. */
  maxCalls: number
  open(key: string): OssAppendStream
}

/** Creates a client with a credentials provider. Its streams are opened by `open()`. */
export function createStreamGroup(t: Test, server: OssServer): StreamGroup {
  let calls = 0
  const credentials = async () => {
    group.maxCalls = Math.max(group.maxCalls, ++calls)
    await new Promise(setImmediate)
    calls -= 1
    return server.credentials
  }
  const client = new OssClient({ ...networkOptions(server), credentials })
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.removeListener('warning', onWarning))
  const countConnections = () => {
    group.maxConnections = Math.max(group.maxConnections, server.openConnections)
  }
  const group: StreamGroup = {
    client,
    warnings,
    maxConnections: 0,
    maxCalls: 0,
    open: key => {
      const retry = { minDelay: 1, maxDelay: 20 }
      const stream = createAppendStream({ bucket: BUCKET, key, client, retry })
      return stream.on('append', countConnections).on('ready', countConnections)
    },
  }
  return group
}

export const keyOf = (n: number) => `many/${n}.log`
const lineOf = (n: number, round: number) => `stream ${n}, round ${round}\n`

/** Writes one line per round, waits until each is acknowledged, and ends the stream. */
export async function writeLines(
  stream: OssAppendStream,
  n: number,
  rounds: number,
): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    stream.write(lineOf(n, round))
    await stream.flush()
  }
  stream.end()
  await once(stream, 'close')
}

/** The lines of stream `n`. */
export function contentOf(n: number, rounds: number): string {
  return Array.from({ length: rounds }, (_, i) => lineOf(n, i + 1)).join('')
}

/** Writes lines to many streams at once. `faults` are those of stream `n`. */
export async function checkManyStreams(
  t: Test,
  { streams, rounds, faults }: ManyStreams,
): Promise<void> {
  const { server } = await startOss(t)
  const numbers = Array.from({ length: streams }, (_, n) => n)
  server.faults.push(...numbers.flatMap(n => faults?.(n) ?? []))
  const group = createStreamGroup(t, server)
  await Promise.all(numbers.map(n => writeLines(group.open(keyOf(n)), n, rounds)))
  const wrong = numbers.filter(
    n => server.read(BUCKET, keyOf(n))?.toString() !== contentOf(n, rounds),
  )
  t.same(wrong, [], 'each object holds each of its lines once')
  t.same(group.warnings, [], 'no warning')
  t.equal(group.maxCalls, 1, 'one call of the provider at a time')
  t.comment(`${group.maxConnections} connections at most, ${server.connections} in all`)
  t.ok(group.maxConnections <= MAX_IN_FLIGHT, `${group.maxConnections} connections at most`)
  t.equal(server.faults.length, 0, 'all faults struck')
  if (!faults) t.ok(server.connections <= MAX_IN_FLIGHT, 'connections are used again')
  await group.client.close()
  await waitUntil(() => server.openConnections === 0)
  await waitUntil(() => !process.getActiveResourcesInfo().some(isOurs))
  t.pass('no timer and no socket stays open')
}

export interface ManyStreams {
  readonly streams: number
  /** Appends per stream. */
  readonly rounds: number
  readonly faults?: (n: number) => Fault[]
}

function isOurs(name: string): boolean {
  return name === 'Timeout' || name === 'TCPSocketWrap'
}
