/**
 * Many streams on one client: what they share stays bounded, none waits for another, and nothing is
 * left of them. `npm run test:full` gives each of them more to do, through a bad network.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createAppendStream, type OssAppendStream, OssClient } from '../../lib/index.ts'
import type { OssServer } from '../../lib/server/index.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { BUCKET, networkOptions, startOss, waitUntil } from '../helpers/test-oss.ts'

const STREAMS = 1_000
/** Exchanges that a client has in flight at once, as its documentation says. */
const PLACES = 64

interface Crowd {
  readonly client: OssClient
  readonly warnings: Error[]
  /** The most connections that were open at once, as far as the server saw. */
  mostConnections: number
  /** The most calls of the credentials provider that ran at once. */
  mostCalls: number
  open(key: string): OssAppendStream
}

/** Streams that share a client, with its provider. */
function createCrowd(t: Test, server: OssServer): Crowd {
  let calls = 0
  const credentials = async () => {
    crowd.mostCalls = Math.max(crowd.mostCalls, ++calls)
    await new Promise(setImmediate)
    calls -= 1
    return server.credentials
  }
  const client = new OssClient({ ...networkOptions(server), credentials })
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  t.teardown(() => process.removeListener('warning', onWarning))
  const look = () => {
    crowd.mostConnections = Math.max(crowd.mostConnections, server.openConnections)
  }
  const crowd: Crowd = {
    client,
    warnings,
    mostConnections: 0,
    mostCalls: 0,
    open: key => {
      const retry = { minDelay: 1, maxDelay: 20 }
      const stream = createAppendStream({ bucket: BUCKET, key, client, retry })
      return stream.on('append', look).on('ready', look)
    },
  }
  return crowd
}

const keyOf = (n: number) => `crowd/${n}.log`
const lineOf = (n: number, round: number) => `stream ${n}, round ${round}\n`

/** Writes so many lines, each durable before the next, and ends. */
async function report(stream: OssAppendStream, n: number, rounds: number): Promise<void> {
  for (let round = 1; round <= rounds; round++) {
    stream.write(lineOf(n, round))
    await stream.flush()
  }
  stream.end()
  await once(stream, 'close')
}

function contentOf(n: number, rounds: number): string {
  return Array.from({ length: rounds }, (_, i) => lineOf(n, i + 1)).join('')
}

t.test(`${STREAMS} streams on one client`, async t => {
  const { server } = await startOss(t)
  const rounds = runsLongTests('20 appends of each stream, some of them through faults') ? 20 : 1
  if (rounds > 1) {
    for (let n = 0; n < STREAMS; n += 5) {
      const scope = { key: keyOf(n), times: 2 }
      server.faults.push(
        { kind: 'reset', when: 'middle', ...scope, skip: 2 },
        { kind: 'lost', how: 'reset', ...scope, skip: 5 },
        { kind: 'status', status: 503, code: 'TotalQpsLimitExceeded', ...scope, skip: 9 },
      )
    }
  }
  const faults = server.faults.length * 2
  const crowd = createCrowd(t, server)
  const numbers = Array.from({ length: STREAMS }, (_, n) => n)
  await Promise.all(numbers.map(n => report(crowd.open(keyOf(n)), n, rounds)))
  const wrong = numbers.filter(
    n => server.read(BUCKET, keyOf(n))?.toString() !== contentOf(n, rounds),
  )
  t.same(wrong, [], 'all that was acknowledged is there, once')
  t.same(crowd.warnings, [], 'no warning')
  t.equal(crowd.mostCalls, 1, 'one call of the provider at a time')
  t.comment(`${crowd.mostConnections} connections at most, ${server.connections} in all`)
  t.ok(crowd.mostConnections <= PLACES, `${crowd.mostConnections} connections at most`)
  t.equal(server.faults.length, 0, `all ${faults} faults came`)
  if (faults === 0) t.ok(server.connections <= PLACES, 'and they serve all, one after another')
  await crowd.client.close()
  await waitUntil(() => server.openConnections === 0)
  await waitUntil(() => !process.getActiveResourcesInfo().some(isOurs))
  t.pass('nothing is alive')
})

function isOurs(name: string): boolean {
  return name === 'Timeout' || name === 'TCPSocketWrap'
}

t.test('a stream that stalls holds up no other', async t => {
  const { server } = await startOss(t)
  const crowd = createCrowd(t, server)
  // All places but one are taken by those that stall.
  const stalled = Array.from({ length: PLACES - 1 }, (_, n) => {
    server.faults.push({ kind: 'lost', how: 'hang', key: keyOf(n) })
    return crowd.open(keyOf(n))
  })
  for (const stream of stalled) stream.end('x')
  await waitUntil(() => server.faults.length === 0)
  const others = Array.from({ length: 100 }, (_, i) => PLACES + i)
  await Promise.all(others.map(n => report(crowd.open(keyOf(n)), n, 2)))
  for (const n of others) t.equal(server.read(BUCKET, keyOf(n))?.toString(), contentOf(n, 2))
  t.ok(
    stalled.every(({ bytesWritten, destroyed }) => bytesWritten === 0 && !destroyed),
    'and they still stall',
  )
  for (const stream of stalled) {
    stream.destroy()
    await t.rejects(once(stream, 'close'), { code: 'OSS_ERR_ABORTED', unresolved: { length: 1 } })
  }
  await crowd.client.close()
})

/** Counts the connections of this process to others, or to itself. */
function watchSockets(t: Test): { open: number; most: number } {
  const count = { open: 0, most: 0 }
  const add = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    count.most = Math.max(count.most, ++count.open)
    socket.once('close', () => {
      count.open -= 1
    })
  }
  subscribe('net.client.socket', add)
  t.teardown(() => unsubscribe('net.client.socket', add))
  return count
}

t.test('when all places stall, their deadlines free them', async t => {
  const { server } = await startOss(t)
  const sockets = watchSockets(t)
  const client = new OssClient({ ...networkOptions(server), requestTimeout: 500 })
  const retry = { minDelay: 1, maxDelay: 20 }
  const open = (n: number) => createAppendStream({ bucket: BUCKET, key: keyOf(n), client, retry })
  const numbers = Array.from({ length: PLACES + 20 }, (_, n) => n)
  for (const n of numbers.slice(0, PLACES)) {
    server.faults.push({ kind: 'lost', how: 'hang', key: keyOf(n) })
  }
  await Promise.all(numbers.map(n => report(open(n), n, 1)))
  for (const n of numbers) t.equal(server.read(BUCKET, keyOf(n))?.toString(), contentOf(n, 1))
  t.equal(server.faults.length, 0, 'all of them stalled')
  t.ok(sockets.most <= PLACES, `${sockets.most} connections at most`)
  await client.close()
})

t.test('who waits for a place', async t => {
  const { server } = await startOss(t)
  const client = new OssClient(networkOptions(server))
  const open = (key: string) =>
    createAppendStream({ bucket: BUCKET, key, client, position: 0, retry: { maxRetries: 0 } })
  server.faults.push({ kind: 'lost', how: 'hang', times: PLACES })
  const inside = Array.from({ length: PLACES }, (_, n) => open(keyOf(n)))
  for (const stream of inside) stream.end('x').on('error', () => {})
  await waitUntil(() => server.faults.length === 0)
  const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()

  t.test('uses up none of his time', async t => {
    const waiting = open('waits')
    waiting.end('x')
    await new Promise(setImmediate)
    t.equal(timers(), before, 'no deadline runs yet')
    inside[0]?.destroy()
    await once(waiting, 'close')
    t.equal(server.read(BUCKET, 'waits')?.toString(), 'x')
    server.faults.push({ kind: 'lost', how: 'hang' })
    inside.push(open('another').on('error', () => {}))
    inside.at(-1)?.end('x')
    await waitUntil(() => server.faults.length === 0)
  })

  t.test('may leave', async t => {
    const waiting = open('leaves')
    waiting.end('x')
    await new Promise(setImmediate)
    waiting.destroy()
    await t.rejects(once(waiting, 'close'), { code: 'OSS_ERR_ABORTED' })
    await new Promise(setImmediate)
    t.notOk(server.stat(BUCKET, 'leaves'), 'and nothing of his is sent')
  })

  t.test('is told that the client is closed', async t => {
    const waiting = open('closed')
    waiting.end('x')
    await new Promise(setImmediate)
    const told = t.rejects(once(waiting, 'close'), { code: 'OSS_ERR_ABORTED' })
    await client.close()
    await told
    t.notOk(server.stat(BUCKET, 'closed'))
  })
})
