/** What a journal writes at `process.exit()`. */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ExitJournal } from '../../lib/journal/exit-journal.ts'
import { type FileSystem, nodeFileSystem } from '../../lib/journal/file-system.ts'
import type { JournalChunk } from '../../lib/journal/frame-layout.ts'
import { Journal, type JournalOptions } from '../../lib/journal/journal.ts'
import { newFolder } from '../helpers/journal.ts'

const chunksOf = (...texts: string[]): JournalChunk[] =>
  texts.map(chunk => ({ chunk, encoding: 'utf8' }))

const OPTIONS = { maxBytes: 1 << 24, sync: 200, align: 'chunk', highWaterMark: 65_536 } as const

function openJournal(folder: string, more: Partial<JournalOptions> = {}): Promise<Journal> {
  return Journal.open({ ...OPTIONS, folder, ...more })
}

/** All that the next process finds. */
async function readAll(folder: string): Promise<string> {
  const journal = await openJournal(folder)
  const { from, end } = journal.recovered
  let text = ''
  for (let at = from; at < end; at = from + text.length) {
    for (const { bytes } of await journal.read(at, end - at)) text += bytes
  }
  await journal.close()
  return text
}

t.test('a chunk that is written and not synced yet is not written twice', async t => {
  const folder = newFolder(t)
  let onDatasync = () => {}
  const isSyncing = new Promise<void>(resolve => (onDatasync = resolve))
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    create: async path => {
      const file = await nodeFileSystem.create(path)
      // The journal is left open, as by an exit.
      t.teardown(() => file.close())
      let count = 0
      const datasync = async () => {
        // The first one is that of the new segment.
        if (count++ === 0) return file.datasync()
        onDatasync()
        return new Promise<void>(() => {})
      }
      return { ...file, datasync }
    },
  }
  const journal = await openJournal(folder, { sync: 'always', fileSystem })
  journal.write(chunksOf('one\n', 'two\n')).catch(() => {})
  await isSyncing
  t.equal(journal.writeUnconfirmedSync(chunksOf('three\n')), 1)
  t.equal(journal.writeUnconfirmedSync(chunksOf('four\n')), 1, 'again')
  t.equal(await readAll(folder), 'one\ntwo\nthree\nfour\n')
})

t.test(
  'a full disk that takes no new segment at process.exit() leaves the frames where they are',
  async t => {
    const folder = newFolder(t)
    const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' })
    let onFull = () => {}
    const isFull = new Promise<void>(resolve => (onFull = resolve))
    let created = 0
    const fileSystem: FileSystem = {
      ...nodeFileSystem,
      create: async path => {
        created += 1
        if (created > 1) {
          onFull()
          throw full
        }
        const file = await nodeFileSystem.create(path)
        t.teardown(() => file.close())
        let count = 0
        const datasync = async () => {
          if (count++ > 0) throw Object.assign(new Error('input/output error'), { code: 'EIO' })
          return file.datasync()
        }
        return { ...file, datasync }
      },
      createSync: () => {
        throw full
      },
    }
    const journal = await openJournal(folder, { fileSystem })
    await journal.write(chunksOf('one\n'))
    journal.sync().catch(() => {})
    await isFull
    t.equal(journal.writeUnconfirmedSync(), 0)
    t.equal(await readAll(folder), 'one\n')
  },
)

t.test('an exit journal takes a slot that is free, in one step', async t => {
  const dir = newFolder(t)
  mkdirSync(join(dir, '0'))
  writeFileSync(join(dir, '0', 'lock~of~another'), '')
  mkdirSync(join(dir, '1'))
  const journal = new ExitJournal(dir, OPTIONS)
  t.equal(journal.journaled, 0)
  journal.writeUnconfirmedSync(chunksOf('one\n', 'two\n'))
  t.equal(journal.journaled, 8)
  journal.writeUnconfirmedSync(chunksOf('three\n'))
  t.equal(journal.journaled, 14)
  t.same(readdirSync(dir).sort(), ['0', '1'])
  t.equal(await readAll(join(dir, '1')), 'one\ntwo\nthree\n')
})

t.test('an exit journal takes no more than maxBytes', async t => {
  const dir = newFolder(t)
  const journal = new ExitJournal(dir, { ...OPTIONS, maxBytes: 50_000 })
  journal.writeUnconfirmedSync(chunksOf('x'.repeat(60_000)))
  t.ok(journal.journaled < 50_000, `${journal.journaled} bytes`)
})

t.test(
  'a folder that cannot be made at process.exit() is an error of the journal, with its path',
  t => {
    const file = join(t.testdir({ file: '' }), 'file')
    const details = { maxBytes: 1e6, sync: 'always', align: 1, highWaterMark: 1000 } as const
    const message = /ENOTDIR.*\(.*\/file\)$/
    t.throws(() => new ExitJournal(file, details), { code: 'OSS_ERR_JOURNAL', message })
    t.end()
  },
)
