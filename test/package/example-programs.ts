/** README's first example as programs, for the tests that run it from the packed package. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Test } from 'tap'
import { execClean } from '../helpers/packed-package.ts'
import { example } from '../helpers/readme.ts'
import { BUCKET, type Oss, seededBytes } from '../helpers/test-oss.ts'

const BYTES = seededBytes(100_000)
const OUTPUT = /^100000 bytes, the object has 100000, CRC-64 \d+\n$/

/** The example as an ES module and as CommonJS. */
export const PROGRAMS: Readonly<Record<string, string>> = {
  'main.mjs': example('ten lines'),
  'main.cjs': `void (async () => {
    ${example('ten lines').replace(/import (\{.*?\}) from ('.*?')/g, 'const $1 = require($2)')}
  })()`,
}

/** Empty, or the one warning of Node 22.12 for each `require()` of an ES module. Node 22.13 has no warning. */
const STDERR = /^(\(node:\d+\) ExperimentalWarning: CommonJS module .*\n.*\n\(Use .*\)\n)?$/

/** Runs the example in `cwd` and compares the object with the file that it copies. */
export async function checkExample(
  t: Test,
  oss: Oss,
  command: readonly string[],
  cwd: string,
): Promise<void> {
  const { accessKeyId, accessKeySecret } = oss.server.credentials
  oss.server.delete(BUCKET, 'logs/app.log')
  await writeFile(join(cwd, 'app.log'), BYTES)
  const env = {
    OSS_ENDPOINT: oss.server.url,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
  t.match(await execClean(command, { cwd, env }), { stderr: STDERR, stdout: OUTPUT, code: 0 })
  t.ok(oss.read('logs/app.log').equals(BYTES), 'the object holds the bytes of the file')
}
