/** The command as a whole: help, usage errors, its outputs, and what it leaves behind. */

import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatHelp, HELP } from '../../lib/cli/help.ts'
import { Output, runCli, startCli, startCliServer } from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/logs/run 7.csv'
const TEXT = Buffer.from('温度,21.5 °C\n'.repeat(1000))

t.test('help and version are printed on standard output', async t => {
  for (const args of [['--help'], ['-h'], ['help'], [OBJECT, '--help']]) {
    t.same(await runCli(args), { code: 0, stdout: HELP, stderr: '' })
  }
  const options = { code: 0, stdout: formatHelp('options'), stderr: '' }
  t.same(await runCli(['help', 'options']), options)
  const demo = { code: 0, stdout: formatHelp('demo'), stderr: '' }
  t.same(await runCli(['demo', '-h', '-v']), demo)
  t.same(await runCli(['help', 'demo']), demo)
  const manifest = join(import.meta.dirname, '../../package.json')
  const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8'))
  t.same(await runCli(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
  t.same(await runCli(['-v']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

t.test('wrong usage prints the problem, a pointer to the help, and exits with 2', async t => {
  const dir = t.testdir({})
  const cases: [string, string[], RegExp][] = [
    ['unknown option', ['--regoin', 'x', OBJECT], /append: --regoin: .*did you mean --region\?/],
    ['no value', [OBJECT, '--region'], /--region.*argument missing/],
    ['no url', ['examplebucket/a.log', '-'], /oss:\/\/BUCKET\/KEY is missing beside examplebucket/],
    ['no key', ['--local', dir, 'oss://examplebucket', '-'], /url: its key is missing/],
    ['a wrong bucket', ['--local', dir, 'oss://A/a.log', '-'], /url: its bucket must be/],
    ['no keys', [OBJECT, '-'], /no credentials: .*_ID and OSS_ACCESS_KEY_SECRET, or .*--local/],
    ['no input', ['--local', dir, OBJECT], /there is no input/],
  ]
  for (const [name, args, message] of cases) {
    const { code, stdout, stderr } = await runCli(args)
    t.equal(code, 2, name)
    t.equal(stdout, '', name)
    t.match(stderr, message, name)
    t.match(stderr, /^oss-append: .*\n(.*\n)?Try: oss-append --help\n$/, name)
  }
  t.same(fs.readdirSync(dir), [], 'no file is created')
  const keys = { OSS_ACCESS_KEY_ID: 'id', OSS_ACCESS_KEY_SECRET: 'secret' }
  const noRegion = await runCli([OBJECT, '-'], { env: keys })
  t.equal(noRegion.code, 2)
  t.match(noRegion.stderr, 'oss-append: --region or OSS_REGION: is missing')
})

t.test('with --json wrong usage is an event on standard output too', async t => {
  const { code, stdout, stderr } = await runCli(['--json', '--regoin=x', OBJECT])
  t.equal(code, 2)
  t.match(stderr, /did you mean --region/)
  const event = { event: 'error', code: 'ERR_USAGE', message: /^--regoin: is unknown/, exitCode: 2 }
  t.match(JSON.parse(stdout), event)
  const { stdout: none } = await runCli(['--regoin=x', OBJECT, '--', '--json'])
  t.equal(none, '', '--json behind -- is no flag')
})

t.test('--quiet prints errors and nothing else', async t => {
  const { server, runWithServer } = await startCliServer(t)
  server.faults.push({ kind: 'reset', when: 'before' })
  t.same(await runWithServer(['--quiet', OBJECT, '-'], { input: TEXT }), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  t.ok(server.read('examplebucket', 'logs/run 7.csv')?.equals(TEXT))
  const wrong = await runWithServer(['--quiet', '--position=0', OBJECT, '-'], { input: 'other' })
  t.match(wrong, { code: 3, stdout: '', stderr: /PositionNotEqualToLength/ })
})

/** Fails like a file on a full disk, or like a pipe whose reader has gone. */
class BrokenOutput extends Output {
  readonly #code: string

  constructor(code: string) {
    super()
    this.#code = code
  }

  override _write(chunk: Buffer, _: BufferEncoding, callback: (error?: Error) => void): void {
    if (chunk.length === 0) callback()
    else callback(Object.assign(new Error(`${this.#code}: write`), { code: this.#code }))
  }
}

t.test('a full disk behind standard output is a failure, printed once', async t => {
  const { env } = await startCliServer(t)
  for (const args of [
    ['--json', OBJECT, '-'],
    ['cat', OBJECT],
  ]) {
    const stdout = new BrokenOutput('ENOSPC')
    const { code, stderr } = await runCli(args, { env, input: 'x', stdout })
    t.equal(code, 1)
    t.match(
      stderr,
      /^oss-append: standard output: ENOSPC.*\n {2}code +ENOSPC\n( {2}object +oss:.*\n)?$/,
      args.join(' '),
    )
  }
})

t.test('a reader of standard output that goes away does not change the exit code', async t => {
  const { env } = await startCliServer(t)
  for (const args of [['--help'], [OBJECT, '-'], ['stat', OBJECT]]) {
    const stdout = new BrokenOutput('EPIPE')
    t.match(await runCli(args, { env, input: 'x', stdout }), { code: 0, stderr: '' })
  }
})

t.test('signals after the end of the command are not its own', async t => {
  const command = startCli(['--help'])
  t.match(await command.result, { code: 0 })
  t.throws(() => command.kill('SIGINT'), 'the command has stopped listening')
})
