/**
 * How many connections a client opens for the appends of one stream after another: to the sink, to a sink in Python,
 * to the sink behind nginx. Parameters: `{ server, appends, sink }`. A server that is not installed is skipped.
 */

import { spawn } from 'node:child_process'
import { subscribe } from 'node:diagnostics_channel'
import { mkdtempSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createClient, createStream } from './ours.js'

const RECORD = Buffer.alloc(1024, 'x')

const servers = { sink: async ({ port }) => port, python: startPython, nginx: startNginx }

export async function open({ server, appends, sink }) {
  let connections = 0
  // undici publishes this for each connection that it opens.
  subscribe('undici:client:connected', () => {
    connections += 1
  })
  const port = await servers[server](sink)
  if (port === undefined) return async () => ({ skipped: true })
  const client = createClient({ port })
  return async () => {
    connections = 0
    const stream = createStream(client)
    for (let i = 0; i < appends; i++) {
      stream.write(RECORD)
      await stream.flush()
    }
    stream.end()
    return { appends, connections }
  }
}

/** Returns the process, or undefined where the program is not installed. It ends with this process. */
async function start(command, args, stdio) {
  const child = spawn(command, args, { stdio })
  process.on('exit', () => child.kill())
  const isThere = await new Promise(resolve => {
    child.once('spawn', () => resolve(true))
    child.once('error', () => resolve(false))
  })
  return isThere ? child : undefined
}

async function startPython() {
  const file = fileURLToPath(new URL('sink.py', import.meta.url))
  const child = await start('python3', [file], ['ignore', 'pipe', 'inherit'])
  if (!child) return undefined
  const [port] = await child.stdout.take(1).toArray()
  return Number(port)
}

async function startNginx(sink) {
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'bench-nginx-'))
  const file = join(dir, 'nginx.conf')
  writeFileSync(
    file,
    `daemon off; master_process off; pid ${dir}/pid; error_log ${dir}/error.log;
events {}
http {
  access_log off; client_body_temp_path ${dir}; proxy_temp_path ${dir};
  upstream sink { server 127.0.0.1:${sink.port}; keepalive 4; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
  )
  const child = await start('nginx', ['-p', dir, '-c', file], ['ignore', 'inherit', 'inherit'])
  if (!child) return undefined
  while (!(await isOpen(port))) await sleep(20)
  return port
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise(resolve => server.close(resolve))
  return port
}

function isOpen(port) {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
