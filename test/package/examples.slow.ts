/** The examples of README.md and `docs/` run, and do what they say. */

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import {
  cleanEnv,
  DIST,
  firstLine,
  runModule,
  spawnClean,
  startModule,
  waitForChild,
} from '../helpers/child-process.ts'
import { skip } from '../helpers/ffmpeg.ts'
import { exampleMarks, page, example as plainExample } from '../helpers/readme.ts'
import { BUCKET, seededBytes, startOss } from '../helpers/test-oss.ts'

/** The marks of the examples that ran. */
const used = new Set<string>()

/** The code of the example with a mark, as JavaScript that imports `dist/`. */
function example(mark: string): string {
  used.add(mark)
  return plainExample(mark).replace(/'oss-append-stream(\/server)?'/g, (_, server) =>
    server ? "'DISTserver/index.js'" : "'DISTindex.js'",
  )
}

const oss = await startOss(t)
const { accessKeyId, accessKeySecret } = oss.server.credentials
const env = {
  OSS_ENDPOINT: oss.server.url,
  OSS_ACCESS_KEY_ID: accessKeyId,
  OSS_ACCESS_KEY_SECRET: accessKeySecret,
}

t.test('the ten lines of README copy a file into an object', async t => {
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

t.test("the OSS guide's example appends three times, and prints both kinds of failure", async t => {
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

t.test('the records example prints positions at which a line ends', async t => {
  const code = example('records')
  t.match(await runModule(t, code, env), { code: 0, stdout: '8\n16\n', stderr: '' })
  t.equal(oss.read('logs/events.ndjson').toString(), '{"n":1}\n{"n":2}\n')
})

t.test('the shared example starts four workers, which append 400 lines to one object', async t => {
  const file = join(t.testdir({}), 'workers.mjs')
  await writeFile(file, example('shared').replaceAll('DIST', DIST))
  const child = spawnClean([process.execPath, file], cleanEnv(env))
  t.match(await waitForChild(child), { code: 0, stdout: '', stderr: '' })
  const lines = oss.read('logs/workers.ndjson').toString().trimEnd().split('\n')
  const records = lines.map(line => JSON.parse(line))
  t.equal(new Set(records.map(({ pid, n }) => `${pid} ${n}`)).size, 400)
  t.equal(records.length, 400)
})

t.test('the address example prints where each record is', async t => {
  const { code, stdout } = await runModule(t, example('address'), env)
  t.equal(code, 0)
  const found = stdout
    .trimEnd()
    .split('\n')
    .map(line => {
      const [, key = '', from, to] = /^(.*), bytes=(\d+)-(\d+)$/.exec(line) ?? []
      return oss
        .read(key)
        .subarray(Number(from), Number(to) + 1)
        .toString()
    })
  t.same(found, ['{"order":17}\n', '{"order":18}\n', '{"order":19}\n'])
})

t.test('the gzip example makes a gzip file, and a second run adds members', async t => {
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

t.test('the copy example continues each time that it runs, and refuses another source', async t => {
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

t.test('the ffmpeg example records a picture, and fails with ffmpeg', { skip }, async t => {
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

t.test('the rolling example prints each object that is complete', async t => {
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

t.test(
  'the order of the power cut example survives kill -9, and the next run delivers it',
  async t => {
    const code = example('power cut').replace('/var/lib/app/oss', join(t.testdir({}), 'oss'))
    const killed = startModule(t, code, { ...env, OSS_ENDPOINT: 'http://127.0.0.1:1' })
    t.equal(await firstLine(killed), 'order accepted')
    killed.kill('SIGKILL')
    await once(killed, 'close')
    t.match(await runModule(t, code, env), {
      code: 0,
      stdout: /^\d\d bytes of the last run are in orders\.ndjson$/m,
      stderr: '',
    })
    t.match(oss.read('orders.ndjson').toString(), /^\{"order":\d+\}\n\{"order":\d+\}\n$/)
  },
)

t.test('the example of a failing source keeps the bytes from before the failure', async t => {
  const code = `${example('source fails')}
    async function* source() {
      yield Buffer.from('what came ')
      yield Buffer.from('before')
      throw new Error('the source failed')
    }
    await record(source()).catch(error => console.log(error.message))`
  t.match(await runModule(t, code, env), { code: 0, stdout: 'the source failed\n', stderr: '' })
  t.equal(oss.read('cam/gate.ts').toString(), 'what came before')

  // The stream fails too: one error, and no crash.
  oss.server.put(BUCKET, 'cam/gate.ts', 'Normal')
  const stdout = /suppressed|nothing can be appended/
  t.match(await runModule(t, code, env), { code: 0, stdout, stderr: '' })
})

t.test('the example of a logger with a journal runs twice at the same time', async t => {
  oss.server.requests.length = 0
  const code = example('pino with a journal').replace('/var/lib/app/oss-logs', t.testdir({}))
  const results = await Promise.all([runModule(t, code, env), runModule(t, code, env)])
  for (const result of results) t.match(result, { code: 0, stdout: '', stderr: '' })
  t.equal(appendedText().match(/"msg":"hello"/g)?.length, 2)
})

/** The objects that were appended to since the log was empty, as one text. */
function appendedText(): string {
  const keys = new Set(oss.server.requests.map(({ key = '' }) => key))
  return [...keys].map(key => oss.server.read(BUCKET, key)?.toString() ?? '').join('')
}

for (const name of ['pino', 'pino in-process', 'winston']) {
  t.test(
    `the ${name} example runs twice at the same time, and each record is delivered`,
    async t => {
      oss.server.requests.length = 0
      const code = example(name)
      const results = await Promise.all([runModule(t, code, env), runModule(t, code, env)])
      for (const result of results) t.match(result, { code: 0, stdout: '', stderr: '' })
      t.match(appendedText(), /^(\{.*"hello".*\}\n){2}$/)
    },
  )
}

t.test(
  'the pino example runs twice with one key for both, and each record is delivered',
  async t => {
    oss.server.requests.length = 0
    const code = example('pino').replace('{host}-{pid}', 'one-key')
    const results = await Promise.all([runModule(t, code, env), runModule(t, code, env)])
    for (const result of results) t.match(result, { code: 0, stdout: '', stderr: '' })
    t.match(appendedText(), /^(\{.*"hello".*\}\n){2}$/)
  },
)

for (const name of ['pino at SIGTERM', 'winston at SIGTERM']) {
  t.test(
    `the example of ${name} runs twice at the same time, and each record is delivered`,
    async t => {
      oss.server.requests.length = 0
      const code = `${example(name)}
      process.kill(process.pid, 'SIGTERM')
      setInterval(() => {}, 1000)`
      const results = await Promise.all([runModule(t, code, env), runModule(t, code, env)])
      for (const result of results) t.match(result, { code: 0, stdout: '', stderr: '' })
      t.match(appendedText(), /^(\{.*"hello".*\}\n){2}$/)
    },
  )
}

t.test(
  'the serverless example delivers the records of each invocation before it answers',
  async t => {
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
  },
)

t.test(
  'the Fastify example, twice at the same time, serves, and at SIGTERM delivers what it logged',
  async t => {
    oss.server.requests.length = 0
    const code = `${example('Fastify')}; console.log(app.server.address().port)`
    const serveOnce = async () => {
      const child = startModule(t, code, { ...env, PORT: '0' })
      const ended = waitForChild(child)
      const port = await firstLine(child)
      t.equal(await (await fetch(`http://127.0.0.1:${port}`)).text(), 'hello')
      child.kill('SIGTERM')
      t.match(await ended, { code: 0, stderr: '' })
    }
    await Promise.all([serveOnce(), serveOnce()])
    const delivered = appendedText()
    for (const message of ['Server listening', 'incoming request', 'request completed']) {
      t.equal(delivered.split(`"msg":"${message}`).length - 1, 2, message)
    }
  },
)

t.test(
  'the example of roles finds keys in the environment, and those of a credentials URI',
  async t => {
    const code = example('roles')
    const keys = {
      ALIBABA_CLOUD_ACCESS_KEY_ID: accessKeyId,
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: accessKeySecret,
    }
    const { OSS_ENDPOINT } = env
    oss.server.delete(BUCKET, 'logs/app.log')
    t.match(await runModule(t, code, { OSS_ENDPOINT, ...keys }), { code: 0, stderr: '' })

    const sts = { accessKeyId: 'sts', accessKeySecret: 'sts-secret', securityToken: 'token' }
    const original = oss.server.credentials
    oss.server.credentials = sts
    t.teardown(() => {
      oss.server.credentials = original
    })
    const uri = createServer((_, response) => {
      const { accessKeyId: AccessKeyId, accessKeySecret: AccessKeySecret } = sts
      const Expiration = new Date(Date.now() + 3_600_000).toISOString()
      response.end(
        JSON.stringify({ AccessKeyId, AccessKeySecret, SecurityToken: 'token', Expiration }),
      )
    }).listen(0, '127.0.0.1')
    t.teardown(() => uri.close())
    await once(uri, 'listening')
    const { port } = uri.address() as AddressInfo
    // Without a home and without instance metadata the client comes to the URI.
    const place = {
      ALIBABA_CLOUD_CREDENTIALS_URI: `http://127.0.0.1:${port}`,
      ALIBABA_CLOUD_ECS_METADATA_DISABLED: 'true',
      HOME: t.testdir({}),
    }
    t.match(await runModule(t, code, { OSS_ENDPOINT, ...place }), { code: 0, stderr: '' })
    t.equal(oss.read('logs/app.log').toString(), 'hello\nhello\n')
  },
)

t.test('the proxy example sends all its requests through the proxy', async t => {
  const origins: string[] = []
  const proxy = createServer().listen(0, '127.0.0.1')
  proxy.on('connect', ({ url = '' }, client) => {
    origins.push(url)
    const socket = connect(oss.server.port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(client).pipe(socket)
    })
    socket.on('error', () => {})
    client.on('error', () => {})
  })
  t.teardown(() => proxy.close())
  await once(proxy, 'listening')
  const { port } = proxy.address() as AddressInfo
  oss.server.delete(BUCKET, 'logs/app.log')
  const url = `http://oss.internal:${oss.server.port}`
  const HTTPS_PROXY = `http://127.0.0.1:${port}`
  // This name is known to the proxy alone.
  const code = example('proxy').replace("region: 'cn-hangzhou'", '$&, pathStyle: true')
  const result = await runModule(t, code, { ...env, OSS_ENDPOINT: url, HTTPS_PROXY })
  t.match(result, { code: 0, stderr: '' })
  t.equal(oss.read('logs/app.log').toString(), 'hello\n')
  t.same([...new Set(origins)], [`oss.internal:${oss.server.port}`])
})

t.test('the examples of many writers write below Hive-style keys', async t => {
  for (const name of ['Hive-style keys', 'shards']) {
    oss.server.requests.length = 0
    t.match(await runModule(t, example(name), env), { code: 0, stdout: '', stderr: '' }, name)
    const [key = ''] = oss.server.requests.flatMap(({ operation, key }) =>
      operation === 'append' ? [key] : [],
    )
    t.match(key, /^events\/(shard=[0-9a-f]{2}\/)?dt=\d{4}-\d\d-\d\d\/host=[^/]+\/\d+-0\.ndjson$/)
    t.match(oss.read(key).toString(), /^\{.*"event":"start"\}\n$/)
  }
  t.match(await runModule(t, example('one client'), env), { code: 0, stdout: '', stderr: '' })
  t.equal(oss.read('sensors/c.csv').toString(), '21.5\n')
})

t.test('the example of docs/comparison.md writes what its ali-oss program writes', async t => {
  const [, before = ''] = /```ts\n(.*?)```/s.exec(page('docs/comparison.md')) ?? []
  const place =
    "region: 'oss-cn-hangzhou', authorizationV4: true, endpoint: process.env.OSS_ENDPOINT"
  for (const code of [before.replace("region: 'oss-cn-hangzhou'", place), example('migration')]) {
    oss.server.delete(BUCKET, 'app.log')
    t.match(await runModule(t, code, env), { code: 0, stdout: '', stderr: '' })
    t.equal(oss.read('app.log').toString(), 'one\ntwo\n')
  }
})

t.test('the example of numbers counts appends and retries', async t => {
  oss.server.delete(BUCKET, 'logs/app.log')
  oss.server.faults.push({ kind: 'status', status: 500 })
  const result = await runModule(t, example('numbers'), env)
  t.match(result, {
    code: 0,
    stderr: '',
    stdout: /appends: 1,\s+retries: 1,[\s\S]*written: 6,\s+waiting: 0/,
  })
})

t.test('the OpenTelemetry example makes a span of each attempt', async t => {
  // The part of an SDK that the example needs: it keeps the context, and records spans.
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
  const object = { 'oss.bucket': BUCKET, 'oss.key': 'traced', 'oss.position': 0 }
  const append = { name: 'oss append', parent: 'parent' }
  const attributes = { ...object, 'oss.length': 5, 'oss.request_id': /^[0-9A-F]{24}$/ }
  const spans = ended.stdout.split('\n').filter(Boolean)
  t.match(
    spans.map(text => JSON.parse(text)),
    [
      { name: 'oss open', parent: 'parent', status: 'unset', attributes: object },
      { ...append, status: 2, exception: String, attributes },
      { ...append, status: 'unset', attributes: { ...attributes, 'oss.attempt': 2 } },
    ],
  )
  t.equal(spans.length, 3)
})

t.test('the test-server example prints the bytes of an append whose reply was lost', async t => {
  const ended = await runModule(t, example('server'), {})
  t.match(ended, { code: 0, stdout: '{ reconciled: true }\nhello\n', stderr: '' })
})

t.test("an awaited flush() does not replace an 'error' listener", async t => {
  const code = `
    import { createAppendStream } from 'DISTindex.js'
    const stream = createAppendStream({ bucket: '${BUCKET}', key: 'normal', region: 'cn-hangzhou' })
    LISTENER
    stream.write('hello')
    await stream.flush().catch(error => console.log(error.code))
    setTimeout(() => console.log('still here'), 100)`
  oss.server.put(BUCKET, 'normal', 'Normal')
  const withListener = code.replace('LISTENER', "stream.on('error', () => {})")
  t.match(await runModule(t, withListener, env), {
    code: 0,
    stdout: 'ObjectNotAppendable\nstill here\n',
    stderr: '',
  })
  const ended = await runModule(t, code.replace('LISTENER', ''), env)
  t.match(ended, { code: 1, stderr: /Unhandled 'error' event.*ObjectNotAppendable/s })
  t.notMatch(ended.stdout, 'still here')
})

t.test('every example ran', async t => {
  t.ok(exampleMarks.length > 10, `${exampleMarks.length} examples are found`)
  const left = exampleMarks.filter(mark => !used.has(mark) && !(skip && mark === 'ffmpeg'))
  t.same(left, [])
})
