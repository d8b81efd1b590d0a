/** `npm run test:live`, with the embedded server in place of a bucket. `live.slow.ts` has its failures. */

import t from 'tap'
import { type Oss, startOss } from '../helpers/test-oss.ts'
import { type Bucket, openBucket } from './bucket.ts'
import { liveEnv, runLive } from './run-live.ts'

/** Opens the bucket in this process. */
async function openHere(oss: Oss): Promise<Bucket> {
  const { env } = process
  process.env = { ...env, ...liveEnv(oss) }
  try {
    return await openBucket('livebucket')
  } finally {
    process.env = env
  }
}

t.test('test:live says that it is skipped if OSS_TEST_BUCKET is not set', async t => {
  const result = await runLive({ OSS_TEST_BUCKET: '' })
  t.match(result, { code: 0, stdout: 'skipped: OSS_TEST_BUCKET is not set\n' })
})

t.test('test:live names the variables that are missing, and fails', async t => {
  const result = await runLive({ OSS_TEST_BUCKET: 'livebucket', OSS_ACCESS_KEY_ID: 'id' })
  const stderr =
    'cannot reach OSS_TEST_BUCKET livebucket: set OSS_ACCESS_KEY_SECRET, OSS_REGION or OSS_ENDPOINT\n'
  t.match(result, { code: 1, stdout: /^$/, stderr })
})

t.test(
  'test:live checks every behaviour, asks every question, and deletes what it wrote',
  async t => {
    const oss = await startOss(t, { maxObjectBytes: 300_000, buckets: ['livebucket'] })
    const { server } = oss
    // OSS's documentation does not mention 429.
    server.faults.push({ kind: 'status', status: 429, on: 'append' })
    const { code, stdout, stderr } = await runLive({
      ...liveEnv(oss),
      OSS_TEST_LIMITS: '200000,300000',
    })
    t.match({ code, stderr }, { code: 0, stderr: '' })
    t.match(stdout, /\n\d+ hold, 0 failed, 1 skipped, 0 not deleted\n$/)
    t.match(stdout, /\nskipped .*: needs OSS_TEST_WRITER_ID/)
    t.match(
      stdout,
      /\| 1 \| .* \| across 300000 bytes: 400 \w+, up to it: 200, after it: 400 \w+ \|/,
    )
    t.match(stdout, /\| 8 \| .*, 1 x 429[, |]/)
    t.match(stdout, /\| 6 \| .* \| 400 AppendSealedObjectNotAllowed \|/)
    t.notMatch(stdout, /no answer/)
    for (const [number, count] of [1, 2, 1, 1, 4, 1, 2, 1, 2].entries()) {
      const rows = stdout.match(new RegExp(`^\\| ${number + 1} \\| .*\\? \\| \\S.* \\|$`, 'gm'))
      t.equal(rows?.length, count, `question ${number + 1} has its answers`)
    }
    t.equal(stdout.match(/\| not asked: needs /g)?.length, 3, 'or says what it needs')
    const keys = new Set(server.requests.map(({ key }) => key))
    t.ok(keys.size > 20)
    t.same(
      [...keys].filter(key => key !== undefined && server.stat('livebucket', key)),
      [],
    )
  },
)

t.test('clear() tries every key and returns those that it could not delete', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  const bucket = await openHere(oss)
  const [refused, lost, absent, present] = [0, 1, 2, 3].map(() => bucket.newKey())
  for (const key of [refused, lost, present]) oss.server.put('livebucket', key ?? '', 'x')
  oss.server.faults.push(
    { kind: 'forbidden', on: 'delete', key: refused },
    { kind: 'reset', when: 'after', on: 'delete', key: lost },
    { kind: 'status', status: 404, code: 'NoSuchKey', on: 'delete', key: absent },
  )
  t.match(await bucket.clear(), [
    `${refused}: 403 AccessDenied`,
    new RegExp(`^${lost}: .*(hang up|ECONNRESET)`),
  ])
  t.equal(oss.server.stat('livebucket', present ?? ''), undefined)
})

t.test(
  'clear() ends a stream that retries, so that it does not create its object again',
  async t => {
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
  },
)
