/** `oss-append serve`: the embedded OSS in a process of its own, until a signal ends it. */

import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { lockFolder } from '../folder-lock.ts'
import type { ServeCommand } from './commands.ts'

/** What of a server its clients have to know. */
interface ServerInfo {
  readonly url: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly accessKeySecret: string }
}

/** Prints the environment in which any client of OSS finds the server. */
export async function serve(command: ServeCommand, signal: AbortSignal): Promise<number> {
  const { dir, port, host } = command
  const { createOssServer } = await import('../server/index.ts')
  if (dir !== undefined) mkdirSync(dir, { recursive: true })
  const unlock = dir === undefined ? () => {} : lockFolder(dir)
  try {
    const server = await createOssServer({ dir, port, host })
    printEnvironment(server)
    if (!signal.aborted) await once(signal, 'abort')
    await server.close()
  } finally {
    unlock()
  }
  return 0
}

function printEnvironment({ url, region, credentials }: ServerInfo): void {
  const environment = {
    // "Every address of this machine" is none to connect to.
    OSS_ENDPOINT: url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:'),
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
  const { hostname } = new URL(environment.OSS_ENDPOINT)
  // What a shell may have of its own, and what would lead elsewhere.
  process.stdout.write('unset OSS_SESSION_TOKEN\n')
  process.stdout.write(`export NO_PROXY="${hostname}\${NO_PROXY:+,$NO_PROXY}"\n`)
  for (const [name, value] of Object.entries(environment)) {
    process.stdout.write(`export ${name}=${value}\n`)
  }
}
