/** README is true: its tables name what the code has, both ways, and its examples run. */

import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { OSS_ERROR_CODES } from '../lib/errors.ts'
import { OPTIONS, resolveOptions } from '../lib/options.ts'
import { run } from './fixtures/child.ts'
import { BUCKET, noise, startOss } from './fixtures/oss.ts'

const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')

/** The rows of the table behind a mark, cell by cell. */
function table(mark: string): string[][] {
  const [, after = ''] = readme.split(`<!-- ${mark} -->`)
  const rows = after.trimStart().split('\n\n', 1)[0]?.split('\n').slice(2) ?? []
  return rows.map(row =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map(cell => cell.trim()),
  )
}

/** The names that a cell sets in backticks. */
function names(cell = ''): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '')
}

/** The code of the example behind a mark, as JavaScript that imports `dist/`. */
function example(mark: string): string {
  const [, after = ''] = readme.split(`<!-- example: ${mark} -->\n`)
  const [, code = ''] = /^```ts\n(.*?)```/s.exec(after) ?? []
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  })
  return outputText.replace(/'oss-append-stream(\/server)?'/g, (_, server) =>
    server ? "'DISTserver/index.js'" : "'DISTindex.js'",
  )
}

t.test('every option is in the table, and nothing else', async t => {
  const listed = table('options').flatMap(([cell]) => names(cell))
  t.same([...listed].sort(), [...OPTIONS].sort())
})

t.test('defaults are those of the code', async t => {
  const { retry, ...settings } = resolveOptions({
    bucket: BUCKET,
    key: 'k',
    region: 'cn-hangzhou',
  })
  const known: Record<string, unknown> = { ...settings }
  for (const [cell, text = ''] of table('options')) {
    for (const name of names(cell)) {
      if (name === 'retry') {
        for (const [option, value] of Object.entries(retry)) {
          t.match(text, new RegExp(`\\b${option}: ${value}\\b`), `retry.${option}`)
        }
      } else if (/^(\d+|true|false|'.*')$/.test(text.replaceAll('`', '')) && name in known) {
        t.equal(text.replaceAll(/[`']/g, ''), String(known[name]), name)
      }
    }
  }
})

t.test('every code of ours is in the table, and no other that looks like one', async t => {
  const listed = table('errors').flatMap(([cell]) => names(cell))
  t.same(listed.filter(code => code.startsWith('OSS_ERR_')).sort(), [...OSS_ERROR_CODES].sort())
  const mentioned = new Set(readme.match(/OSS_ERR_[A-Z_]+/g))
  t.same([...mentioned].sort(), [...OSS_ERROR_CODES].sort())
})

t.test('the examples run', async t => {
  const oss = await startOss(t)
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  const env = {
    OSS_ENDPOINT: oss.server.url,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }

  t.test('ten lines', async t => {
    const bytes = noise(100_000)
    const file = join(await mkdtemp(join(tmpdir(), 'readme-')), 'app.log')
    await writeFile(file, bytes)
    const code = example('ten lines').replace("'app.log'", `'${file}'`)
    t.match(await run(t, code, env), {
      code: 0,
      stdout: /^100000 bytes, the object has 100000, CRC-64 \d+\n$/,
      stderr: '',
    })
    t.ok(oss.read('logs/app.log').equals(bytes))
  })

  t.test("the guide's", async t => {
    const code = example('guide')
    t.match(await run(t, code, env), {
      code: 0,
      stdout: /^the object has 13 bytes.*\nthe object has 26 bytes.*\nthe object has 39 bytes/,
      stderr: '',
    })
    const object = oss.server.stat(BUCKET, 'exampleobject.txt')
    t.equal(oss.read('exampleobject.txt').toString(), 'Hello OSS A \nHello OSS B \nHello OSS C \n')
    t.match(JSON.stringify(object), /text\/plain/)

    oss.server.put(BUCKET, 'exampleobject.txt', 'Normal')
    const refused = await run(t, code, env)
    t.match(refused, {
      code: 0,
      stderr: /^OSS refused: .*\ncode: ObjectNotAppendable\nrequest id: [0-9A-F]{24}\nhost id: /,
    })

    const nowhere = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1' }
    const once = code.replace('bucket:', 'retry: { maxRetries: 1 }, bucket:')
    t.match(await run(t, once, nowhere), {
      code: 0,
      stderr: /^OSS was not reached: gave up after 2 attempts: .*ECONNREFUSED/,
    })
  })

  t.test('server', async t => {
    const ended = await run(t, example('server'), {})
    t.match(ended, { code: 0, stdout: '{ reconciled: true }\nhello\n', stderr: '' })
  })
})
