// ali-oss, the official client for Node, against the server. Foreign code agrees with it about signatures,
// addresses, positions and errors.

import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { crc64OfChunks } from '../../lib/server/crc64.ts'
import type { OssServer, OssServerOptions } from '../../lib/server/index.ts'
import { BUCKET, startServer } from '../helpers/start-server.ts'

async function startWithClient(
  t: Test,
  options: OssServerOptions = {},
  secret?: string,
): Promise<[OssServer, OSS]> {
  const s = await startServer(t, options)
  const { accessKeyId, accessKeySecret, securityToken } = s.credentials
  const client = new OSS({
    accessKeyId,
    accessKeySecret: secret ?? accessKeySecret,
    ...(securityToken === undefined ? {} : { stsToken: securityToken }),
    region: `oss-${s.region}`,
    endpoint: s.url,
    bucket: BUCKET,
    authorizationV4: true,
  })
  return [s, client]
}

t.test('ali-oss appends, asks and reads', async t => {
  const [s, client] = await startWithClient(t)
  const key = "logs/日志 app+1~(a)!'*.log"
  let position = 0
  for (const line of ['Hello OSS A \n', 'Hello OSS B \n', 'Hello OSS C \n']) {
    const headers = { 'x-oss-meta-app': 'demo', 'Cache-Control': 'no-cache' }
    const response = await client.append(key, Buffer.from(line), {
      position,
      mime: 'text/plain',
      ...(position === 0 ? { headers } : {}),
    })
    position += line.length
    t.equal(response.nextAppendPosition, String(position))
    t.equal(response.res.headers['x-oss-hash-crc64ecma'], s.stat(BUCKET, key)?.crc64)
  }
  const whole = 'Hello OSS A \nHello OSS B \nHello OSS C \n'
  t.equal(s.read(BUCKET, key)?.toString(), whole)
  const seen = await client.head(key)
  t.match(seen.res.headers, {
    'content-type': 'text/plain',
    'cache-control': 'no-cache',
    'content-length': '39',
    'x-oss-object-type': 'Appendable',
    'x-oss-next-append-position': '39',
    'x-oss-hash-crc64ecma': crc64OfChunks([Buffer.from(whole)], '0'),
  })
  t.match(seen.meta, { app: 'demo' })
  t.equal((await client.get(key)).content.toString(), whole)
  const part = await client.get(key, { headers: { Range: 'bytes=6-10' } })
  t.equal(part.res.status, 206)
  t.equal(part.content.toString(), 'OSS A')
})

t.test('ali-oss puts and deletes', async t => {
  const [s, client] = await startWithClient(t)
  const put = await client.put('normal', Buffer.from('bytes'), { meta: { a: '1' } })
  t.equal(put.res.headers.etag, '"4B3A6218BB3E3A7303E8A171A60FCF92"')
  const seen = await client.head('normal')
  t.equal(seen.res.headers['x-oss-object-type'], 'Normal')
  t.match(seen.meta, { a: '1' })
  await t.rejects(client.append('normal', Buffer.from('x'), { position: 5 }), {
    name: 'ObjectNotAppendableError',
    status: 409,
  })
  await client.delete('normal')
  t.equal(s.stat(BUCKET, 'normal'), undefined)
  await t.rejects(client.head('normal'), { code: 'NoSuchKey', status: 404 })
})

t.test('ali-oss reports a refusal', async t => {
  const [s, client] = await startWithClient(t)
  await client.append('a.log', Buffer.from('abc'))
  const wrong = client.append('a.log', Buffer.from('def'), { position: 2 })
  await t.rejects(wrong, { code: 'PositionNotEqualToLength', status: 409 })
  const [, wrongSecretClient] = await startWithClient(t, {}, 'not the secret')
  await t.rejects(wrongSecretClient.append('a.log', Buffer.from('x')), {
    code: 'SignatureDoesNotMatch',
    status: 403,
    requestId: /^[0-9A-F]{24}$/,
    hostId: /^examplebucket\.oss-cn-hangzhou\.aliyuncs\.com$|^127\.0\.0\.1:\d+$/,
  })
  t.equal(s.read(BUCKET, 'a.log')?.toString(), 'abc')
})

t.test('ali-oss sends a security token', async t => {
  const credentials = { accessKeyId: 'sts', accessKeySecret: 'secret', securityToken: 'to+k/en==' }
  const [s, client] = await startWithClient(t, { credentials })
  await client.append('a.log', Buffer.from('abc'))
  t.equal(s.read(BUCKET, 'a.log')?.toString(), 'abc')
})

t.test('ali-oss signs for another region', async t => {
  const [s, client] = await startWithClient(t, { region: 'eu-central-1' })
  await client.append('a.log', Buffer.from('abc'))
  t.equal(s.read(BUCKET, 'a.log')?.toString(), 'abc')
})

t.test('ali-oss presigns a URL for a custom domain', async t => {
  const [s, client] = await startWithClient(t, { cnames: { '127.0.0.1': BUCKET } })
  await client.append('a b.log', Buffer.from('abc'))
  const url = await client.signatureUrlV4('GET', 60, {}, 'a b.log')
  const response = await fetch(url)
  t.equal(await response.text(), 'abc')
  const altered = await fetch(url.replace('a%20b.log', 'other.log'))
  t.equal(altered.status, 403)
  t.match(await altered.text(), /<Code>SignatureDoesNotMatch</)
  t.equal(s.requests.length, 3)
})

/** What the types of these tests leave out of ali-oss. */
interface BucketClient {
  putBucket(name: string): Promise<unknown>
  deleteBucket(name: string): Promise<unknown>
  getBucketInfo(name: string): Promise<{ bucket: { Name: string; Location: string } }>
  listBuckets(query?: object): Promise<{ buckets: { name: string }[] | null }>
  list(query?: object): Promise<ListResult>
  listV2(query?: object): Promise<ListResult & { nextContinuationToken?: string }>
  deleteMulti(names: string[], options?: object): Promise<{ deleted?: { Key: string }[] }>
}

interface ListResult {
  objects?: { name: string; size: number; type: string }[]
  prefixes: string[] | null
  isTruncated: boolean
  nextMarker?: string | null
}

t.test('ali-oss sets up a bucket, lists it and cleans up', async t => {
  const [s, objects] = await startWithClient(t, { buckets: [] })
  const client = objects as unknown as BucketClient & typeof objects
  await t.rejects(client.list({}), { code: 'NoSuchBucket', status: 404 })
  await client.putBucket(BUCKET)
  t.same(
    (await client.listBuckets())?.buckets?.map(({ name }) => name),
    [BUCKET],
  )
  t.match(await client.getBucketInfo(BUCKET), {
    bucket: { Name: BUCKET, Location: 'oss-cn-hangzhou' },
  })
  const keys = ['a.log', 'logs/1 & 2.log', 'logs/日志.log']
  for (const key of keys) await client.append(key, Buffer.from('abc'))
  const first = await client.list({ 'max-keys': 2 })
  t.match(first, { isTruncated: true, objects: [{ name: keys[0], size: 3, type: 'Appendable' }] })
  const rest = await client.list({ marker: first.nextMarker })
  t.same(
    rest.objects?.map(({ name }) => name),
    [keys[2]],
  )
  t.match(await client.listV2({ delimiter: '/' }), {
    objects: [{ name: 'a.log' }],
    prefixes: ['logs/'],
    isTruncated: false,
  })
  const page = await client.listV2({ 'max-keys': '1' })
  const more = await client.listV2({ 'continuation-token': page.nextContinuationToken })
  t.same(
    more.objects?.map(({ name }) => name),
    keys.slice(1),
  )
  await t.rejects(client.deleteBucket(BUCKET), { code: 'BucketNotEmpty', status: 409 })
  const { deleted } = await client.deleteMulti(keys)
  t.same(
    deleted?.map(({ Key }) => Key),
    keys,
  )
  t.match(await client.deleteMulti(['absent'], { quiet: true }), { deleted: [] })
  await client.deleteBucket(BUCKET)
  await t.rejects(client.append('a.log', Buffer.from('abc')), { code: 'NoSuchBucket' })
  t.same([...s.objects], [])
})
