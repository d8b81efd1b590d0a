/** The packed package: its types for module resolution, as a bundle, and installed by npm for each Node. */

import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { cleanEnv } from '../helpers/child-process.ts'
import { runsLongTests } from '../helpers/long-tests.ts'
import { findNode, MAJORS } from '../helpers/node-versions.ts'
import { execClean, MODULES, pack } from '../helpers/packed-package.ts'
import { readme } from '../helpers/readme.ts'
import { startOss } from '../helpers/test-oss.ts'
import { checkExample, PROGRAMS } from './example-programs.ts'

const { tarball, app } = await pack(t)

t.test('attw finds no problem', async t => {
  const attw = join(MODULES, '@arethetypeswrong/cli/dist/index.js')
  const args = [attw, tarball, '--profile', 'esm-only', '--format', 'json']
  const { stdout, code } = await execClean([process.execPath, ...args])
  t.equal(code, 0)
  const { analysis } = JSON.parse(stdout)
  t.same(Object.keys(analysis.entrypoints).sort(), [
    '.',
    './package.json',
    './pino',
    './server',
    './winston',
  ])
})

t.test('a bundle of the package runs without node_modules', async t => {
  const oss = await startOss(t)
  const folder = await mkdtemp(join(app, '../../bundle-'))
  t.teardown(() => rm(folder, { recursive: true }))
  for (const [file, code] of Object.entries(PROGRAMS)) {
    await t.test(file, async t => {
      await writeFile(join(app, file), code)
      const format = file.endsWith('.mjs') ? 'esm' : 'cjs'
      // undici is CommonJS and requires Node's own modules. esbuild leaves those calls in the bundle.
      const banner = `import { createRequire as from } from 'node:module'; const require = from(import.meta.url)`
      const bundle = join(folder, file)
      const args = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${bundle}`]
      if (format === 'esm') args.push(`--banner:js=${banner}`)
      const command = [join(MODULES, '.bin/esbuild'), '--log-level=error', file, ...args]
      t.match(await execClean(command, { cwd: app }), { code: 0, stderr: '' })
      await checkExample(t, oss, [process.execPath, bundle], folder)
    })
  }
})

t.test('the package runs when npm installs it in an empty folder', async t => {
  const oss = await startOss(t)
  const folder = await mkdtemp(join(app, '../../empty-'))
  t.teardown(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'package.json'), '{}')
  const npm = ['npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball]
  t.match(await execClean(npm, { cwd: folder }), { code: 0 })
  t.same(
    (await readdir(join(folder, 'node_modules'))).filter(name => !name.startsWith('.')),
    ['crc64-ecma182.js', 'oss-append-stream', 'undici'],
  )
  const { node: running } = process.versions
  const others = MAJORS.filter(major => !running.startsWith(`${major}.`))
  const isFull = runsLongTests(`the installed package on Node ${others.join(' and ')}`)
  for (const version of isFull ? [running, ...others] : [running]) {
    const node = await findNode(version)
    for (const [file, code] of Object.entries(PROGRAMS)) {
      await writeFile(join(folder, file), code)
      await t.test(`Node ${version}, ${file}`, t => checkExample(t, oss, [node, file], folder))
    }
    const command = [node, 'node_modules/.bin/oss-append', '--version']
    t.match(await execClean(command, { cwd: folder }), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
  }
  await t.test('the lines of "Try it without an account"', t => checkTrial(t, folder))
})

/** Runs README's lines word by word: the server in one shell, and in another what it prints and the other lines. */
async function checkTrial(t: Test, folder: string): Promise<void> {
  const [, lines = ''] = /### Try it without an account\n+```sh\n(.*?)^```/ms.exec(readme) ?? []
  const [serve = '', ...others] = lines.split('\n')
  t.match(serve, /^npx -p oss-append-stream oss-append serve /)
  t.equal(others.filter(line => line && !line.startsWith('#')).length, 2)
  // A process group of its own: npx does not pass a signal on to the server.
  const variables = Object.entries(cleanEnv()).map(([name, value]) => `${name}=${value}`)
  const server = spawn('env', ['-i', ...variables, 'bash', '-c', serve], {
    cwd: folder,
    detached: true,
  })
  t.teardown(() => process.kill(-Number(server.pid), 'SIGKILL'))
  let exports = ''
  for await (const chunk of server.stdout) {
    exports += chunk
    if (exports.includes('OSS_ACCESS_KEY_SECRET') && exports.endsWith('\n')) break
  }
  t.match(exports, /^export OSS_REGION=cn-hangzhou$/m)
  const script = [exports, ...others].join('\n')
  const result = await execClean(['bash', '-c', script], { cwd: folder })
  t.match(result, { code: 0, stdout: 'hello\n', stderr: '' })
}
