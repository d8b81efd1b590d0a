/** `oss-append serve`: the embedded OSS in a process of its own, until a signal ends it. */

import { once } from 'node:events'
import type { ServeCommand } from './commands.ts'

/** Prints the environment in which any client of OSS finds the server. */
export async function serve(command: ServeCommand, signal: AbortSignal): Promise<number> {
  const { dir, port, host } = command
  const { createOssServer } = await import('../server/index.ts')
  const server = await createOssServer({ dir, port, host })
  const { url, region, credentials } = server
  const environment = {
    OSS_ENDPOINT: url,
    OSS_REGION: region,
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
  for (const [name, value] of Object.entries(environment)) {
    process.stdout.write(`export ${name}=${value}\n`)
  }
  if (!signal.aborted) await once(signal, 'abort')
  await server.close()
  return 0
}
