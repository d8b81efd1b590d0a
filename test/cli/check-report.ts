/** What the report of a delivery must say, for the tests of every command that appends. */

import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { crc64 } from '../../lib/index.ts'
import type { CliResult } from '../helpers/run-cli.ts'

export const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** The report of `bytes` that were appended to `before`. */
export function checkReport(
  t: Test,
  { code, stdout, stderr }: CliResult,
  bytes: Buffer,
  before: Buffer = Buffer.alloc(0),
): void {
  t.equal(code, 0, stderr)
  t.equal(stderr, '', 'standard error is empty')
  const crc = crc64(Buffer.concat([before, bytes]))
  t.match(stdout, new RegExp(`^bytes +${bytes.length.toLocaleString('en-US')} in \\d+ append`, 'm'))
  t.match(stdout, `\nCRC-64      ${crc} computed, and reported by OSS\n`)
  t.match(stdout, `SHA-256\n  source    ${sha256(bytes)}\n`)
  for (const line of stdout.split('\n')) {
    if (!/^(source|object|read it by) /.test(line)) t.ok(line.length <= 80, line)
  }
  t.match(stdout, /\nverified\n$/)
}

/** The same for an object that was read back. */
export function checkReadBack(
  t: Test,
  result: CliResult,
  bytes: Buffer,
  before: Buffer = Buffer.alloc(0),
): void {
  checkReport(t, result, bytes, before)
  t.match(result.stdout, `${crc64(Buffer.concat([before, bytes]))} read back`)
  t.match(result.stdout, `  object    ${sha256(bytes)}\n`)
}

/** A file with these bytes, in a folder of the test. */
export function writeInput(t: Test, bytes: Buffer): { dir: string; file: string } {
  const dir = t.testdir({})
  const file = join(dir, 'input.txt')
  fs.writeFileSync(file, bytes)
  return { dir, file }
}
