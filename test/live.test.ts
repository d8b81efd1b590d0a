/** The look at a real bucket (`npm run test:live`), with the embedded server in the bucket's place. */

import { fileURLToPath } from 'node:url'
import t from 'tap'
import { full } from './fixtures/full.ts'
import { type Oss, startOss } from './fixtures/oss.ts'
import { exec } from './fixtures/packed.ts'

const LIVE = fileURLToPath(new URL('fixtures/live.ts', import.meta.url))
const command = [process.execPath, '--import=@tapjs/typescript/import', LIVE]

t.test('without a bucket it is skipped, and says so', async t => {
  for (const env of [{}, { OSS_TEST_BUCKET: '' }]) {
    t.match(await exec(command, { env }), { code: 0, stdout: /^skipped: no OSS_TEST_BUCKET/ })
  }
})

function reached({ server }: Oss) {
  return {
    OSS_TEST_BUCKET: 'livebucket',
    OSS_REGION: server.region,
    OSS_ENDPOINT: server.url,
    OSS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: server.credentials.accessKeySecret,
  }
}

if (full('all of it, against the embedded server')) {
  t.test('with one it asks everything, and leaves nothing behind', async t => {
    const oss = await startOss(t, { maxObjectBytes: 300_000, buckets: ['livebucket'] })
    const { server } = oss
    const env = { ...reached(oss), OSS_TEST_LIMITS: '200000,300000' }
    const ended = await exec(command, { env })
    t.match(ended, { code: 0, stdout: /\n\d+ hold, 0 failed\n$/ })
    t.match(ended.stdout, /\| 1 \| .* \| at 300000 bytes: 400 \w+ \|/)
    t.match(ended.stdout, /\| 6 \| .* \| 409 AppendSealedObjectNotAllowed \|/)
    t.notMatch(ended.stdout, /could not be asked/)
    const keys = new Set(server.requests.map(({ key }) => key))
    t.ok(keys.size > 20)
    t.same(
      [...keys].filter(key => key !== undefined && server.stat('livebucket', key)),
      [],
    )
  })

  t.test('what does not hold is told, and is a failure', async t => {
    const oss = await startOss(t, { buckets: ['livebucket'] })
    oss.server.faults.push({ kind: 'forbidden', on: 'get', times: Infinity })
    const ended = await exec(command, { env: reached(oss) })
    t.match(ended, { code: 1, stdout: /FAILED .*\n +cannot read .*: 403 AccessDenied/ })
  })
}
