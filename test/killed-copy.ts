/** Copies with skipExisting() by programs that are killed, for the quick and the slow tests of it. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { crc64 } from '../lib/index.ts'
import { runModule, startModule } from './helpers/child-process.ts'
import { createRandom } from './helpers/random.ts'
import { BUCKET, seededBytes, startOss, waitUntil } from './helpers/test-oss.ts'

export const MIB = 1 << 20

/** The beginning of a program that copies to `stream`. */
export const COPY_PROGRAM = `
  import { createReadStream } from 'node:fs'
  import { Readable } from 'node:stream'
  import { pipeline } from 'node:stream/promises'
  import { createAppendStream, skipExisting } from 'DISTindex.js'
  const { ENDPOINT, KEY, FILE, BATCH } = process.env
  const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
  const stream = createAppendStream({
    bucket: '${BUCKET}', key: KEY, endpoint: ENDPOINT, region: 'cn-hangzhou', credentials,
    highWaterMark: Number(BATCH), retry: { minDelay: 40, maxDelay: 40 },
  })
`

export interface KilledCopy {
  /** Bytes. */
  readonly size: number
  /** `highWaterMark` of the stream. */
  readonly batch: number
  readonly kills: number
  readonly seed: number
}

/** Adds a test: a program that copies a file is killed several times, and runs to its end after that. */
export function testKilledCopy({ size, batch, kills, seed }: KilledCopy): void {
  t.test(
    `a copy of ${size / MIB} MiB that is killed ${kills} times is complete in the end`,
    async t => {
      const oss = await startOss(t)
      const random = createRandom(seed)
      const KEY = oss.newKey()
      const folder = await mkdtemp(join(tmpdir(), 'resume-'))
      t.teardown(() => rm(folder, { recursive: true }))
      const FILE = join(folder, 'source')
      const source = seededBytes(size, seed)
      await writeFile(FILE, source)

      const code = `${COPY_PROGRAM} await pipeline(createReadStream(FILE), skipExisting(stream), stream)`
      const env = { ENDPOINT: oss.server.url, KEY, FILE, BATCH: String(batch) }
      const length = () => oss.server.stat(BUCKET, KEY)?.length ?? 0
      const grownTo: number[] = []
      for (let left = kills; left > 0; left--) {
        // Kills the program during its start, or a random number of bytes later. Later kills need some bytes too.
        const more =
          random.pick([0, 1, 1]) * random.integer(1, Math.floor((size * 0.9 - length()) / left))
        const [before, heads] = [length(), oss.server.requests.length]
        const child = startModule(t, code, env)
        await waitUntil(() =>
          more ? length() >= before + more : oss.server.requests.length > heads,
        )
        child.kill('SIGKILL')
        t.same(await once(child, 'close'), [null, 'SIGKILL'])
        grownTo.push(length())
      }
      t.comment(`killed at ${grownTo.map(bytes => `${Math.round(bytes / 1024)} KiB`).join(', ')}`)
      t.ok(new Set(grownTo).size > kills / 3 && length() < size, 'no run came to its end')

      t.match(await runModule(t, code, env), { code: 0, stderr: '' })
      t.equal(sha256(oss.read(KEY)), sha256(source), 'byte-identical')
      t.equal(oss.server.stat(BUCKET, KEY)?.crc64, crc64(source))
    },
  )
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
