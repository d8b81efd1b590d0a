/** The executable: what only a process of its own has (descriptors, pipes, loaded modules, links). */

import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  CLI,
  runProcess,
  runShell,
  startCliServer,
  startProcess,
  waitForExit,
} from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/logs/run 7.csv'

// The tests mostly wait, so they run side by side.
t.jobs = 4

t.test('a process reads the environment and standard input', async t => {
  const { server, env } = await startCliServer(t)
  server.append('examplebucket', 'logs/run 7.csv', 'hello')
  const verified = await runProcess(['verify', '-', OBJECT], { env, input: 'hello' })
  t.match(verified, { code: 0, stdout: /\nverified\n$/, stderr: '' })
})

t.test('a process without input refuses to wait for it', async t => {
  const dir = t.testdir({})
  const { code, stderr } = await runProcess(['--local', dir, OBJECT])
  t.equal(code, 2)
  t.match(stderr, /^oss-append: there is no input: .*\nTry: oss-append --help\n$/)
  t.same(fs.readdirSync(dir), [])
})

t.test('a process whose standard output is on a full disk fails', async t => {
  const { env } = await startCliServer(t)
  const line = `printf x | oss_append --json '${OBJECT}' > /dev/full`
  const expected = {
    code: 1,
    stderr: /^oss-append: standard output: ENOSPC.*\n {2}code +ENOSPC\n( {2}object +oss:.*\n)?$/,
  }
  t.match(await runShell(line, env), expected)
  t.match(await runShell(`oss_append cat '${OBJECT}' > /dev/full`, env), expected, 'printed once')
})

t.test('a closed or broken output does not change the exit code of a process', async t => {
  const { env } = await startCliServer(t)
  const append = `printf x | oss_append '${OBJECT}'`
  const cases: [string, string, string][] = [
    ['stderr closed', `${append} 2>&-; echo $?`, '0'],
    ['stdout closed', `${append} >&-; echo $? >&2`, '0'],
    ['both closed', '(oss_append --nonsense >&- 2>&-); echo $?', '2'],
  ]
  for (const [name, line, code] of cases) {
    const { stdout, stderr } = await runShell(line, env)
    t.equal(`${stdout}${stderr}`.trim().split('\n').at(-1), code, name)
  }
  const brokenOutput = startProcess([OBJECT, '-'], { env, input: 'x' })
  brokenOutput.stdout?.destroy()
  t.equal((await waitForExit(brokenOutput)).code, 0, 'stdout broken')
  const brokenErrors = startProcess(['--nonsense'])
  brokenErrors.stderr?.destroy()
  t.equal((await waitForExit(brokenErrors)).code, 2, 'stderr broken')
})

// Node 22: after `fstatSync` of a pipe, a link was taken for a pipe, and undici loaded without its exports.
t.test('packages may be symbolic links, as pnpm makes them, and the input a pipe', async t => {
  const dir = t.testdir({ node_modules: {} })
  fs.cpSync(join(CLI, '../..'), join(dir, 'dist'), { recursive: true })
  fs.writeFileSync(join(dir, 'package.json'), '{ "type": "module" }')
  for (const name of ['undici', 'crc64-ecma182.js']) {
    const real = join(import.meta.dirname, '../../node_modules', name)
    fs.symlinkSync(fs.realpathSync(real), join(dir, 'node_modules', name))
  }
  const { env } = await startCliServer(t)
  const file = { CLI_FILE: join(dir, 'dist/cli/bin.js') }
  const result = await runShell(`printf hello | oss_append '${OBJECT}'`, { ...env, ...file })
  t.match(result, { code: 0, stdout: /\nverified\n$/, stderr: '' })
})

t.test('--help loads neither the server nor undici', async t => {
  const dir = t.testdir({ help: {}, demo: {} })
  const loadedBy = async (name: string, args: string[]) => {
    // V8 writes the list of loaded scripts with its coverage.
    const folder = join(dir, name)
    await runProcess(args, { env: { NODE_V8_COVERAGE: folder } })
    return fs
      .readdirSync(folder)
      .flatMap(file => JSON.parse(fs.readFileSync(join(folder, file), 'utf8')).result)
      .map((script: { url: string }) => script.url)
  }
  const isHeavy = (url: string) =>
    /dist\/(server|client|stream|cli\/(append|look|cat|serve))|undici/.test(url)
  const help = await loadedBy('help', ['--help'])
  t.ok(help.some(url => url.endsWith('dist/cli/main.js')))
  t.same(help.filter(isHeavy), [])
  const demo = await loadedBy('demo', ['demo', '--bytes', '1'])
  t.ok(
    demo.some(url => url.includes('/undici/')),
    'demo loads undici',
  )
  t.ok(demo.some(url => url.endsWith('dist/server/index.js')))
})
