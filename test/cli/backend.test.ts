/** How the command reaches OSS: environment, credentials, and the folder of `--local`. */

import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli, startCliServer } from '../helpers/run-cli.ts'

const OBJECT = 'oss://examplebucket/a.log'
const TEXT = Buffer.from('hello')

t.test('a variable in quotes is refused by its name, and its value is not printed', async t => {
  const { env } = await startCliServer(t)
  for (const name of [...Object.keys(env), 'HTTPS_PROXY', 'OSS_SESSION_TOKEN']) {
    for (const value of ['"x-in-quotes"', "'x-in-quotes'"]) {
      const result = await runCli(['stat', OBJECT], { env: { ...env, [name]: value } })
      t.match(result, { code: 2, stderr: new RegExp(`^oss-append: ${name}: .*--env-file`) })
      t.notMatch(result.stderr, 'x-in-quotes')
    }
  }
})

t.test('commands that read do not create the folder of --local', async t => {
  const dir = join(t.testdir({}), 'typo')
  for (const command of [['stat'], ['cat'], ['verify', import.meta.filename]]) {
    const outcome = await runCli([...command, '--local', dir, OBJECT])
    t.match(outcome, { code: 2, stderr: /--local: there is no such folder/ })
  }
  t.notOk(existsSync(dir))
})

t.test('--credentials takes keys, functions, providers and classes of a module', async t => {
  const { server, env } = await startCliServer(t)
  const { OSS_ENDPOINT, OSS_REGION } = env
  const keys = JSON.stringify(server.credentials)
  const keysModule = `module.exports = ${keys}`
  const modules: Record<string, string> = {
    'keys.cjs': keysModule,
    'function.mjs': `export default async () => (${keys})`,
    'object.mjs': `export default { getCredentials: () => (${keys}) }`,
    'class.cjs': `exports.__esModule = true; exports.default = class { getCredential() { return ${keys} } }`,
  }
  const dir = t.testdir({
    ...modules,
    node_modules: { keeper: { 'index.js': keysModule } },
  })
  const statWith = (name: string) =>
    runCli(['--credentials', join(dir, name), 'stat', OBJECT], {
      env: { OSS_ENDPOINT, OSS_REGION },
    })
  server.append('examplebucket', 'a.log', TEXT)
  for (const name of Object.keys(modules)) {
    t.match(await statWith(name), { code: 0, stdout: /length +5/, stderr: '' }, name)
  }
  const cwd = process.cwd()
  process.chdir(dir)
  for (const name of ['./keys.cjs', 'function.mjs', 'keeper']) {
    const args = ['--credentials', name, 'stat', OBJECT]
    const result = await runCli(args, { env: { OSS_ENDPOINT, OSS_REGION } })
    t.match(result, { code: 0, stderr: '' }, `${name}, from the current folder`)
  }
  process.chdir(cwd)

  const wrong: [string, string, RegExp][] = [
    ['nothing.mjs', 'export const a = 1', /--credentials: the module has no default export/],
    ['text.mjs', 'export default "SECRET"', /--credentials: must be an object with/],
    ['half.mjs', 'export default { accessKeyId: "SECRET" }', /accessKeySecret: is missing/],
  ]
  for (const [name, text, message] of wrong) {
    writeFileSync(join(dir, name), text)
    const { code, stderr } = await statWith(name)
    t.equal(code, 2, name)
    t.match(stderr, message)
    t.notMatch(stderr, 'SECRET')
  }
  const absent = await statWith('SECRET.mjs')
  t.match(absent, { code: 2, stderr: /--credentials: cannot be loaded: Cannot find module/ })
  t.notMatch(absent.stderr, 'SECRET')
  t.match(await runCli(['--credentials', 'SECRET', 'stat', OBJECT]), {
    code: 2,
    stderr: /^oss-append: --credentials: cannot be loaded: Cannot find package \.\.\.\nTry: /,
  })
  writeFileSync(join(dir, 'broken.mjs'), 'throw new Error("no role is attached")')
  t.match(await statWith('broken.mjs'), {
    code: 2,
    stderr: /cannot be loaded: Error\. Run it with node to see more/,
  })
  writeFileSync(join(dir, 'loud.mjs'), 'throw new Error("no use: accessKeySecret=SECRET123456")')
  const leaking = await statWith('loud.mjs')
  t.match(leaking, { code: 2, stderr: /cannot be loaded: Error\. Run it with node/ })
  t.notMatch(leaking.stderr, 'SECRET')
  const broken =
    'module.exports = class { constructor() { throw new Error("no role") } getCredential() {} }'
  writeFileSync(join(dir, 'class-broken.cjs'), broken)
  t.match(await statWith('class-broken.cjs'), {
    code: 2,
    stderr:
      /^oss-append: --credentials: cannot be loaded: Error\. Run it with node to see more\nTry: /,
  })
})

t.test('--credentials takes @alicloud/credentials, which reads the environment itself', async t => {
  const { server, env } = await startCliServer(t)
  const { accessKeyId, accessKeySecret } = server.credentials
  process.env.ALIBABA_CLOUD_ACCESS_KEY_ID = accessKeyId
  process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET = accessKeySecret
  t.teardown(() => {
    delete process.env.ALIBABA_CLOUD_ACCESS_KEY_ID
    delete process.env.ALIBABA_CLOUD_ACCESS_KEY_SECRET
  })
  const { OSS_ENDPOINT, OSS_REGION } = env
  const result = await runCli(['--credentials', '@alicloud/credentials', OBJECT, '-'], {
    env: { OSS_ENDPOINT, OSS_REGION },
    input: TEXT,
  })
  t.match(result, { code: 0, stdout: /\nverified\n$/, stderr: '' })
})
