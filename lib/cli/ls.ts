/** `oss-append ls`: the objects of a bucket whose keys begin with a prefix. */

import { parseUrl } from '../client/endpoint.ts'
import type { ListedObject } from '../client/list-objects.ts'
import { withBackend } from './backend.ts'
import type { CommandIO, LsCommand } from './commands.ts'
import { OutputWriter } from './output-writer.ts'
import { printable } from './printable.ts'
import { stderrListener } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'

/** Milliseconds of retrying. */
const LIST_MAX_ELAPSED = 60_000

/** Prints each page as it arrives, so a bucket of any size needs little memory. */
export async function ls(command: LsCommand, io: CommandIO, signal: AbortSignal): Promise<number> {
  const { bucket, prefix, backend, isJson } = command
  // Refuses a wrong bucket.
  parseUrl(`oss://${bucket}/-`)
  const format = isJson ? formatJson : formatLine
  const writer = new OutputWriter(io.stdout, signal)
  const listener = stderrListener(io.stderr)
  const { note } = listener
  return withBackend(backend, 'read', { env: io.env, note }, async ({ clientOptions }) => {
    const maxElapsed = LIST_MAX_ELAPSED
    const reader = new RetryingReader(clientOptions, { signal, maxElapsed, listener })
    try {
      for await (const object of reader.list(bucket, prefix)) {
        if (!(await writer.write(format(bucket, object)))) break
      }
      return 0
    } finally {
      await reader.close()
    }
  }).finally(() => writer.dispose())
}

function formatJson(bucket: string, { key, length, type, lastModified }: ListedObject): string {
  const url = `oss://${bucket}/${key}`
  return `${JSON.stringify({ url, key, length, type, lastModified })}\n`
}

/** Length, type, time and key. A length of OSS has at most 13 digits. */
function formatLine(_bucket: string, { key, length, type, lastModified }: ListedObject): string {
  const time = lastModified.replace(/\.\d+(?=Z$)/, '')
  return `${String(length).padStart(13)}  ${type.padEnd(10)}  ${time}  ${printable(key)}\n`
}
