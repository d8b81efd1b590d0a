/** gzipMembers(): a program that is killed, and runs again. */

import { once } from 'node:events'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { runModule, startModule } from './helpers/child-process.ts'
import { BUCKET, startOss, waitUntil } from './helpers/test-oss.ts'

t.test('a killed process leaves a gzip file, and a run from the start completes it', async t => {
  const oss = await startOss(t)
  const KEY = oss.newKey()
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  const env = {
    OSS_ENDPOINT: oss.server.url,
    OSS_REGION: oss.server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
    KEY,
  }
  const count = 200_000
  const code = `
    import { Readable } from 'node:stream'
    import { pipeline } from 'node:stream/promises'
    import { createAppendStream, gzipMembers, skipExisting } from 'DISTindex.js'
    function* lines() {
      for (let n = 0; n < ${count}; n++) yield String(n).padStart(9) + '\\n'
    }
    const stream = createAppendStream({
      bucket: '${BUCKET}', key: process.env.KEY, align: 'chunk', highWaterMark: 10_000,
    })
    const members = gzipMembers({ flushInterval: 0, memberBytes: 8192 })
    await pipeline(Readable.from(lines()), members, skipExisting(stream), stream)
  `
  const length = () => oss.server.stat(BUCKET, KEY)?.length ?? 0
  for (let kill = 1; kill <= 3; kill++) {
    const before = length()
    const child = startModule(t, code, env)
    await waitUntil(() => length() > before + 20_000)
    child.kill('SIGKILL')
    t.same(await once(child, 'close'), [null, 'SIGKILL'])
    const text = gunzipSync(oss.read(KEY)).toString()
    t.ok(text.length > 0 && text.length % 10 === 0, `kill ${kill}: ${text.length / 10} whole lines`)
  }
  t.match(await runModule(t, code, env), { code: 0, stderr: '' })
  const expected = Array.from({ length: count }, (_, n) => `${String(n).padStart(9)}\n`).join('')
  t.ok(gunzipSync(oss.read(KEY)).toString() === expected, 'each line once, in order')
})
