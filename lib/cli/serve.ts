/** `oss-append serve`: the test server in a process of its own, until a signal. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { lockFolder } from '../folder-lock.ts'
import type { OssServer, RequestRecord } from '../server/index.ts'
import type { CommandIO, ServeCommand } from './commands.ts'
import { makeFolder } from './make-folder.ts'
import { UsageError } from './usage-error.ts'

/** Prints the environment variables with which any OSS client reaches the server. */
export async function serve(
  command: ServeCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { dir, isLogged } = command
  const tls = command.tls && readTls(command.tls)
  if (dir !== undefined) makeFolder(dir)
  const unlock = dir === undefined ? () => {} : lockFolder(dir)
  try {
    const server = await startServer(command, tls)
    try {
      if (isLogged) server.onAnswered = record => io.stderr.write(formatRecord(record))
      await new Promise<void>(done =>
        io.stdout.write(formatEnvironment(server, command), () => done()),
      )
      // `eval "$(oss-append serve &)"` goes on when the output has ended.
      io.closeStdout?.()
      if (!signal.aborted) await once(signal, 'abort')
    } finally {
      await server.close()
    }
  } finally {
    unlock()
  }
  return 0
}

async function startServer(
  {
    dir,
    port,
    host,
    region,
    credentials,
    buckets,
    permissions,
    control,
    latency,
    faults,
  }: ServeCommand,
  tls: { key: string; cert: string } | undefined,
): Promise<OssServer> {
  const { createOssServer } = await import('../server/index.ts')
  const options = { dir, port, host, region, credentials, buckets, permissions, tls }
  const server = await createOssServer({
    ...options,
    ...(control !== undefined && { control: { port: control } }),
  }).catch(error => {
    const { code, port: used } = error as NodeJS.ErrnoException & { port?: number }
    if (code !== 'EADDRINUSE') throw error
    throw new UsageError(`port ${used} is in use (EADDRINUSE): name another one, or 0 for any`)
  })
  try {
    server.latency = latency
    if (faults !== undefined) server.faults.pushJson(faults)
    return server
  } catch (error) {
    await server.close()
    // The member that is wrong, as in `fault.how`, or the place in the JSON.
    throw new UsageError(`--fault: ${(error as Error).message.replace(/^option /, '')}`)
  }
}

/** A wrong file is refused here, since the errors of OpenSSL name none. */
function readTls(files: { cert: string; key: string }): { key: string; cert: string } {
  const read = (file: string) => {
    try {
      return readFileSync(file, 'utf8')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new UsageError(`--tls: ${file} cannot be read: ${code}`)
    }
  }
  const pair = { cert: read(files.cert), key: read(files.key) }
  try {
    createSecureContext(pair)
    return pair
  } catch {
    throw new UsageError('--tls: CERT and KEY must be a certificate and its key, in PEM')
  }
}

/** As shell commands. */
function formatEnvironment(server: OssServer, { tls }: ServeCommand): string {
  const { accessKeyId, accessKeySecret, securityToken } = server.credentials
  const endpoint = toLoopback(server.url)
  const { control } = server
  const environment = {
    // A self-signed certificate is its own authority.
    ...(tls && { NODE_EXTRA_CA_CERTS: resolve(tls.cert) }),
    ...(control && {
      OSS_CONTROL_URL: toLoopback(control.url),
      OSS_CONTROL_TOKEN: control.token,
    }),
    OSS_SERVE_PID: String(process.pid),
    ...(securityToken !== undefined && { OSS_SESSION_TOKEN: securityToken }),
    OSS_ENDPOINT: endpoint,
    OSS_REGION: server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
  const { hostname } = new URL(endpoint)
  // A session token or a proxy of the shell would make every request fail.
  const lines = [
    ...(securityToken === undefined ? ['unset OSS_SESSION_TOKEN'] : []),
    `export NO_PROXY="${hostname},\${no_proxy:-\${NO_PROXY:-}}"`,
    'export no_proxy="$NO_PROXY"',
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${quote(value)}`),
  ]
  return `${lines.join('\n')}\n`
}

/** "Every address of this machine" is no address to connect to. */
function toLoopback(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')
}

/** A word of the shell. */
function quote(text: string): string {
  return /^[\w./:@%+=,[\]-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** `12:00:00.123 POST 200 1234 B 5 ms /bucket/key?append&position=0`, then error code and faults. */
function formatRecord(record: RequestRecord): string {
  const { method, target, status, code, length, received, answered = received, faults } = record
  const time = new Date().toISOString().slice(11, 23)
  const duration = Math.round(answered - received)
  const details = [code, faults && `fault: ${faults.join(', ')}`].filter(Boolean)
  const words = [
    time,
    method,
    status ?? 'none',
    `${length} B`,
    `${duration} ms`,
    target,
    ...details,
  ]
  return `${words.join(' ')}\n`
}
