/** Streams with a journal: accepted bytes outlive the stream, and are in the object once. */

import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { OssAppendStream, RecoverInfo } from '../../lib/index.ts'
import { seededBytes, startOss } from '../helpers/test-oss.ts'

function newFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'journal-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function finish(stream: OssAppendStream): Promise<void> {
  stream.end()
  await once(stream, 'close')
}

function watchRecover(stream: OssAppendStream): RecoverInfo[] {
  const infos: RecoverInfo[] = []
  stream.on('recover', info => infos.push(info))
  return infos
}

t.test('written bytes arrive through the journal, which is small afterwards', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  const bytes = seededBytes(300_000)
  const stream = oss.open(key, { journal, highWaterMark: 50_000 })
  for (let at = 0; at < bytes.length; at += 777) stream.write(bytes.subarray(at, at + 777))
  await finish(stream)
  t.ok(oss.read(key).equals(bytes))
  t.same(readdirSync(journal), ['0'])
  t.match(readdirSync(join(journal, '0')), [/\.journal$/])
})

t.test('journaled() resolves while OSS is down, and the next stream delivers', async t => {
  const oss = await startOss(t)
  const journal = newFolder(t)
  const key = oss.newKey()
  oss.server.faults.push({ kind: 'lost', how: 'hang', on: 'any', times: Number.POSITIVE_INFINITY })
  const first = oss.open(key, { journal })
  first.write('one ')
  first.write('two ')
  await first.journaled()
  await first.suspend()
  t.equal(first.errored, null)
  oss.server.faults.clear()
  const second = oss.open(key, { journal })
  const infos = watchRecover(second)
  second.write('three')
  await finish(second)
  t.equal(oss.read(key).toString(), 'one two three')
  t.match(infos, [{ key, bytes: 8, damaged: [] }])
})
