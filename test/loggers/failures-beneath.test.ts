/**
 * Failures of what a logger builds on: clients and dispatchers of the caller, memory. No record may be in the object
 * twice, and each record that is missing must be reported.
 */

import { pino } from 'pino'
import t, { type Test } from 'tap'
import { Agent, RetryAgent } from 'undici'
import type { AppendRequest, AppendResult, Target } from '../../lib/append/client-interface.ts'
import { OssClient } from '../../lib/index.ts'
import {
  createTransport,
  type PinoTransport,
  type TransportOptions,
} from '../../lib/loggers/pino.ts'
import { captureStderr } from '../helpers/capture-stderr.ts'
import { checkRecords, parseLossReports, parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, networkOptions, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/** A transport to a new object, and what a test counts. */
async function setUp(t: Test, more: (oss: Oss) => Partial<TransportOptions> = () => ({})) {
  const oss = await startOss(t)
  const stderr = captureStderr(t)
  const key = oss.newKey()
  const options = { retry: { minDelay: 1, maxDelay: 5 }, flushInterval: 5, closeTimeout: 3000 }
  const own = more(oss)
  const network = own.client ? {} : networkOptions(oss.server)
  const transport = createTransport({ bucket: BUCKET, key, ...network, ...options, ...own })
  const warnings: (Error & { code?: string })[] = []
  transport.on('warn', warning => warnings.push(warning))
  t.teardown(() => transport.destroy())
  return {
    oss,
    transport,
    warnings,
    stored: () => parseRecords(oss.server.read(BUCKET, key)),
    /** Ends the transport, and checks that each record is there once or reported. */
    async endAndCheck(total: number) {
      await end(transport)
      const reports = parseLossReports(stderr.join(''))
      return checkRecords(t, total, parseRecords(oss.server.read(BUCKET, key)), reports)
    },
  }
}

function end(transport: PinoTransport): Promise<void> {
  return new Promise(resolve => transport.end(resolve))
}

const record = (n: number) => `{"n":${n}}\n`

t.test('a client that throws a foreign error after an append landed doubles no record', async t => {
  class FetchLikeClient extends OssClient {
    appends = 0
    override async append(target: Target, request: AppendRequest): Promise<AppendResult> {
      const result = await super.append(target, request)
      if (this.appends++ === 1) throw new TypeError('fetch failed')
      return result
    }
  }
  let client: FetchLikeClient | undefined
  const { transport, endAndCheck } = await setUp(t, ({ server }) => {
    client = new FetchLikeClient(networkOptions(server))
    return { client }
  })
  t.teardown(() => client?.close())
  for (let n = 0; n < 4; n++) {
    transport.write(record(n))
    await transport.flush().catch(() => {})
  }
  await endAndCheck(4)
})

t.test('a RetryAgent beneath that loses the reply of an append doubles no record', async t => {
  const dispatcher = new RetryAgent(new Agent(), {
    methods: ['POST', 'HEAD', 'GET'],
    ...{ maxRetries: 2, minTimeout: 50, maxTimeout: 50 },
  })
  t.teardown(() => dispatcher.destroy())
  const { oss, transport, stored, endAndCheck } = await setUp(t, () => ({
    dispatcher,
    retry: { maxRetries: 0 },
  }))
  await waitUntil(() => oss.server.requests.length > 0)
  // The append lands, its reply is lost, and each retry of the RetryAgent gets ECONNREFUSED.
  oss.server.faults.push({ kind: 'lost', how: 'reset' })
  transport.write(record(0))
  await waitUntil(() => stored().numbers.length > 0)
  oss.server.refuse(1000)
  await transport.flush().catch(() => {})
  transport.write(record(1))
  await endAndCheck(2)
})

/** Makes the next allocations of batch buffers fail, as V8 does under memory pressure. */
function failAllocations(t: Test, count: number): () => number {
  const { allocUnsafeSlow } = Buffer
  let remaining = count
  Buffer.allocUnsafeSlow = (size: number) => {
    if (remaining === 0) return allocUnsafeSlow(size)
    remaining--
    throw new RangeError('Array buffer allocation failed')
  }
  t.teardown(() => {
    Buffer.allocUnsafeSlow = allocUnsafeSlow
  })
  return () => remaining
}

t.test('after an allocation that fails once a new stream delivers all records', async t => {
  const { oss, transport, warnings, endAndCheck } = await setUp(t)
  await waitUntil(() => oss.server.requests.length > 0)
  const remaining = failAllocations(t, 1)
  transport.write(record(0))
  await waitUntil(() => remaining() === 0)
  for (let n = 1; n < 5; n++) transport.write(record(n))
  await transport.flush()
  t.equal(warnings.length, 1)
  const { reported } = await endAndCheck(5)
  t.equal(reported, 0)
})

t.test('an allocation that fails while an append is in flight doubles no record', async t => {
  const { oss, transport, endAndCheck } = await setUp(t, () => ({ highWaterMark: 65_536 }))
  transport.write(record(0))
  await transport.flush()
  // The append lands at once, and its reply comes after the allocation has failed.
  oss.server.latency = 100
  transport.write(record(1))
  await waitUntil(
    () => oss.server.requests.filter(({ operation }) => operation === 'append').length === 2,
  )
  failAllocations(t, 1)
  const text = (n: number) => `{"n":${n},"text":"${'x'.repeat(1000)}"}\n`
  for (let n = 2; n < 150; n++) transport.write(text(n))
  await transport.flush().catch(() => {})
  await endAndCheck(150)
})

t.test('a pino backlog larger than the body limit of a proxy is delivered', async t => {
  const { oss, transport, warnings, stored, endAndCheck } = await setUp(t, ({ server }) => {
    server.faults.push({ kind: 'tooLarge', maxBytes: 1 << 20, times: Infinity })
    return { closeTimeout: 60_000 }
  })
  const logger = pino({ base: null, timestamp: false }, transport)
  const filler = 'x'.repeat(1000)
  // One turn of the event loop: all of it waits when the first batch leaves.
  for (let n = 0; n < 5000; n++) logger.info({ n, filler })
  await endAndCheck(5000)
  t.equal(stored().numbers.length, 5000)
  t.same(warnings, [])
  const refusals = oss.server.requests.filter(({ status }) => status === 413).length
  t.ok(refusals > 0 && refusals <= 4, `${refusals} 413s`)
})
