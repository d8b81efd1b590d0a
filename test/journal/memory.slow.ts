/** A backlog of 256 MiB in a journal, 1 GiB in `npm run test:full`: it costs disk, and no memory. */

import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { firstLine, startModule, waitForChild } from '../helpers/child-process.ts'
import { newFolder } from '../helpers/journal.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { networkOptions, startOss, waitUntil } from '../helpers/test-oss.ts'

const MIB = 1_048_576

t.test('memory stays at two buffers while the journal fills and drains', async t => {
  const backlog = (runsLongTests('a backlog of 1 GiB') ? 1024 : 256) * MIB
  const oss = await startOss(t)
  const dir = newFolder(t)
  oss.server.faults.push({ kind: 'status', status: 503, on: 'any', times: Number.MAX_SAFE_INTEGER })
  const options = {
    ...networkOptions(oss.server),
    bucket: 'examplebucket',
    key: 'backlog',
    highWaterMark: 4 * MIB,
    contentMd5: false,
    journal: { dir, maxBytes: 2 * backlog },
    retry: { minDelay: 1, maxDelay: 20 },
  }
  const child = startModule(
    t,
    `import { once } from 'node:events'
    import { readFileSync } from 'node:fs'
    import { createAppendStream } from 'DISTindex.js'
    const { options, backlog } = JSON.parse(process.env.PLAN)
    const stream = createAppendStream(options)
    const rss = process.memoryUsage.rss()
    const block = Buffer.alloc(65536, 'backlog ')
    for (let left = backlog; left > 0; left -= block.length) {
      if (!stream.write(block)) await once(stream, 'drain')
    }
    await stream.journaled()
    console.log(stream.bytesBuffered)
    stream.end()
    await once(stream, 'close')
    const peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
    process.exitCode = Math.ceil((peak - rss) / ${MIB})`,
    { PLAN: JSON.stringify({ options, backlog }) },
  )
  t.equal(await firstLine(child), String(backlog), 'all of it is in the journal')
  oss.server.faults.clear()
  const { code, stderr } = await waitForChild(child)
  t.equal(stderr, '')
  t.ok(code !== null && code < 160, `${code} MiB more at the peak`)
  t.equal(oss.read('backlog').length, backlog)
})

t.test('the folder of an idle stream holds one small file and its lock', async t => {
  const oss = await startOss(t)
  const dir = newFolder(t)
  const stream = oss.open(oss.newKey(), { journal: dir })
  for (let i = 0; i < 80; i++) {
    if (!stream.write(Buffer.alloc(MIB, i))) await once(stream, 'drain')
  }
  await stream.flush()
  const slot = join(dir, '0')
  // Segments are deleted in the background.
  const segments = () => readdirSync(slot).filter(name => name.endsWith('.journal'))
  const sizes = () => segments().map(name => statSync(join(slot, name)).size)
  await waitUntil(() => sizes().length === 1 && sizes().every(size => size <= MIB))
  t.equal(readdirSync(slot).length, 2)
  stream.end()
  await once(stream, 'close')
})
