/**
 * Appends the same buffer to a new object many times: with a bare undici loop, with ali-oss, with our stream.
 * Parameters: `{ contender, batch, total, streams, warmUp, tls, options, sink }`, sizes in bytes.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import OSS from 'ali-oss'
import { Agent, Client } from 'undici'
import { update } from '../../dist/crc64/index.js'
import { feed } from './feed.js'
import { createClient, createStream, IDENTITY } from './ours.js'

/** Bytes. Copied and summed in one turn of the event loop. */
const PIECE = 524_288

/** Bytes of an append, at most, by which V8 is made to compile a client. */
const WARM_UP_BYTES = 1_048_576

let objects = 0
const contenders = { undici, 'undici-copy': undiciCopy, 'ali-oss': aliOss, ours }

export async function open(params) {
  const bytes = Buffer.alloc(params.batch)
  for (let i = 0; i + 4 <= bytes.length; i += 4) bytes.writeInt32LE(Math.imul(i, 0x9e3779b1), i)
  const { streams = 1, total, batch, warmUp = 0 } = params
  const contender = contenders[params.contender]
  const run = contender(params, bytes, total / streams / batch)
  let isWarm = warmUp === 0
  return async () => {
    // The first turn of a case does not count.
    if (!isWarm) await contender(params, bytes.subarray(0, WARM_UP_BYTES), warmUp)(1)
    isWarm = true
    return { bytes: total, appends: total / batch, ...(await run(streams)) }
  }
}

/** The upper limit: the same requests without a stream and without checks. */
function undici({ sink, tls = false, isSingle = false }, bytes, count) {
  const origin = tls ? `https://127.0.0.1:${sink.tlsPort}` : `http://127.0.0.1:${sink.port}`
  const agent = isSingle ? new Client(origin) : new Agent({ connect: { ca: sink.ca } })
  const loop = async () => {
    const name = `/benchmark/${process.pid}-${++objects}`
    for (let i = 0; i < count; i++) {
      const path = `${name}?append&position=${i * bytes.length}`
      const response = await agent.request({ origin, path, method: 'POST', body: bytes })
      if (response.statusCode !== 200) throw new Error(`the sink responds ${response.statusCode}`)
      await response.body.dump()
    }
  }
  return async streams => {
    await Promise.all(Array.from({ length: streams }, loop))
  }
}

/**
 * The bound for a client that accepts bytes before they are sent, and checks their CRC: the same requests, where
 * each batch is copied and summed in pieces while the batch before it is sent.
 */
function undiciCopy({ sink, tls = false }, bytes, count) {
  const origin = tls ? `https://127.0.0.1:${sink.tlsPort}` : `http://127.0.0.1:${sink.port}`
  const client = new Client(origin, { connect: { ca: sink.ca } })
  const batches = [0, 1].map(() => Buffer.allocUnsafeSlow(bytes.length))
  const fill = async batch => {
    let crc = 0n
    for (let at = 0; at < bytes.length; at += PIECE) {
      await nextTurn()
      const part = batch.subarray(at, at + PIECE)
      part.set(bytes.subarray(at, at + PIECE))
      crc = update(crc, part)
    }
    return crc
  }
  return async () => {
    const name = `/benchmark/${process.pid}-${++objects}`
    await fill(batches[0])
    for (let i = 0; i < count; i++) {
      const path = `${name}?append&position=${i * bytes.length}`
      const body = batches[i % 2]
      const sending = client.request({ path, method: 'POST', body })
      if (i + 1 < count) await fill(batches[(i + 1) % 2])
      const response = await sending
      if (response.statusCode !== 200) throw new Error(`the sink responds ${response.statusCode}`)
      await response.body.dump()
    }
  }
}

function aliOss({ sink }, bytes, count) {
  const client = new OSS({
    ...IDENTITY.credentials,
    region: `oss-${IDENTITY.region}`,
    endpoint: `http://127.0.0.1:${sink.port}`,
    bucket: 'benchmark',
    authorizationV4: true,
  })
  return async () => {
    const name = `${process.pid}-${++objects}`
    let position = 0
    for (let i = 0; i < count; i++) {
      const result = await client.append(name, bytes, { position })
      position = Number(result.nextAppendPosition)
    }
  }
}

function ours({ sink, tls, options }, bytes, count) {
  const client = createClient(sink, tls)
  return async streams => {
    const all = Array.from({ length: streams }, () =>
      createStream(client, { highWaterMark: bytes.length, ...options }),
    )
    let slowest
    const done = all.map(async stream => {
      await feed(stream, count, stream => stream.write(bytes))
      slowest ??= Math.min(...all.map(each => each.bytesWritten)) / (count * bytes.length)
    })
    await Promise.all(done)
    return streams === 1 ? {} : { slowest }
  }
}
