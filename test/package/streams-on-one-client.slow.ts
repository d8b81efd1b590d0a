/** Streams on one client do not wait for each other longer than the limit of exchanges in flight makes them. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createAppendStream, OssClient } from '../../lib/index.ts'
import { BUCKET, networkOptions, startOss, waitUntil } from '../helpers/test-oss.ts'
import {
  checkManyStreams,
  contentOf,
  createStreamGroup,
  keyOf,
  MAX_IN_FLIGHT,
  writeLines,
} from './stream-group.ts'

t.test('200 streams share one client', async t => {
  await checkManyStreams(t, { streams: 200, rounds: 1 })
})

t.test('a stream that stalls does not delay the others', async t => {
  const { server } = await startOss(t)
  const group = createStreamGroup(t, server)
  // The stalled streams leave one exchange to all others.
  const stalled = Array.from({ length: MAX_IN_FLIGHT - 1 }, (_, n) => {
    server.faults.push({ kind: 'lost', how: 'hang', key: keyOf(n) })
    return group.open(keyOf(n))
  })
  for (const stream of stalled) stream.end('x')
  await waitUntil(() => server.faults.length === 0)
  const others = Array.from({ length: 100 }, (_, i) => MAX_IN_FLIGHT + i)
  await Promise.all(others.map(n => writeLines(group.open(keyOf(n)), n, 2)))
  for (const n of others) t.equal(server.read(BUCKET, keyOf(n))?.toString(), contentOf(n, 2))
  t.ok(
    stalled.every(({ bytesWritten, destroyed }) => bytesWritten === 0 && !destroyed),
    'the stalled streams still wait',
  )
  for (const stream of stalled) {
    stream.destroy()
    await t.rejects(once(stream, 'close'), { code: 'OSS_ERR_ABORTED', unresolved: { length: 1 } })
  }
  await group.client.close()
})

/** Counts the open sockets that this process has connected. */
function countSockets(t: Test): { open: number; max: number } {
  const count = { open: 0, max: 0 }
  const onSocket = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    count.max = Math.max(count.max, ++count.open)
    socket.once('close', () => {
      count.open -= 1
    })
  }
  subscribe('net.client.socket', onSocket)
  t.teardown(() => unsubscribe('net.client.socket', onSocket))
  return count
}

t.test('requestTimeout frees the client when all its exchanges stall', async t => {
  const { server } = await startOss(t)
  const sockets = countSockets(t)
  const client = new OssClient({ ...networkOptions(server), requestTimeout: 500 })
  const retry = { minDelay: 1, maxDelay: 20 }
  const open = (n: number) => createAppendStream({ bucket: BUCKET, key: keyOf(n), client, retry })
  const numbers = Array.from({ length: MAX_IN_FLIGHT + 20 }, (_, n) => n)
  for (const n of numbers.slice(0, MAX_IN_FLIGHT)) {
    server.faults.push({ kind: 'lost', how: 'hang', key: keyOf(n) })
  }
  await Promise.all(numbers.map(n => writeLines(open(n), n, 1)))
  for (const n of numbers) t.equal(server.read(BUCKET, keyOf(n))?.toString(), contentOf(n, 1))
  t.equal(server.faults.length, 0, 'all of them stalled')
  t.ok(sockets.max <= MAX_IN_FLIGHT, `${sockets.max} connections at most`)
  await client.close()
})

t.test('a stream that waits for a free exchange', async t => {
  const { server } = await startOss(t)
  const client = new OssClient(networkOptions(server))
  const open = (key: string) =>
    createAppendStream({ bucket: BUCKET, key, client, position: 0, retry: { maxRetries: 0 } })
  server.faults.push({ kind: 'lost', how: 'hang', times: MAX_IN_FLIGHT })
  const inFlight = Array.from({ length: MAX_IN_FLIGHT }, (_, n) => open(keyOf(n)))
  for (const stream of inFlight) stream.end('x').on('error', () => {})
  await waitUntil(() => server.faults.length === 0)
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()

  t.test('the deadline of a waiting stream does not run', async t => {
    const waiting = open('waits')
    waiting.end('x')
    await new Promise(setImmediate)
    t.equal(timers(), before)
    inFlight[0]?.destroy()
    await once(waiting, 'close')
    t.equal(server.read(BUCKET, 'waits')?.toString(), 'x')
    server.faults.push({ kind: 'lost', how: 'hang' })
    inFlight.push(open('another').on('error', () => {}))
    inFlight.at(-1)?.end('x')
    await waitUntil(() => server.faults.length === 0)
  })

  t.test('a waiting stream that is destroyed sends nothing', async t => {
    const waiting = open('destroyed')
    waiting.end('x')
    await new Promise(setImmediate)
    waiting.destroy()
    await t.rejects(once(waiting, 'close'), { code: 'OSS_ERR_ABORTED' })
    await new Promise(setImmediate)
    t.notOk(server.stat(BUCKET, 'destroyed'))
  })

  t.test('a waiting stream fails when its client closes', async t => {
    const waiting = open('closed')
    waiting.end('x')
    await new Promise(setImmediate)
    const failed = t.rejects(once(waiting, 'close'), { code: 'OSS_ERR_ABORTED' })
    await client.close()
    await failed
    t.notOk(server.stat(BUCKET, 'closed'))
  })
})
