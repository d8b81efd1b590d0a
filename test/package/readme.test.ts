/** README is true: its tables name what the code has, both ways, and its examples run. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { COMMANDS, FLAGS } from '../../lib/cli/flags.ts'
import { CLIENT_DEFAULTS } from '../../lib/client/client.ts'
import { resolveEndpoint } from '../../lib/client/endpoint.ts'
import { OSS_ERROR_CODES } from '../../lib/errors.ts'
import { GZIP_DEFAULTS } from '../../lib/gzip-members.ts'
import { TRANSPORT_DEFAULTS } from '../../lib/loggers/options.ts'
import { OPTIONS, resolveOptions } from '../../lib/options.ts'
import { ROLLING_OPTIONS, resolveRollingOptions } from '../../lib/rolling/options.ts'
import { runModule } from '../helpers/child-process.ts'
import { skip } from '../helpers/ffmpeg.ts'
import { example as plainExample, readme } from '../helpers/readme.ts'
import { BUCKET, seededBytes, startOss } from '../helpers/test-oss.ts'

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
  return plainExample(mark).replace(/'oss-append-stream(\/server)?'/g, (_, server) =>
    server ? "'DISTserver/index.js'" : "'DISTindex.js'",
  )
}

t.test('every option is in the table, and nothing else', async t => {
  const listed = table('options').flatMap(([cell]) => names(cell))
  t.same([...listed].sort(), [...OPTIONS].sort())
})

/** Compares each default that the table behind a mark gives as a value, and not in words. */
function compareDefaults(t: Test, mark: string, known: Readonly<Record<string, unknown>>): void {
  const compared: string[] = []
  for (const [cell, text = ''] of table(mark)) {
    const value = text.replaceAll(/[`']/g, '')
    const isValue = /^\S+$/.test(value) && !['required', 'environment'].includes(value)
    if (!isValue) continue
    for (const name of names(cell)) {
      const isKnown = Object.hasOwn(known, name)
      t.ok(isKnown, `${name} is said to be ${value}: the code's default is known to this test`)
      if (isKnown) t.equal(value, String(known[name]), name)
      compared.push(name)
    }
  }
  t.same(
    Object.keys(known).filter(name => !compared.includes(name)),
    [],
    'each is in the table',
  )
}

t.test('defaults are those of the code', async t => {
  const given = { bucket: BUCKET, key: 'k', region: 'cn-hangzhou' }
  const { retry, ...settings } = resolveOptions(given)
  const { position, highWaterMark, flushInterval, align, maxRecordBytes } = settings
  const { maxObjectBytes, seal } = settings
  const cname = resolveEndpoint(given).style === 'cname'
  const sizes = { highWaterMark, maxRecordBytes, maxObjectBytes }
  const others = { position, flushInterval, align, seal, cname }
  compareDefaults(t, 'options', { ...CLIENT_DEFAULTS, ...sizes, ...others })

  const row = table('options').find(([cell]) => names(cell).includes('retry'))
  for (const [option, value] of Object.entries(retry)) {
    t.match(row?.[1], new RegExp(`\\b${option}: ${value}\\b`), `retry.${option}`)
  }
  const http = resolveOptions({ ...given, endpoint: 'http://oss:9000' })
  t.same([http.contentMd5, settings.contentMd5], [true, false])
  const told = table('options').find(([cell]) => names(cell).includes('contentMd5'))
  t.equal(told?.[1], 'true over http, false over https')
})

t.test('so it is with those of a rolling stream', async t => {
  const own = ROLLING_OPTIONS.filter(name => name === 'key' || !OPTIONS.includes(name as 'bucket'))
  const rows = table('rolling options')
  t.same(rows.flatMap(([cell]) => names(cell)).sort(), [...own].sort())
  t.same(OPTIONS.filter(name => !ROLLING_OPTIONS.includes(name as 'key')).sort(), [
    'crc64',
    'position',
  ])
  const given = { bucket: BUCKET, key: '{dd} {HH}', region: 'cn-hangzhou' }
  const { sealOnRoll, nameKey } = resolveRollingOptions(given)
  const sizes = [1000, 2000].map(maxObjectBytes => {
    const { maxBytes } = resolveRollingOptions({ ...given, maxObjectBytes })
    return maxBytes === maxObjectBytes
  })
  const maxBytes = sizes.every(Boolean) ? 'maxObjectBytes' : 'another'
  const keys = [0, 11].map(hour =>
    nameKey({ date: new Date(Date.UTC(2026, 0, 1, hour)), index: 0 }),
  )
  const timeZone = keys.join() === '01 00,01 11' ? 'UTC' : keys.join()
  compareDefaults(t, 'rolling options', { maxBytes, sealOnRoll, timeZone })
})

t.test('so it is with those of the loggers', async t => {
  const rows = table('logger options').flatMap(([cell]) => names(cell))
  t.same(rows.sort(), [...Object.keys(TRANSPORT_DEFAULTS), 'credentials'].sort())
  compareDefaults(t, 'logger options', TRANSPORT_DEFAULTS)
})

t.test('so it is with those of gzip members', async t => {
  const rows = table('gzip options').flatMap(([cell]) => names(cell))
  t.same(rows.sort(), Object.keys(GZIP_DEFAULTS).sort())
  compareDefaults(t, 'gzip options', GZIP_DEFAULTS)
})

t.test('every command is in the table, and every flag that is named is one', async t => {
  const calls = table('commands').map(([cell]) => /`oss-append (\S+)/.exec(cell ?? '')?.[1] ?? '')
  const words = calls.map(word => (word.startsWith('oss://') ? 'append' : word))
  t.same(words.sort(), [...COMMANDS, 'help'].sort())
  const [, section = ''] = /\n### The command\n(.*?)\n## /s.exec(readme) ?? []
  const flags = [...section.matchAll(/(?<![\w-])--([a-z][a-z0-9-]*)/g)].map(
    ([, name]) => name ?? '',
  )
  t.ok(flags.length > 20, `${flags.length} are named`)
  t.same(
    flags.filter(name => !Object.hasOwn(FLAGS, name)),
    [],
  )
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
    const bytes = seededBytes(100_000)
    const file = join(t.testdir({}), 'app.log')
    await writeFile(file, bytes)
    const code = example('ten lines').replace("'app.log'", `'${file}'`)
    t.match(await runModule(t, code, env), {
      code: 0,
      stdout: /^100000 bytes, the object has 100000, CRC-64 \d+\n$/,
      stderr: '',
    })
    t.ok(oss.read('logs/app.log').equals(bytes))
  })

  t.test("the guide's", async t => {
    const code = example('guide')
    t.match(await runModule(t, code, env), {
      code: 0,
      stdout: /^the object has 13 bytes.*\nthe object has 26 bytes.*\nthe object has 39 bytes/,
      stderr: '',
    })
    const object = oss.server.stat(BUCKET, 'exampleobject.txt')
    t.equal(oss.read('exampleobject.txt').toString(), 'Hello OSS A \nHello OSS B \nHello OSS C \n')
    t.match(JSON.stringify(object), /text\/plain/)

    oss.server.put(BUCKET, 'exampleobject.txt', 'Normal')
    const refused = await runModule(t, code, env)
    t.match(refused, {
      code: 0,
      stderr: /^OSS refused: .*\ncode: ObjectNotAppendable\nrequest id: [0-9A-F]{24}\nhost id: /,
    })

    const nowhere = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1' }
    const once = code.replace('bucket:', 'retry: { maxRetries: 1 }, bucket:')
    t.match(await runModule(t, once, nowhere), {
      code: 0,
      stderr: /^OSS was not reached: gave up after 2 attempts: .*ECONNREFUSED/,
    })
  })

  t.test('records', async t => {
    const code = example('records')
    t.match(await runModule(t, code, env), { code: 0, stdout: '8\n16\n', stderr: '' })
    t.equal(oss.read('logs/events.ndjson').toString(), '{"n":1}\n{"n":2}\n')
  })

  t.test('gzip: a second run adds members', async t => {
    const bytes = seededBytes(100_000)
    const file = join(t.testdir({}), 'app.log')
    await writeFile(file, bytes)
    const code = example('gzip').replace("'app.log'", `'${file}'`)
    for (const expected of [bytes, Buffer.concat([bytes, bytes])]) {
      t.match(await runModule(t, code, env), { code: 0, stdout: '', stderr: '' })
      t.ok(gunzipSync(oss.read('logs/app.log.gz')).equals(expected))
    }
    t.match(JSON.stringify(oss.server.stat(BUCKET, 'logs/app.log.gz')), /application\/gzip/)
  })

  t.test('copy: again and again', async t => {
    const bytes = seededBytes(100_000)
    const file = join(t.testdir({}), 'disk.img')
    const code = example('copy').replace("'disk.img'", `'${file}'`)
    for (const length of [40_000, 100_000, 100_000]) {
      await writeFile(file, bytes.subarray(0, length))
      t.match(await runModule(t, code, env), { code: 0, stdout: '', stderr: '' })
      t.ok(oss.read('disk.img').equals(bytes.subarray(0, length)))
    }
    await writeFile(file, seededBytes(200_000, 2))
    t.match(await runModule(t, code, env), { code: 1, stderr: /OSS_ERR_RESUME_MISMATCH/ })
    t.ok(oss.read('disk.img').equals(bytes))
  })

  t.test('ffmpeg', { skip }, async t => {
    const record = (source: string) =>
      example('ffmpeg').replace("'-i', 'rtsp://cam', '-c', 'copy'", `'-v', 'error', ${source}`)
    const picture = "'-f', 'lavfi', '-i', 'testsrc=duration=1', '-c:v', 'mpeg2video'"
    const bucket = (code: string) => code.replace('oss://cams/', `oss://${BUCKET}/`)
    t.match(await runModule(t, bucket(record(picture)), env), { code: 0, stderr: '' })
    t.equal(oss.read('gate.ts').readUInt8(188), 0x47, 'packets of MPEG-TS')

    oss.server.delete(BUCKET, 'gate.ts')
    const failed = await runModule(t, bucket(record("'-i', '/dev/null'")), env)
    t.match(failed, { code: 1, stderr: /the recording is cut at 0: ffmpeg ended with \d+/ })
  })

  t.test('rolling', async t => {
    const code = example('rolling')
      .replace('process.stdin', "['one\\n', 'two\\n', 'three\\n']")
      .replace('1024 ** 3', '8')
    const ended = await runModule(t, code, env)
    t.match(ended, {
      code: 0,
      stderr: '',
      stdout: /^logs.*-0\.log is complete, 8 bytes\n.* ends at 6\n$/,
    })
    const keys = ended.stdout.match(/logs\/\d{4}-\d\d-\d\d\/\d\d-\d+\.log/g)
    t.same(
      keys?.map(key => String(oss.read(key))),
      ['one\ntwo\n', 'three\n'],
    )
  })

  t.test('source fails', async t => {
    const code = `${example('source fails')}
      async function* source() {
        yield Buffer.from('what came ')
        yield Buffer.from('before')
        throw new Error('the source failed')
      }
      await record(source()).catch(error => console.log(error.message))`
    t.match(await runModule(t, code, env), { code: 0, stdout: 'the source failed\n', stderr: '' })
    t.equal(oss.read('cam/gate.ts').toString(), 'what came before')

    // The stream fails: that is told once, and nothing crashes.
    oss.server.put(BUCKET, 'cam/gate.ts', 'Normal')
    const stdout = /suppressed|nothing can be appended/
    t.match(await runModule(t, code, env), { code: 0, stdout, stderr: '' })
  })

  for (const name of ['pino', 'pino in-process', 'winston']) {
    t.test(name, async t => {
      const key = `logs/${name}.log`
      const code = example(name).replace(/key: .*,/, `key: '${key}',`)
      t.match(await runModule(t, code, env), { code: 0, stdout: '', stderr: '' })
      t.match(oss.read(key).toString(), /^\{.*"hello".*\}\n$/)
    })
  }

  for (const name of ['pino at SIGTERM', 'winston at SIGTERM']) {
    t.test(name, async t => {
      const key = `logs/${name}.log`
      const code = `${example(name).replace(/key: .*,/, `key: '${key}',`)}
        process.kill(process.pid, 'SIGTERM')
        setInterval(() => {}, 1000) // a server, say`
      t.match(await runModule(t, code, env), { code: 0, stdout: '', stderr: '' })
      t.match(oss.read(key).toString(), /^\{.*"hello".*\}\n$/)
    })
  }

  t.test('serverless: what an invocation logged is in before its answer', async t => {
    const key = 'logs/function.log'
    const code = `${example('serverless').replace(/key: .*,/, `key: '${key}',`)}
      for (let n = 0; n < 3; n++) await handler()
      process.kill(process.pid, 'SIGKILL')`
    await runModule(t, code, env)
    t.equal(
      oss
        .read(key)
        .toString()
        .match(/"an invocation"/g)?.length,
      3,
    )
  })

  t.test('OpenTelemetry', async t => {
    // What an SDK does: it keeps the context, and is told of spans.
    const sdk = `
      import { AsyncLocalStorage } from 'node:async_hooks'
      import { context, ROOT_CONTEXT, trace as api } from '@opentelemetry/api'
      import { createAppendStream } from 'DISTindex.js'
      const storage = new AsyncLocalStorage()
      context.setGlobalContextManager({
        active: () => storage.getStore() ?? ROOT_CONTEXT,
        with: (active, callback) => storage.run(active, callback),
      })
      const startSpan = (name, _options, parent = context.active()) => {
        const span = { name, parent: api.getSpan(parent)?.name, attributes: {}, status: 'unset' }
        return Object.assign(span, {
          setAttribute: (name, value) => (span.attributes[name] = value),
          setAttributes: attributes => Object.assign(span.attributes, attributes),
          setStatus: ({ code }) => (span.status = code),
          recordException: ({ code }) => (span.exception = code),
          end: () => console.log(JSON.stringify(span)),
        })
      }
      api.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) })`
    const use = `
      context.with(api.setSpan(ROOT_CONTEXT, { name: 'parent' }), () => {
        const options = { retry: { minDelay: 1 }, bucket: '${BUCKET}', key: 'traced', region: 'cn-hangzhou' }
        createAppendStream(options).end('hello')
      })`
    oss.server.faults.push({ kind: 'status', status: 500 })
    const ended = await runModule(t, [sdk, example('OpenTelemetry'), use].join('\n'), env)
    t.match(ended, { code: 0, stderr: '' })
    const place = { 'oss.bucket': BUCKET, 'oss.key': 'traced', 'oss.position': 0 }
    const append = { name: 'oss append', parent: 'parent' }
    const attributes = { ...place, 'oss.length': 5, 'oss.request_id': /^[0-9A-F]{24}$/ }
    const spans = ended.stdout.split('\n').filter(Boolean)
    t.match(
      spans.map(line => JSON.parse(line)),
      [
        { name: 'oss open', parent: 'parent', status: 'unset', attributes: place },
        { ...append, status: 2, exception: String, attributes },
        { ...append, status: 'unset', attributes: { ...attributes, 'oss.attempt': 2 } },
      ],
    )
    t.equal(spans.length, 3)
  })

  t.test('server', async t => {
    const ended = await runModule(t, example('server'), {})
    t.match(ended, { code: 0, stdout: '{ reconciled: true }\nhello\n', stderr: '' })
  })
})
