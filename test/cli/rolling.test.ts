/** The command over many objects, compressed, and resumed. */

import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { gunzipSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { crc64 } from '../../lib/index.ts'
import { runCli, startCli, startCliServer, waitForExit } from '../helpers/run-cli.ts'
import { seededBytes } from '../helpers/test-oss.ts'

const LINES = Buffer.from(Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join(''))

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

t.test('--roll-key and --roll-bytes: whole lines in one object after another', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const options = ['--roll-key=app-{index}.log', '--roll-bytes=1500B', '--align=line', '--json']
  const { code, stdout, stderr } = await runWithServer(
    [...options, '--buffer=700', 'oss://examplebucket/logs/', '-'],
    {
      input: LINES,
    },
  )
  t.equal(code, 0, stderr)
  const events = stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(events[0], { event: 'ready', key: 'logs/app-0.log', exists: false })
  const rolls = events.filter(({ event }) => event === 'roll')
  t.equal(rolls.length, 3)
  const keys = [0, 1, 2, 3].map(index => `logs/app-${index}.log`)
  t.same(
    rolls.map(({ key }) => key),
    keys.slice(0, 3),
  )
  const objects = keys.map(key => server.read('examplebucket', key) ?? Buffer.alloc(0))
  t.equal(Buffer.concat(objects).toString(), LINES.toString())
  for (const object of objects) t.match(object.toString(), /^line .*\n$/s)
  const last = objects.at(-1)!
  t.match(events.at(-1), {
    event: 'finish',
    url: `oss://examplebucket/${keys[3]}`,
    rolls: 3,
    bytes: LINES.length,
    position: last.length,
    crc64: crc64(last),
    verified: true,
  })
  // The next run goes on behind the last.
  const again = await runWithServer([...options.slice(0, 3), 'oss://examplebucket/logs/', '-'], {
    input: LINES,
  })
  t.match(again, { code: 0, stderr: '', stdout: /^objects +4, the last one oss:.*-6.log$/m })
})

t.test('--roll-key: the date, in folders, each object read back', async t => {
  const dir = join(t.testdir({}), 'lab')
  const pattern = ['--roll-key', '{yyyy}/{index}', '--time-zone', 'Asia/Shanghai', '--seal-on-roll']
  const args = ['--local', dir, ...pattern, '--roll-bytes=2000', 'oss://lab', '-']
  const { code, stdout, stderr } = await runCli(args, { input: LINES })
  t.equal(code, 0, stderr)
  t.match(stdout, /^objects +3, the last one oss:\/\/lab\/\d{4}\/2$/m)
  t.match(stdout, /read back\n.*\nverified\n$/)
  const year = /lab\/(\d{4})/.exec(stdout)?.[1]
  const first = await runCli(['stat', '--json', '--local', dir, `oss://lab/${year}/0`])
  t.match(JSON.parse(first.stdout), { length: 2000, sealed: true, sealedTime: /GMT/ })
})

/** A clock that starts at ten past twelve, and so many minutes beyond it as the file says. */
const CLOCK = `
  import { readFileSync } from 'node:fs'
  const RealDate = Date
  const start = RealDate.now()
  const now = () => {
    const minutes = Number(readFileSync(new URL('minutes', import.meta.url), 'utf8'))
    return RealDate.UTC(2026, 0, 1, 0, 10 + minutes) + RealDate.now() - start
  }
  globalThis.Date = class extends RealDate {
    static now() {
      return now()
    }
    constructor(...args) {
      super(...(args.length > 0 ? args : [now()]))
    }
  }`

t.test(
  '--local: an object that a clock that goes back brings into use again is compared once',
  async t => {
    const dir = t.testdir({ 'clock.mjs': CLOCK, minutes: '0' })
    const rolling = ['--roll-key={HH}-{mm}.log', '--align=line', '--flush-interval=1ms']
    for (const [minutes, last] of [
      [[0, 1, 0], '00-10.log'],
      [[0, 1, 0, 2], '00-12.log'],
    ] as const) {
      const lab = join(dir, `lab${minutes.length}`)
      const child = startCli([...rolling, '--json', '--local', lab, 'oss://lab', '-'], {
        nodeArgs: [`--import=${pathToFileURL(join(dir, 'clock.mjs'))}`],
        stdio: ['pipe', 'pipe', 'pipe'],
        keepStdinOpen: true,
      })
      const outcome = waitForExit(child)
      const lines = createInterface(child.stdout!)[Symbol.asyncIterator]()
      const keys: string[] = []
      for (const [n, minute] of minutes.entries()) {
        writeFileSync(join(dir, 'minutes'), `${minute}`)
        const appended = (async () => {
          for (;;) {
            const event = JSON.parse((await lines.next()).value)
            if (event.event === 'append') return event.key
          }
        })()
        child.stdin?.write(`line ${n}\n`)
        keys.push(await appended)
      }
      child.stdin?.end()
      const { code, stdout, stderr } = await outcome
      t.same(
        keys,
        minutes.map(minute => `00-${10 + minute}.log`),
      )
      t.match({ code, stderr }, { code: 0, stderr: '' })
      const report = JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
      t.match(report, { event: 'finish', url: `oss://lab/${last}`, verified: true })
    }
  },
)

t.test('a wrong pattern is told in the words of the command line', async t => {
  const { runWithServer } = await startCliServer(t)
  const table: [string[], RegExp][] = [
    [['--roll-key={yy}.log', 'oss://examplebucket'], /--roll-key: \{yy\} is unknown/],
    [['--roll-key=a', '--time-zone=Mars', 'oss://examplebucket'], /--time-zone: /],
    [['--roll-bytes=6GiB', 'oss://examplebucket/a'], /--roll-bytes: must not be more/],
    [['--roll-bytes=1GiB', 'oss://examplebucket'], /its key is missing/],
  ]
  for (const [args, message] of table) {
    t.match(await runWithServer([...args, '-'], { input: LINES }), { code: 2, stderr: message })
  }
})

t.test('--gzip: what is acknowledged is a whole file, and a second run adds to it', async t => {
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

t.test('--gzip: what is read and what is appended are told apart', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const object = 'oss://examplebucket/a.gz'
  const { stdout } = await runWithServer(['--gzip', object, '-'], { input: LINES })
  const zipped = server.read('examplebucket', 'a.gz') ?? Buffer.alloc(0)
  t.match(stdout, `\ninput       ${LINES.length.toLocaleString('en-US')} bytes\n`)
  t.match(stdout, `\nSHA-256     ${sha256(LINES)} input\n            ${sha256(zipped)} appended\n`)
  server.delete('examplebucket', 'a.gz')
  const json = await runWithServer(['--gzip', '--json', object, '-'], { input: LINES })
  const [finish] = json.stdout.trimEnd().split('\n').slice(-1)
  t.match(JSON.parse(String(finish)), {
    event: 'finish',
    input: { bytes: LINES.length, sha256: sha256(LINES) },
    bytes: server.read('examplebucket', 'a.gz')?.length,
  })
})

t.test('--resume: the rest of a file, and nothing of another', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const bytes = seededBytes(3_000_000)
  const file = join(t.testdir({}), 'video.ts')
  writeFileSync(file, bytes)
  server.append('examplebucket', 'video.ts', bytes.subarray(0, 1_234_567))
  const object = 'oss://examplebucket/video.ts'
  const first = await runWithServer(['--resume', file, object])
  t.match(first, { code: 0, stdout: /^bytes +1,765,433 in/m, stderr: '' })
  t.match(first.stdout, /\ninput +3,000,000 bytes\n/)
  t.match(first.stdout, `${sha256(bytes)} input\n`)
  t.match(first.stdout, `${sha256(bytes.subarray(1_234_567))} appended\n`)
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
  t.ok(server.read('examplebucket', 'video.ts')?.equals(bytes), 'untouched')
})

t.test('--resume and --gzip: the same members again', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const text = Buffer.from(seededBytes(2_000_000).toString('hex'))
  const file = join(t.testdir({}), 'a.txt')
  writeFileSync(file, text)
  const args = ['--gzip', '--resume', file, 'oss://examplebucket/a.gz']
  t.match(await runWithServer(args), { code: 0 })
  const whole = server.read('examplebucket', 'a.gz')!
  // As if it had been killed after the first member.
  const header = gzipSync('').subarray(0, 4)
  const second = whole.indexOf(header, 4)
  t.ok(second > 0 && gunzipSync(whole.subarray(0, second)).length > 0)
  server.delete('examplebucket', 'a.gz')
  server.append('examplebucket', 'a.gz', whole.subarray(0, second))
  t.match(await runWithServer(args), { code: 0, stdout: /\nverified\n$/ })
  t.ok(server.read('examplebucket', 'a.gz')?.equals(whole))
  t.ok(gunzipSync(whole).equals(text))
})
