/** `oss-append serve`: the test server in a process of its own, until a signal. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { lockFolder } from '../folder-lock.ts'
import type { CommandIO, ServeCommand } from './commands.ts'

/** What a client has to know about the server. */
interface ServerInfo {
  readonly url: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly accessKeySecret: string }
}

/** Prints the environment variables with which any OSS client reaches the server. */
export async function serve(
  command: ServeCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { dir, port, host } = command
  const { createOssServer } = await import('../server/index.ts')
  if (dir !== undefined) mkdirSync(dir, { recursive: true })
  const unlock = dir === undefined ? () => {} : lockFolder(dir)
  try {
    const server = await createOssServer({ dir, port, host })
    io.stdout.write(formatEnvironment(server))
    if (!signal.aborted) await once(signal, 'abort')
    await server.close()
  } finally {
    unlock()
  }
  return 0
}

/** As shell commands. */
function formatEnvironment({ url, region, credentials }: ServerInfo): string {
  const environment = {
    // "Every address of this machine" is no address to connect to.
    OSS_ENDPOINT: url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:'),
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
  const { hostname } = new URL(environment.OSS_ENDPOINT)
  // A session token or a proxy of the shell would make every request fail.
  const lines = [
    'unset OSS_SESSION_TOKEN',
    `export NO_PROXY="${hostname}\${NO_PROXY:+,$NO_PROXY}"`,
    ...Object.entries(environment).map(([name, value]) => `export ${name}=${value}`),
  ]
  return `${lines.join('\n')}\n`
}
