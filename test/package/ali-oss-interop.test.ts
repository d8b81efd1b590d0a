/** This package and ali-oss, the official client for Node, append to the same object in turn. */

import { once } from 'node:events'
import OSS from 'ali-oss'
import t from 'tap'
import { crc64 } from '../../lib/index.ts'
import { BUCKET, nextEvent, type Oss, startOss } from '../helpers/test-oss.ts'

function aliOss({ server }: Oss, accessKeySecret = server.credentials.accessKeySecret): OSS {
  return new OSS({
    accessKeyId: server.credentials.accessKeyId,
    accessKeySecret,
    region: `oss-${server.region}`,
    endpoint: server.url,
    bucket: BUCKET,
    authorizationV4: true,
  })
}

t.test('a stream appends to an object of ali-oss, and ali-oss to that of the stream', async t => {
  const oss = await startOss(t)
  const client = aliOss(oss)
  for (const key of ['plain.log', '日志/应用 日志.log', "x y+z~(1)!'*.log"]) {
    const created = await client.append(key, Buffer.from('theirs, '), { position: 0 })
    t.equal(created.nextAppendPosition, '8')

    const stream = oss.open(key)
    t.same(await nextEvent(stream, 'ready'), {
      position: 8,
      crc64: crc64('theirs, '),
      exists: true,
    })
    stream.end('ours, ')
    await once(stream, 'close')
    t.equal(stream.position, 14)

    const { res } = await client.head(key)
    t.equal(res.headers['x-oss-next-append-position'], '14')
    t.equal(res.headers['x-oss-hash-crc64ecma'], stream.crc64, 'both get the same CRC')

    const again = await client.append(key, Buffer.from('theirs again'), { position: 14 })
    t.equal(again.nextAppendPosition, '26')
    const whole = 'theirs, ours, theirs again'
    t.equal(again.res.headers['x-oss-hash-crc64ecma'], crc64(whole))
    t.equal((await client.get(key)).content.toString(), whole)
  }
})

t.test('an append of ali-oss to the object of a stream is a conflict', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  const stream = oss.open(key)
  stream.write('ours')
  await stream.flush()
  await aliOss(oss).append(key, Buffer.from('rival'), { position: 4 })
  stream.end('more')
  await t.rejects(once(stream, 'close'), {
    name: 'OssConflictError',
    before: { position: 4, crc64: crc64('ours') },
    after: { position: 8, crc64: crc64('oursmore') },
    seen: { position: 9 },
  })
  t.equal(oss.read(key).toString(), 'oursrival')
})

t.test('the server refuses a wrong position and a wrong secret of ali-oss', async t => {
  const oss = await startOss(t)
  const key = oss.newKey()
  await aliOss(oss).append(key, Buffer.from('abc'), { position: 0 })
  await t.rejects(aliOss(oss).append(key, Buffer.from('def'), { position: 2 }), {
    code: 'PositionNotEqualToLength',
  })
  await t.rejects(aliOss(oss, 'wrong').append(key, Buffer.from('def'), { position: 3 }), {
    code: 'SignatureDoesNotMatch',
  })
  t.equal(oss.read(key).toString(), 'abc')
})
