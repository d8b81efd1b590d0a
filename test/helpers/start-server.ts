/** A server for one test, and the object that most tests of the server use. */

import type { Test } from 'tap'
import type { OssServer, OssServerOptions } from '../../lib/server/index.ts'
import { createServerOnKeptPort } from './kept-port.ts'

/** The bucket and key that the raw client sends to by default. */
export const BUCKET = 'examplebucket'
export const KEY = 'a.log'

/** Starts a server that closes with the test. */
export async function startServer(
  t: Pick<Test, 'teardown'>,
  options: OssServerOptions = {},
): Promise<OssServer> {
  const s = await createServerOnKeptPort(options)
  t.teardown(() => s.close())
  return s
}

/** The bytes of the object at `KEY` as text; undefined if it is absent. */
export function storedText(s: OssServer): string | undefined {
  return s.read(BUCKET, KEY)?.toString()
}
