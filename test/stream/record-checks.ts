/** Checks of whole records that the quick tests run briefly, and the slow ones at length. */

import { once } from 'node:events'
import type { Test } from 'tap'
import type { Align, OssAppendStream } from '../../lib/index.ts'
import { startModule } from '../helpers/child-process.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import { BUCKET, startOss, waitUntil } from '../helpers/test-oss.ts'

/** Writes strings and bytes at random: they arrive, and every batch ends with a record. */
export async function checkRandomWrites(t: Test, runs: number): Promise<void> {
  const oss = await startOss(t)
  const seed = Number(process.env.SEED ?? 20261123)
  t.comment(`SEED=${seed}`)
  const random = createRandom(seed)
  for (let run = 0; run < runs; run++) {
    const align = random.pick(['\n', 'chunk', 3, 188] as const)
    const highWaterMark = random.pick([5, 64, 1000])
    const flushInterval = random.pick([0, 1, 1000])
    const label = `${JSON.stringify(align)}, ${highWaterMark}, ${flushInterval}`
    const key = oss.newKey()
    const stream = oss.open(key, { align, highWaterMark, flushInterval })
    const story = await writeAtRandom(random, align, stream)
    const content = Buffer.concat(story.chunks)
    t.ok(oss.read(key).equals(content), `${label}: all is there`)
    const ends = endsOf(align, story.chunks)
    const torn = story.appends.filter(end => !ends.has(end) && end !== content.length)
    t.same(torn, [], `${label}: no record is torn`)
    t.same(story.complaints, [], `${label}: flush() covers the records before it`)
  }
}

/** Where records end, and the beginning. */
function endsOf(align: Align, chunks: readonly Buffer[]): Set<number> {
  const content = Buffer.concat(chunks)
  const ends = new Set([0])
  if (align === 'chunk') {
    let end = 0
    for (const { length } of chunks) {
      end += length
      ends.add(end)
    }
    return ends
  }
  for (let end = 1; end <= content.length; end++) {
    if (align === '\n' ? content[end - 1] === 10 : end % align === 0) ends.add(end)
  }
  return ends
}

async function writeAtRandom(random: Random, align: Align, stream: OssAppendStream) {
  const chunks: Buffer[] = []
  const appends: number[] = []
  const complaints: string[] = []
  stream.on('append', ({ nextPosition }) => appends.push(nextPosition))
  for (let step = 0; step < 40; step++) {
    const line = random.pick([
      '',
      '\n',
      'a\nb',
      '漢字\n',
      'é',
      'line of some length\n',
      'x'.repeat(150),
    ])
    const text = line.repeat(random.integer(1, 4))
    const encoding = random.pick(['utf8', 'latin1', 'utf16le'] as const)
    const bytes = Buffer.from(text, encoding)
    // An empty chunk is no record.
    if (bytes.length > 0) chunks.push(bytes)
    if (random.integer(0, 1)) stream.write(text, encoding)
    else stream.write(bytes)
    const action = random.integer(0, 9)
    if (action === 0) stream.cork()
    if (action === 1) stream.uncork()
    if (action > 2) continue
    stream.uncork()
    const due = Math.max(...endsOf(align, chunks))
    const flushed = stream.flush().then(({ position }) => {
      if (position < due) complaints.push(`flushed to ${position}, not ${due}`)
    })
    if (action === 2) await flushed
  }
  stream.end()
  await once(stream, 'close')
  return { chunks, appends, complaints }
}

/** The beginning of a program: a stream to the server of the test. */
export const OPEN_STREAM = `
  import { createAppendStream } from 'DISTindex.js'
  const { ENDPOINT, KEY, OPTIONS } = process.env
  const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
  const stream = createAppendStream({
    bucket: '${BUCKET}', key: KEY, endpoint: ENDPOINT, region: 'cn-hangzhou', credentials, ...JSON.parse(OPTIONS),
  })
`

/** Options of the stream of a killed process; the default `align` is a line. */
type AppendOptions = {
  readonly align?: number
  readonly highWaterMark?: number
  readonly flushInterval?: number
}

/** Kills a process that writes records of 1 to 97 bytes, once for each row of options: whole records remain. */
export async function checkKilledWriter(t: Test, rows: readonly AppendOptions[]): Promise<void> {
  const oss = await startOss(t)
  // Records of 1 to 97 bytes in chunks that have nothing to do with them, flushed at any time.
  const code = `${OPEN_STREAM}
    let text = '', n = 0
    const write = () => {
      for (;;) {
        while (text.length < 500) text += 'x'.repeat(n++ % 97) + '\\n'
        const chunk = text.slice(0, 1 + (n * 31) % 499)
        text = text.slice(chunk.length)
        if (n % 17 === 0) stream.flush()
        if (!stream.write(chunk)) return stream.once('drain', write)
      }
    }
    write()`
  for (const row of rows) {
    const KEY = oss.newKey()
    const options = { align: '\n', highWaterMark: 1000, ...row }
    const OPTIONS = JSON.stringify(options)
    const child = startModule(t, code, { ENDPOINT: oss.server.url, KEY, OPTIONS })
    await waitUntil(() => (oss.server.stat(BUCKET, KEY)?.length ?? 0) > 5_000)
    child.kill('SIGKILL')
    await once(child, 'close')
    const text = oss.read(KEY).toString()
    if (options.align === '\n') t.ok(text.endsWith('\n'), `${OPTIONS}: it ends with a newline`)
    else t.equal(text.length % 188, 0, `${OPTIONS}: it ends with a packet`)
    const lines = text.split('\n')
    const rest = lines.pop() ?? ''
    t.ok(
      lines.every((line, n) => line === 'x'.repeat(n % 97)),
      'and is what was written',
    )
    t.ok('x'.repeat(lines.length % 97).startsWith(rest), 'to its last byte')
  }
}
