/**
 * Pipelined appends through a real nginx in front of the server: it serves the requests of a connection one after
 * another, and closes the connection after seven. Skipped where nginx (Debian's package) is not installed.
 */

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { createAppendStream } from '../../lib/index.ts'
import { createOssServer, type OssServer } from '../../lib/server/index.ts'
import { startRelay } from '../helpers/relay.ts'
import { seededBytes } from '../helpers/test-oss.ts'

const BUCKET = 'examplebucket'
const KEY = 'nginx.log'
const BATCH = 65_536
const BYTES = seededBytes(60 * BATCH)
const REQUESTS = 7
/** Debian keeps daemons in /usr/sbin, which a user's PATH may lack. */
const PATH = [process.env.PATH, '/usr/sbin', '/sbin'].join(delimiter)

function reasonToSkip(): string | false {
  try {
    execFileSync('which', ['nginx'], { env: { PATH } })
    return false
  } catch {
    return 'nginx is not installed'
  }
}

for (const pipelining of [2, 4]) {
  t.test(
    `nginx closes the connection after each ${REQUESTS} requests, ${pipelining} in flight`,
    { skip: reasonToSkip() },
    async t => {
      const server = await createOssServer()
      t.teardown(() => server.close())
      const port = await startNginx(t, server.url)
      const relay = await startRelay(t, port)
      const { stream, retries } = await copy(server, relay.port, pipelining)
      t.ok(server.read(BUCKET, KEY)?.equals(BYTES), 'the object is equal')
      t.equal(stream.bytesWritten, BYTES.length)
      const appends = appendsOf(server)
      t.ok(relay.links.length >= 60 / REQUESTS, `${relay.links.length} connections`)
      t.ok(appends.length <= 60 + relay.links.length * pipelining, `${appends.length} appends`)
      t.comment({ connections: relay.links.length, appends: appends.length, retries })
    },
  )

  t.test(
    `a reset in the middle of a chain behind nginx, ${pipelining} in flight`,
    { skip: reasonToSkip() },
    async t => {
      const server = await createOssServer()
      t.teardown(() => server.close())
      const port = await startNginx(t, server.url)
      const relay = await startRelay(t, port)
      let resets = 0
      relay.toServer = (bytes, link) => {
        // In the middle of the third body of a connection.
        if (resets < 5 && link.bytesFromClient > 2.5 * BATCH) {
          resets += 1
          link.reset()
          return undefined
        }
        return bytes
      }
      const { stream, retries } = await copy(server, relay.port, pipelining)
      t.ok(server.read(BUCKET, KEY)?.equals(BYTES), 'the object is equal')
      t.equal(stream.bytesWritten, BYTES.length)
      t.equal(resets, 5)
      t.ok(retries >= 1 && retries <= 15, `${retries} retries`)
      t.comment({ connections: relay.links.length, appends: appendsOf(server).length, retries })
    },
  )
}

function appendsOf({ requests }: OssServer) {
  return requests.filter(({ operation }) => operation === 'append')
}

async function copy(server: OssServer, port: number, pipelining: number) {
  server.latency = 5
  const stream = createAppendStream({
    bucket: BUCKET,
    key: KEY,
    endpoint: `http://127.0.0.1:${port}`,
    region: server.region,
    credentials: server.credentials,
    highWaterMark: BATCH,
    retry: { minDelay: 1, maxDelay: 10 },
    pipelining,
  })
  let retries = 0
  stream.on('retry', () => {
    retries += 1
  })
  stream.end(BYTES)
  await once(stream, 'close')
  return { stream, retries }
}

/** Starts nginx in the foreground, and waits until its port is open. */
async function startNginx(t: Test, upstream: string): Promise<number> {
  const dir = t.testdir({})
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise(resolve => probe.close(resolve))
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/error.log;
    events {}
    http {
      access_log off;
      keepalive_requests ${REQUESTS};
      ${paths.map(name => `${name}_temp_path ${dir}/${name};`).join(' ')}
      server {
        listen 127.0.0.1:${port};
        location / { proxy_pass ${upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }
      }
    }`,
  )
  const args = ['-c', join(dir, 'nginx.conf'), '-p', dir]
  const child = spawn('nginx', args, { env: { PATH }, stdio: 'ignore' })
  const ended = new Promise(resolve => child.once('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  while (child.exitCode === null && !(await canConnect(port))) await new Promise(setImmediate)
  if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`)
  return port
}

function canConnect(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
