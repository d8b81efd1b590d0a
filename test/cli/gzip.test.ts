/** `--gzip` and `--resume`, alone and together. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { startCliServer } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'
import { sha256 } from './check-report.ts'

const LINES = Buffer.from(Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join(''))

t.test('--gzip makes a gzip file, and a second run continues it', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const args = ['--gzip', 'oss://examplebucket/a.gz', '-']
  const read = () => server.read('examplebucket', 'a.gz') ?? Buffer.alloc(0)
  t.match(await runWithServer(args, { input: LINES }), {
    code: 0,
    stdout: /\nverified\n$/,
    stderr: '',
  })
  t.ok(read().length < LINES.length / 2, 'compressed')
  t.ok(gunzipSync(read()).equals(LINES))
  t.match(await runWithServer(args, { input: LINES }), { code: 0 })
  t.ok(gunzipSync(read()).equals(Buffer.concat([LINES, LINES])))
})

t.test('--gzip reports length and SHA-256 of the input and of what was appended', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const object = 'oss://examplebucket/a.gz'
  const { stdout } = await runWithServer(['--gzip', object, '-'], { input: LINES })
  const zipped = server.read('examplebucket', 'a.gz') ?? Buffer.alloc(0)
  t.match(stdout, `\ninput       ${LINES.length.toLocaleString('en-US')} bytes\n`)
  t.match(stdout, `SHA-256\n  input     ${sha256(LINES)}\n  appended  ${sha256(zipped)}\n`)
  server.delete('examplebucket', 'a.gz')
  const json = await runWithServer(['--gzip', '--json', object, '-'], { input: LINES })
  const [finish] = json.stdout.trimEnd().split('\n').slice(-1)
  t.match(JSON.parse(String(finish)), {
    event: 'finish',
    input: { bytes: LINES.length, sha256: sha256(LINES) },
    bytes: server.read('examplebucket', 'a.gz')?.length,
  })
})

t.test('--resume appends the rest of a file, and nothing of another file', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const bytes = seededBytes(3_000_000)
  const file = join(t.testdir({}), 'video.ts')
  writeFileSync(file, bytes)
  server.append('examplebucket', 'video.ts', bytes.subarray(0, 1_234_567))
  const object = 'oss://examplebucket/video.ts'
  const first = await runWithServer(['--resume', file, object])
  t.match(first, { code: 0, stdout: /^bytes +1,765,433 in/m, stderr: '' })
  t.match(first.stdout, /\ninput +3,000,000 bytes\n/)
  t.match(first.stdout, `  input     ${sha256(bytes)}\n`)
  t.match(first.stdout, `  appended  ${sha256(bytes.subarray(1_234_567))}\n`)
  t.match(first.stdout, /\nverified\n$/)
  t.ok(server.read('examplebucket', 'video.ts')?.equals(bytes))
  const again = await runWithServer(['--resume', file, object])
  t.match(again, { code: 0, stdout: /^bytes +0 in 0 appends/m })
  const other = Buffer.from(bytes)
  other[9] = ~bytes[9]!
  writeFileSync(file, other)
  t.match(await runWithServer(['--resume', file, object]), {
    code: 1,
    stderr: /OSS_ERR_RESUME_MISMATCH/,
  })
  t.ok(server.read('examplebucket', 'video.ts')?.equals(bytes), 'the object is unchanged')
})

t.test(
  '--resume with --gzip makes the same members again and appends the missing ones',
  async t => {
    const { server, runWithServer } = await startCliServer(t)
    const text = Buffer.from(seededBytes(2_000_000).toString('hex'))
    const file = join(t.testdir({}), 'a.txt')
    writeFileSync(file, text)
    const args = ['--gzip', '--resume', file, 'oss://examplebucket/a.gz']
    t.match(await runWithServer(args), { code: 0 })
    const whole = server.read('examplebucket', 'a.gz')!
    // As after a crash behind the first member.
    const header = gzipSync('').subarray(0, 4)
    const second = whole.indexOf(header, 4)
    t.ok(second > 0 && gunzipSync(whole.subarray(0, second)).length > 0)
    server.delete('examplebucket', 'a.gz')
    server.append('examplebucket', 'a.gz', whole.subarray(0, second))
    t.match(await runWithServer(args), { code: 0, stdout: /\nverified\n$/ })
    t.ok(server.read('examplebucket', 'a.gz')?.equals(whole))
    t.ok(gunzipSync(whole).equals(text))
  },
)
