/** What the tests of journals share: folders, the end of a stream, what it recovers, an outage. */

import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { OssAppendStream, RecoverInfo } from '../../lib/index.ts'

/** No request is answered until `server.faults.clear()`. */
export const HANG = {
  kind: 'lost',
  how: 'hang',
  on: 'any',
  times: Number.POSITIVE_INFINITY,
} as const

/** An empty folder that ends with the test. */
export function newFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'journal-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function finish(stream: OssAppendStream): Promise<void> {
  stream.end()
  await once(stream, 'close')
}

/** Resolves with why a stream failed, once it is closed. */
export async function failureOf(stream: OssAppendStream): Promise<unknown> {
  await new Promise<void>(resolve => stream.on('error', () => {}).on('close', resolve))
  return stream.errored
}

/** The infos of all `'recover'` events from now on. */
export function watchRecover(stream: OssAppendStream): RecoverInfo[] {
  const infos: RecoverInfo[] = []
  stream.on('recover', info => infos.push(info))
  return infos
}
