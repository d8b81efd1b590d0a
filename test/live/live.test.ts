/** The look at a real bucket (`npm run test:live`), with the embedded server in the bucket's place. */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runsLongTests } from '../helpers/long-tests.ts'
import { execClean } from '../helpers/packed-package.ts'
import { type Oss, startOss } from '../helpers/test-oss.ts'
import { type Bucket, openBucket } from './bucket.ts'

const LIVE = fileURLToPath(new URL('main.ts', import.meta.url))
const command = [process.execPath, '--import=./test/helpers/typescript.js', LIVE]

function reached({ server }: Oss) {
  return {
    OSS_TEST_BUCKET: 'livebucket',
    OSS_REGION: server.region,
    OSS_ENDPOINT: server.url,
    OSS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: server.credentials.accessKeySecret,
  }
}

/** The bucket in this process. */
async function openHere(oss: Oss): Promise<Bucket> {
  const { env } = process
  process.env = { ...env, ...reached(oss) }
  try {
    return await openBucket('livebucket')
  } finally {
    process.env = env
  }
}

t.test('without a bucket it is skipped, and says so', async t => {
  const env = { OSS_TEST_BUCKET: '' }
  t.match(await execClean(command, { env }), { code: 0, stdout: /^skipped: no OSS_TEST_BUCKET/ })
})

t.test('with a bucket and no way to reach it, it says what is missing, and fails', async t => {
  const ended = await execClean(command, {
    env: { OSS_TEST_BUCKET: 'livebucket', OSS_ACCESS_KEY_ID: 'id' },
  })
  const stderr = /is missing: OSS_ACCESS_KEY_SECRET, OSS_REGION or OSS_ENDPOINT\n$/
  t.match(ended, { code: 1, stdout: /^$/, stderr })
})

t.test('with one it asks everything, and leaves nothing behind', async t => {
  const oss = await startOss(t, { maxObjectBytes: 300_000, buckets: ['livebucket'] })
  const { server } = oss
  // To a stream, and by OSS's documents never sent.
  server.faults.push({ kind: 'status', status: 429, on: 'append' })
  const env = { ...reached(oss), OSS_TEST_LIMITS: '200000,300000' }
  const ended = await execClean(command, { env })
  const counts = /\n\d+ hold, 0 failed, 1 not asked, 0 not deleted\n$/
  t.match(ended, { code: 0, stderr: '', stdout: counts })
  t.match(ended.stdout, /\nnot asked .*: needs OSS_TEST_WRITER_ID/)
  t.match(
    ended.stdout,
    /\| 1 \| .* \| across 300000 bytes: 400 \w+, up to it: 200, behind it: 400 \w+ \|/,
  )
  t.match(ended.stdout, /\| 8 \| .*, 1 x 429[, |]/)
  t.match(ended.stdout, /\| 6 \| .* \| 409 AppendSealedObjectNotAllowed \|/)
  t.notMatch(ended.stdout, /could not be asked/)
  for (const [number, count] of [1, 2, 1, 1, 4, 1, 2, 1, 2].entries()) {
    const rows = ended.stdout.match(new RegExp(`^\\| ${number + 1} \\| .*\\? \\| \\S.* \\|$`, 'gm'))
    t.equal(rows?.length, count, `question ${number + 1} has its answers`)
  }
  t.equal(ended.stdout.match(/\| not asked: needs /g)?.length, 3, 'or says what it needs')
  const keys = new Set(server.requests.map(({ key }) => key))
  t.ok(keys.size > 20)
  t.same(
    [...keys].filter(key => key !== undefined && server.stat('livebucket', key)),
    [],
  )
})

t.test('every key is tried, and what could not be deleted is told', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  const bucket = await openHere(oss)
  const [refused, lost, absent, there] = [0, 1, 2, 3].map(() => bucket.newKey())
  for (const key of [refused, lost, there]) oss.server.put('livebucket', key ?? '', 'x')
  oss.server.faults.push(
    { kind: 'forbidden', on: 'delete', key: refused },
    { kind: 'reset', when: 'after', on: 'delete', key: lost },
    { kind: 'status', status: 404, code: 'NoSuchKey', on: 'delete', key: absent },
  )
  t.match(await bucket.clear(), [
    `${refused}: 403 AccessDenied`,
    new RegExp(`^${lost}: .*(hang up|ECONNRESET)`),
  ])
  t.equal(oss.server.stat('livebucket', there ?? ''), undefined)
})

t.test('a stream that still tries when all is deleted does not make its object anew', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  const bucket = await openHere(oss)
  const key = bucket.newKey()
  oss.server.faults.push({ kind: 'status', status: 500, times: 3 })
  const stream = bucket.open(key)
  stream.end('x')
  await new Promise(resolve => stream.once('retry', resolve))
  t.same(await bucket.clear(), [])
  t.ok(stream.closed)
  t.equal(oss.server.stat('livebucket', key), undefined)
})

if (runsLongTests('what this bucket or these keys cannot show; failures, by the whole command')) {
  t.test('what is not enabled is not asked', async t => {
    const permissions = ['oss:GetObject', 'oss:PutObject', 'oss:DeleteObject']
    const oss = await startOss(t, { buckets: ['livebucket'], seal: false, permissions })
    oss.server.permissions.add('oss:SealAppendObject')
    const ended = await execClean(command, { env: reached(oss) })
    t.match(ended, { code: 0, stdout: /0 failed, 4 not asked, 0 not deleted\n$/ })
    t.match(ended.stdout, /not asked seal: true .*: needs SealAppendObject/)
    t.match(ended.stdout, /not asked sealOnRoll: true .*: needs SealAppendObject/)
    t.match(ended.stdout, /not asked .* tags: needs the permission oss:PutObjectTagging/)
  })

  t.test('who may write and not read is asked where there is one', async t => {
    const { accessKeyId, accessKeySecret } = { accessKeyId: 'writer', accessKeySecret: 'secret' }
    const own = { accessKeyId: 'reader', accessKeySecret: 'secret' }
    const credentials = [own, { accessKeyId, accessKeySecret }]
    const oss = await startOss(t, { buckets: ['livebucket'], credentials })
    const { faults } = oss.server
    const take = faults.take.bind(faults)
    faults.take = (call, isProbe) => {
      const isWriter = call.headers.get('authorization')?.includes(`Credential=${accessKeyId}/`)
      if (isWriter && call.operation === 'head') return [{ kind: 'forbidden' }]
      return take(call, isProbe)
    }
    const writer = { OSS_TEST_WRITER_ID: accessKeyId, OSS_TEST_WRITER_SECRET: accessKeySecret }
    const ended = await execClean(command, { env: { ...reached(oss), ...writer } })
    t.match(ended, { code: 0, stdout: /0 failed, 0 not asked, 0 not deleted\n$/ })
    t.match(ended.stdout, /ok +who may write and not read/)

    const able = { OSS_TEST_WRITER_ID: 'reader', OSS_TEST_WRITER_SECRET: 'secret' }
    const wrong = await execClean(command, { env: { ...reached(oss), ...able } })
    t.match(wrong, { code: 1, stdout: /FAILED +who may write and not read.*\n.*it may not read/ })
  })

  t.test('what does not hold is told, and is a failure', async t => {
    const oss = await startOss(t, { buckets: ['livebucket'] })
    oss.server.faults.push({ kind: 'forbidden', on: 'get', times: Infinity })
    const ended = await execClean(command, { env: reached(oss) })
    t.match(ended, { code: 1, stdout: /FAILED .*\n +cannot read .*: 403 AccessDenied/ })
  })

  t.test('so is what could not be deleted', async t => {
    const oss = await startOss(t, { buckets: ['livebucket'] })
    // Behind the two that belong to what is looked at.
    oss.server.faults.push({ kind: 'forbidden', on: 'delete', skip: 2 })
    const ended = await execClean(command, { env: reached(oss) })
    t.match(ended, { code: 1, stdout: /0 failed, 1 not asked, 1 not deleted\n$/ })
    t.match(ended.stdout, /NOT DELETED oss:\/\/livebucket\/.*: 403 AccessDenied\n/)
  })

  t.test('a stream that fails where nobody listens is the failure of what it was for', async t => {
    const oss = await startOss(t, { buckets: ['livebucket'] })
    oss.server.faults.push({ kind: 'forbidden', on: 'append', times: Infinity })
    const ended = await execClean(command, { env: reached(oss) })
    t.match(ended, { code: 1, stderr: '', stdout: /\n\d+ hold, \d+ failed, .*\n$/ })
    t.match(ended.stdout, /FAILED +flush\(\)/)
  })
}
