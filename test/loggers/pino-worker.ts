/** What the tests of pino's worker share, those in the quick set and those in the slow set. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { firstLine, startModule } from '../helpers/child-process.ts'
import { parseRecords } from '../helpers/numbered-records.ts'
import { BUCKET, nextEvent, type Oss, startOss, waitUntil } from '../helpers/test-oss.ts'

/** The beginning of a program that logs in pino's worker. */
export const WORKER = `
  import pino from 'pino'
  const options = JSON.parse(process.env.OPTIONS)
  const transport = pino.transport({ target: 'oss-append-stream/pino', options })
  const logger = pino({ base: null, timestamp: false }, transport)
`

/** The environment of a program that begins with `WORKER`. */
export function workerEnv(oss: Oss, options: Record<string, unknown>) {
  const { url, region, credentials } = oss.server
  return {
    OPTIONS: JSON.stringify({ bucket: BUCKET, flushInterval: 20, ...options }),
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
}

/** A test of one version of pino: a worker asks the module of its credentials again when the keys change. */
export function testRenewedKeys(module: 'pino' | 'pino9' | 'pino8'): void {
  t.test(`${module}: a worker reads new keys from the module of its credentials`, async t => {
    const oss = await startOss(t)
    const key = oss.newKey()
    const folder = t.testdir({})
    const [keys, credentials] = [join(folder, 'keys.json'), join(folder, 'provider.mjs')]
    await writeFile(keys, JSON.stringify(oss.server.credentials))
    await writeFile(
      credentials,
      `import { readFileSync } from 'node:fs'
         export default () => JSON.parse(readFileSync(${JSON.stringify(keys)}, 'utf8'))`,
    )
    const code = `${WORKER.replace("'pino'", `'${module}'`)}
        let n = 0
        const timer = setInterval(() => logger.info({ n: n++ }), 2)
        process.stdin.on('end', () => clearInterval(timer)).resume()
        process.on('exit', () => console.log(n))`
    const child = startModule(t, code, workerEnv(oss, { key, credentials }))
    const total = firstLine(child)
    const waitForRecords = (count: number) =>
      waitUntil(() => parseRecords(oss.server.read(BUCKET, key)).numbers.length >= count)
    await waitForRecords(50)
    const renewed = { accessKeyId: 'another-key', accessKeySecret: 'another-secret' }
    await writeFile(keys, JSON.stringify(renewed))
    oss.server.credentials = renewed
    await waitForRecords(200)
    child.stdin?.end()
    const numbers = Array.from({ length: Number(await total) }, (_, n) => n)
    await nextEvent(child, 'close')
    t.same(parseRecords(oss.read(key)).numbers, numbers)
    t.ok(oss.server.requests.some(({ accessKeyId }) => accessKeyId === 'another-key'))
  })
}
