/**
 * Appends the same buffer to a new object many times: with a bare undici loop, with ali-oss, with our stream.
 * Parameters: `{ contender, batch, total, streams, tls, options, sink }`, sizes in bytes.
 */

import OSS from 'ali-oss'
import { Agent, Client } from 'undici'
import { feed } from './feed.js'
import { createClient, createStream, IDENTITY } from './ours.js'

let objects = 0
const contenders = { undici, 'ali-oss': aliOss, ours }

export async function open(params) {
  const bytes = Buffer.alloc(params.batch)
  for (let i = 0; i + 4 <= bytes.length; i += 4) bytes.writeInt32LE(Math.imul(i, 0x9e3779b1), i)
  const { streams = 1, total, batch } = params
  const run = contenders[params.contender](params, bytes, total / streams / batch)
  return async () => ({ bytes: total, appends: total / batch, ...(await run(streams)) })
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
