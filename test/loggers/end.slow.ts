/**
 * The end of a logger while its stream waits for the next attempt. The end cuts the wait short, because the wait may
 * outlast `closeTimeout` while the server is back already.
 */

import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import {
  createTransport,
  type PinoTransport,
  type TransportOptions,
} from '../../lib/loggers/pino.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, nextEvent, startOss } from '../helpers/test-oss.ts'

/** A transport whose wait after a failed attempt is far longer than its end may take: then it gives records up. */
async function setUp(t: Test, options: Partial<TransportOptions> = {}) {
  const { server, newKey } = await startOss(t)
  captureStderr(t)
  const key = newKey()
  const open = () => {
    const transport = createTransport({
      bucket: BUCKET,
      key,
      ...networkOptions(server),
      retry: { minDelay: 600_000, maxDelay: 600_000 },
      flushInterval: 5,
      closeTimeout: 60_000,
      ...options,
    })
    t.teardown(() => transport.destroy())
    return transport
  }
  return { server, open, numbers: () => parseRecords(server.read(BUCKET, key)).numbers }
}

function write(transport: PinoTransport, from: number, to: number): void {
  for (let n = from; n < to; n++) transport.write(`{"n":${n}}\n`)
}

function end(transport: PinoTransport): Promise<void> {
  return new Promise(resolve => transport.end(resolve))
}

const numbersUpTo = (count: number) => Array.from({ length: count }, (_, n) => n)

// records that wait, options -> the end delivers them
for (const [title, count, options] of [
  ['the record of the failed append', 2, {}],
  ['more records than the stream has room for', 2000, { highWaterMark: 1024 }],
] as [string, number, Partial<TransportOptions>][]) {
  t.test(`the end of a logger cuts a wait short, and delivers ${title}`, async t => {
    const { server, open, numbers } = await setUp(t, options)
    const transport = open()
    write(transport, 0, 1)
    await transport.flush()
    server.refuse()
    write(transport, 1, count)
    await nextEvent(transport, 'retry')
    await server.listen()
    await end(transport)
    t.same(numbers(), numbersUpTo(count))
    t.equal(transport.failed, undefined)
  })
}

t.test('the end of a logger cuts the wait for the first attempt short', async t => {
  const { server, open, numbers } = await setUp(t)
  server.refuse()
  const transport = open()
  write(transport, 0, 2)
  await nextEvent(transport, 'retry')
  await server.listen()
  await end(transport)
  t.same(numbers(), [0, 1])
  t.equal(transport.failed, undefined)
})

t.test('a logger that ends tries about once a second until its server is back', async t => {
  const { server, open, numbers } = await setUp(t)
  const transport = open()
  write(transport, 0, 1)
  await transport.flush()
  server.refuse()
  write(transport, 1, 2)
  await nextEvent(transport, 'retry')
  const ended = end(transport)
  for (let retry = 1; retry <= 2; retry++) {
    const { delay } = (await nextEvent(transport, 'retry')) as RetryInfo
    t.ok(delay <= 1000, `retry ${retry} after ${delay} ms`)
  }
  await server.listen()
  await ended
  t.same(numbers(), [0, 1])
  t.equal(transport.failed, undefined)
})

t.test('flush() of a logger does not cut a wait short', async t => {
  const { server, open, numbers } = await setUp(t, { closeTimeout: 0 })
  const transport = open()
  write(transport, 0, 1)
  await transport.flush()
  server.refuse()
  write(transport, 1, 2)
  await nextEvent(transport, 'retry')
  await server.listen()
  transport.flush().catch(() => {})
  await wait(300)
  t.same(numbers(), [0])
  transport.destroy()
})
