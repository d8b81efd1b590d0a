/** The memory that a stream takes while it copies far more bytes than its buffers hold. */

import t from 'tap'
import { firstLine, runModule, startModule } from '../helpers/child-process.ts'
import { OPEN_STREAM } from '../helpers/open-stream.ts'

const MIB = 1 << 20

const SERVER = `
  import { createOssServer } from 'DISTserver/index.js'
  const server = await createOssServer()
  server.readRate = Number(process.env.READ_RATE)
  console.log(server.url)
`

/** Pipes `MIB` mebibytes from a source that is always ready. Prints the peak memory over that of the idle process. */
const PIPE = `${OPEN_STREAM}
  import { Readable } from 'node:stream'
  import { pipeline } from 'node:stream/promises'
  import 'undici'
  const chunk = Buffer.alloc(65536, 'x')
  let left = Number(process.env.MIB) * 16
  const source = new Readable({ read() { this.push(left-- > 0 ? chunk : null) } })
  const idle = process.memoryUsage().rss
  await pipeline(source, open())
  console.log(process.resourceUsage().maxRSS * 1024 - idle)
`

for (const [label, size, readRate] of [
  ['256 MiB', 256, Infinity],
  ['64 MiB to a server that reads 4 MB/s', 64, 4e6],
] as const) {
  t.test(`a stream takes less than 64 MiB of memory for ${label}`, async t => {
    const server = startModule(t, SERVER, { READ_RATE: String(readRate) })
    const env = { ENDPOINT: await firstLine(server), KEY: 'big', MIB: String(size) }
    const { code, stdout, stderr } = await runModule(t, PIPE, env)
    t.match({ code, stderr }, { code: 0, stderr: '' })
    const peak = Number(stdout)
    t.comment(`peak RSS over the idle process: ${Math.round(peak / MIB)} MiB`)
    t.ok(peak > 0 && peak < 4 * 4 * MIB + 48 * MIB, `${Math.round(peak / MIB)} MiB`)
  })
}
