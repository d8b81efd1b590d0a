/** `oss-append` over many objects: `--roll-key` and `--roll-bytes`. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { crc64 } from '../../lib/index.ts'
import { runCli, startCliServer, startProcess, waitForExit } from '../helpers/run-cli.ts'

const LINES = Buffer.from(Array.from({ length: 500 }, (_, i) => `line ${i}\n`).join(''))

t.test('--roll-key and --roll-bytes write whole lines to one object after another', async t => {
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
  // The next run continues the last object.
  const again = await runWithServer([...options.slice(0, 3), 'oss://examplebucket/logs/', '-'], {
    input: LINES,
  })
  t.match(again, { code: 0, stderr: '', stdout: /^objects +4, the last one oss:.*-6.log$/m })
})

t.test('--roll-key takes dates and folders, and --local reads each object back', async t => {
  const dir = join(t.testdir({}), 'lab')
  const pattern = ['--roll-key', '{yyyy}/{index}', '--time-zone', 'Asia/Shanghai', '--seal-on-roll']
  const args = ['--local', dir, ...pattern, '--roll-bytes=2000', 'oss://lab', '-']
  const { code, stdout, stderr } = await runCli(args, { input: LINES })
  t.equal(code, 0, stderr)
  t.match(stdout, /^objects +3, the last one oss:\/\/lab\/\d{4}\/2$/m)
  t.match(stdout, /read back\n.*read it by .*\n *SHA-256\n.*\n *verified\n$/)
  const year = /lab\/(\d{4})/.exec(stdout)?.[1]
  const first = await runCli(['stat', '--json', '--local', dir, `oss://lab/${year}/0`])
  t.match(JSON.parse(first.stdout), { length: 2000, sealed: true, sealedTime: /GMT/ })
})

t.test('--roll-key creates no object for an empty input', async t => {
  const { server, runWithServer } = await startCliServer(t)
  const pattern = '--roll-key=app-{index}.log'
  const args = [pattern, 'oss://examplebucket/', '-']
  const local = ['--local', join(t.testdir({}), 'lab')]
  for (const result of [await runWithServer(args), await runCli([...local, ...args])]) {
    t.match(result, { code: 0, stderr: '', stdout: /^object +none, because .*\nverified\n$/ms })
    t.notMatch(result.stdout, 'reported by OSS')
  }
  const json = await runWithServer(['--json', ...args])
  const event = JSON.parse(json.stdout.trimEnd().split('\n').at(-1)!)
  t.match(event, { event: 'finish', bytes: 0, verified: true })
  t.notOk('url' in event)
  t.equal(server.read('examplebucket', 'app-0.log'), undefined)
})

/** A clock at 00:10, plus the minutes in the file `minutes`. */
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

t.test('the key stays when the clock goes back, and each object is compared once', async t => {
  const dir = t.testdir({ 'clock.mjs': CLOCK, minutes: '0' })
  const rolling = ['--roll-key={HH}-{mm}.log', '--align=line', '--flush-interval=1ms']
  for (const [minutes, last] of [
    [[0, 1, 0], '00-11.log'],
    [[0, 1, 0, 2], '00-12.log'],
  ] as const) {
    const lab = join(dir, `lab${minutes.length}`)
    const child = startProcess([...rolling, '--json', '--local', lab, 'oss://lab', '-'], {
      nodeArgs: [`--import=${pathToFileURL(join(dir, 'clock.mjs'))}`],
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
      minutes.map((_, n) => `00-${10 + Math.max(...minutes.slice(0, n + 1))}.log`),
    )
    t.match({ code, stderr }, { code: 0, stderr: '' })
    const report = JSON.parse(stdout.trimEnd().split('\n').at(-1)!)
    t.match(report, { event: 'finish', url: `oss://lab/${last}`, verified: true })
  }
})

t.test('a wrong pattern is refused with the name of its flag', async t => {
  const { runWithServer } = await startCliServer(t)
  const table: [string[], RegExp][] = [
    [['--roll-key={yy}.log', 'oss://examplebucket'], /--roll-key: \{yy\} is unknown/],
    [['--roll-key={dd}', '--time-zone=Mars', 'oss://examplebucket'], /--time-zone: /],
    [['--roll-bytes=6GiB', 'oss://examplebucket/a-{index}'], /--roll-bytes: must not be more/],
    [['--roll-bytes=1GiB', 'oss://examplebucket'], /its key is missing/],
  ]
  for (const [args, message] of table) {
    t.match(await runWithServer([...args, '-'], { input: LINES }), { code: 2, stderr: message })
  }
})
