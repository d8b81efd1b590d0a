/** What is printed during an append: the progress line, notes about outages, events. */

import { EventEmitter } from 'node:events'
import t from 'tap'
import {
  describeProgress,
  formatBytes,
  Progress,
  type ProgressState,
  RateMeter,
  wrapFor,
} from '../../lib/cli/progress.ts'
import { Reporter } from '../../lib/cli/reporter.ts'
import { RetryNotice } from '../../lib/cli/retry-notice.ts'
import { type OssAppendStream, OssError } from '../../lib/index.ts'

const MIB = 1024 * 1024

const state: ProgressState = {
  acknowledged: 5 * MIB,
  length: 12 * MIB,
  rate: MIB,
  appends: 3,
  position: 5 * MIB + 7,
  waiting: 0,
  retries: 0,
  nextAttempt: 0,
  ackAge: 340,
}

t.test('the progress line shows what fits into the width', async t => {
  const table: [Partial<ProgressState>, number, string][] = [
    [
      {},
      200,
      '[####------] 41%  5.0 MiB  1.0 MiB/s  ETA 7 s  ack 0.3 s ago  3 appends  at 5.0 MiB',
    ],
    [
      { retries: 1 },
      200,
      '[####------] 41%  5.0 MiB  1 retry, trying  ack 0.3 s ago  3 appends  at 5.0 MiB',
    ],
    [
      {
        acknowledged: 4 * 1024 * MIB,
        length: 12 * 1024 * MIB,
        retries: 999,
        nextAttempt: 19_000,
        waiting: 8 * MIB,
      },
      79,
      '[###-------] 33%  4.0 GiB  999 retries, next in 19 s  8.0 MiB waiting',
    ],
    [{ length: undefined }, 200, '5.0 MiB  1.0 MiB/s  ack 0.3 s ago  3 appends  at 5.0 MiB'],
    [
      {
        length: undefined,
        retries: 12,
        nextAttempt: 3_100,
        waiting: 1536,
        appends: 1,
        ackAge: 83_000,
      },
      200,
      '5.0 MiB  12 retries, next in 4 s  1.5 KiB waiting  ack 83.0 s ago  1 append  at 5.0 MiB',
    ],
    [
      { acknowledged: 0, rate: 0, appends: 0, position: undefined, ackAge: undefined },
      200,
      '[----------] 0%  0 B  0 B/s  0 appends',
    ],
    [
      { acknowledged: 12 * MIB, position: 12 * MIB },
      200,
      '[##########] 100%  12.0 MiB  1.0 MiB/s  ack 0.3 s ago  3 appends  at 12.0 MiB',
    ],
    [{ rate: MIB / 1000 }, 40, '[####------] 41%  5.0 MiB  1.0 KiB/s'],
    [{ rate: MIB / 100 }, 55, '[####------] 41%  5.0 MiB  10.2 KiB/s  ETA 12 min'],
    [{ rate: 100 }, 55, '[####------] 41%  5.0 MiB  100 B/s  ETA 20.4 h'],
    // A part that does not fit is left out as a whole.
    [{}, 79, '[####------] 41%  5.0 MiB  1.0 MiB/s  ETA 7 s  ack 0.3 s ago  3 appends'],
    [{}, 12, '[####------] 41%'],
    [
      { position: 859, length: undefined },
      79,
      '5.0 MiB  1.0 MiB/s  ack 0.3 s ago  3 appends  at 859 B',
    ],
    // A file that grows while it is read.
    [{ length: MIB }, 60, '[##########] 100%  5.0 MiB  1.0 MiB/s  ack 0.3 s ago'],
  ]
  for (const [changes, width, line] of table) {
    t.equal(describeProgress({ ...state, ...changes }, width), line)
  }
  const sizes: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [MIB, '1.0 MiB'],
    [5 * 1024 * MIB, '5.0 GiB'],
    [5000 * 1024 * MIB, '5000.0 GiB'],
  ]
  for (const [bytes, text] of sizes) t.equal(formatBytes(bytes), text)
})

t.test('lines are broken between words on a terminal, and stay whole elsewhere', async t => {
  const text = 'oss-append: one two three\n  code          abc def\n'
  t.equal(wrapFor({ write() {} }, text), text)
  const terminal = { isTTY: true, columns: 20, write() {} }
  const wrapped = 'oss-append: one two\n  three\n  code          abc\n    def\n'
  t.equal(wrapFor(terminal, text), wrapped)
  t.equal(wrapFor(terminal, 'a'.repeat(30)), 'a'.repeat(30), 'a word is not broken')
})

t.test('the rate is that of the last five seconds', async t => {
  const rateMeter = new RateMeter()
  t.equal(rateMeter.update(1000, 0), 0, 'nothing is known yet')
  t.equal(rateMeter.update(2000, 500), 500)
  for (let time = 3000; time <= 20_000; time += 1000) rateMeter.update(time, 500)
  t.equal(rateMeter.update(21_000, 500), 0, 'an outage')
  t.equal(rateMeter.update(22_000, 1500), 200, 'over five seconds')
})

t.test('the progress line is redrawn in place, on a terminal alone', async t => {
  const { output, written } = createOutput(10)
  const drawn = new Promise<void>(resolve => (output.onWrite = resolve))
  const progress = new Progress(width => `${width} 23456789abc`, output)
  await drawn
  t.equal(written(), '\r\x1b[K9 2345678', 'drawn by a timer, and cut before it wraps')
  progress.note('a note')
  progress.stop()
  t.equal(written(), '\r\x1b[K9 2345678\r\x1b[Ka note\n\r\x1b[K')

  const plain = createOutput(undefined)
  const quiet = new Progress(() => 'x', plain.output)
  quiet.draw()
  quiet.note('a note')
  quiet.stop()
  t.equal(plain.written(), 'a note\n', 'elsewhere it is not drawn')
})

t.test('an outage prints a line when it begins and one when it ends', async t => {
  const notices: string[] = []
  const retryNotice = new RetryNotice(text => notices.push(text))
  retryNotice.onSuccess()
  t.same(notices, [])
  for (const times of [3, 1]) {
    for (let retry = 1; retry <= times; retry++) {
      retryNotice.onRetry(new Error(`reason ${retry}`))
      t.equal(retryNotice.retries, retry)
    }
    retryNotice.onSuccess()
    retryNotice.onSuccess()
    t.equal(retryNotice.retries, 0)
  }
  t.equal(notices.length, 4)
  t.equal(notices[0], 'trying again: reason 1')
  t.match(notices[1], /^going on after \d+\.\d s and 3 retries$/)
  t.equal(notices[2], 'trying again: reason 1')
  t.match(notices[3], /^going on after \d+\.\d s and 1 retry$/)
  retryNotice.onRetry(new Error('no keys', { cause: new Error('no role') }))
  t.equal(notices[4], 'trying again: no keys (no role)')
  retryNotice.onSuccess()
  retryNotice.onRetry(new Error('failed: no role', { cause: new Error('no role') }))
  t.equal(notices[6], 'trying again: failed: no role', 'the cause is not repeated')
})

t.test('report, notes, progress and events appear by output mode', async t => {
  const report = /^source {6}-\n.*\nverified\n$/s
  const retryLines = /^oss-append: trying again: down\noss-append: going on after .* 1 retry\n$/
  const redrawn = /^\r.\[K5 B {2}/
  const events = ['ready', 'retry', 'append', 'roll', 'finish', 'error']
  const table: [string, { isJson: boolean; isQuiet: boolean }, number | undefined, Expected][] = [
    [
      'people',
      { isJson: false, isQuiet: false },
      undefined,
      { stdout: report, stderr: retryLines },
    ],
    [
      'people at a terminal',
      { isJson: false, isQuiet: false },
      80,
      { stdout: report, stderr: redrawn },
    ],
    ['--quiet', { isJson: false, isQuiet: true }, 80, { stdout: /^$/, stderr: /^$/ }],
    ['programs, and people', { isJson: true, isQuiet: false }, 80, { events, stderr: retryLines }],
    ['programs', { isJson: true, isQuiet: true }, undefined, { events, stderr: /^$/ }],
  ]
  for (const [name, outputMode, columns, expected] of table) {
    const stdout = createOutput(columns)
    const stderr = createOutput(columns)
    const stream = createStream()
    const reporter = new Reporter(outputMode, {
      stdout: stdout.output,
      stderr: stderr.output,
      env: {},
    })
    const drawn = new Promise<void>(resolve => (stderr.output.onWrite = resolve))
    reporter.watch({ stream, bytesDone: () => 5, bytesSent: () => 5 })
    stream.emit('ready', { position: 0, crc64: '0', exists: false })
    if (expected.stderr === redrawn) await drawn
    stream.emit('retry', {
      attempt: 1,
      error: new OssError('OSS_ERR_TIMEOUT', 'down'),
      delay: 5,
      position: 0,
    })
    stream.emit('append', appended)
    stream.emit('roll', {
      key: 'a',
      bytes: 5,
      crc64: '2',
      startedAt: new Date(0),
      endedAt: new Date(1),
    })
    reporter.stop()
    reporter.finish({ source: '-', url: 'oss://b/k', delivery }, [])
    reporter.fail(new OssError('OSS_ERR_INTEGRITY', 'broken'))
    t.same([reporter.appends, reporter.rolls], [1, 1], name)
    t.match(stderr.written(), expected.stderr, name)
    if (expected.stdout) t.match(stdout.written(), expected.stdout, name)
    if (expected.events) {
      const lines = stdout
        .written()
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line))
      t.same(
        lines.map(({ event }) => event),
        events,
        name,
      )
      for (const { time } of lines) t.match(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
      t.match(lines, [
        { position: 0, crc64: '0', exists: false },
        { attempt: 1, error: { message: 'down' }, delay: 5, position: 0 },
        appended,
        { key: 'a', bytes: 5, crc64: '2', startedAt: '1970-01-01T00:00:00.000Z' },
        { url: 'oss://b/k', bytes: 5, sha256: 'aa', rolls: 1, position: 5, verified: true },
        { code: 'OSS_ERR_INTEGRITY', message: 'broken', exitCode: 4 },
      ])
    }
  }
})

t.test('an outage of the seal ends with the delivery', async t => {
  const stdout = createOutput(undefined)
  const stderr = createOutput(undefined)
  const outputs = { stdout: stdout.output, stderr: stderr.output, env: {} }
  const reporter = new Reporter({ isJson: false, isQuiet: false }, outputs)
  const stream = createStream()
  reporter.watch({ stream, bytesDone: () => 5, bytesSent: () => 5 })
  stream.emit('retry', {
    attempt: 1,
    error: new OssError('OSS_ERR_TIMEOUT', 'down'),
    delay: 5,
    position: 0,
  })
  reporter.stop()
  reporter.finish({ source: '-', url: 'oss://b/k', delivery }, [])
  t.match(stderr.written(), /trying again: down\noss-append: going on after .*\n$/)
})

t.test('the report waits until standard error is written, or for a signal', async t => {
  const stdout = createOutput(80)
  const pendingWrites: (() => void)[] = []
  const stderr = {
    write: (_text: string, callback?: () => void) => callback && pendingWrites.push(callback),
  }
  const reporter = new Reporter(
    { isJson: false, isQuiet: false },
    { stdout: stdout.output, stderr, env: {} },
  )
  let times = 0
  const count = () => void times++
  const first = new AbortController()
  const waits = [reporter.drainStderr(first.signal), reporter.drainStderr(first.signal)]
  for (const wait of waits) void wait.then(count)
  await new Promise(setImmediate)
  t.equal(times, 0)
  pendingWrites[0]?.()
  await waits[0]
  t.equal(times, 1)
  first.abort()
  await waits[1]
  await reporter.drainStderr(first.signal)
})

t.test('a delivery with differences is not reported as verified', async t => {
  for (const isJson of [false, true]) {
    const stdout = createOutput(undefined)
    const reporter = new Reporter(
      { isJson, isQuiet: false },
      { stdout: stdout.output, stderr: stdout.output, env: {} },
    )
    reporter.finish({ source: '-', url: 'oss://b/k', delivery }, ['a'])
    if (isJson) t.match(JSON.parse(stdout.written()), { event: 'finish', verified: false })
    else t.notMatch(stdout.written(), 'verified')
  }
})

interface Expected {
  readonly stderr: RegExp
  readonly stdout?: RegExp
  readonly events?: readonly string[]
}

const appended = {
  key: 'a',
  position: 0,
  nextPosition: 5,
  length: 5,
  crc64: '2',
  requestId: 'REQ',
  attempts: 2,
  lostRaces: 0,
  duration: 3,
  reconciled: false,
}

const delivery = {
  bytes: 5,
  sha256: 'aa',
  isCut: false,
  acknowledged: 5,
  key: 'k',
  exists: true,
  rolls: 1,
  before: { position: 0, crc64: '0', exists: false },
  after: { position: 5, crc64: '2' },
  appends: 1,
  recovered: 0,
  duration: 1000,
}

/** A stream that a test makes emit events. */
function createStream(): OssAppendStream {
  return Object.assign(new EventEmitter(), { bytesWritten: 5 }) as unknown as OssAppendStream
}

/** A terminal with this many columns, or no terminal. */
function createOutput(columns: number | undefined) {
  let text = ''
  const output = {
    isTTY: columns !== undefined,
    columns: columns ?? 0,
    onWrite: () => {},
    write(more: string) {
      text += more
      output.onWrite()
    },
  }
  return { output, written: () => text }
}
