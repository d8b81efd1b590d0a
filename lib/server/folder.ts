/**
 * Objects kept in a folder, so that they outlive the process, also one that is killed at any moment.
 *
 *   DIR/examplebucket~logs_app.log~<32 hex>/     one folder for each object
 *     bytes-<16 hex>                             its bytes
 *     states.jsonl                               what it is, how long, and which bytes file:
 *                                                one line a commit, and the last whole one counts
 *
 * An append writes bytes after the committed length and then adds a line: until then the object is
 * what it was. What a killed process left behind it (bytes past the length, half a line, files that
 * no state names) is cut off before the first write, and not sooner: what looks like that may be the
 * work of another process, and a server that only reads changes nothing. (Replacing a file by rename
 * would do without the lines, but some file systems then write it to the disk at once: 2 ms an append.)
 * It does not fsync: a power failure may cost what the operating system still held. One process writes
 * at a time; nothing watches the folder.
 *
 * The name of a folder ends in a hash of bucket and key and begins with as much of them as every
 * file system takes: no key leads out of DIR, no two meet, however long or odd they are and whether
 * or not the file system tells upper case from lower.
 */

import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { basename, join } from 'node:path'
import type { Content, ObjectState, Shelf, StoredObject } from './objects.ts'

const READ_SIZE = 256 * 1024
const OURS = /~[0-9a-f]{32}$/
const STATES = 'states.jsonl'
const NEXT = 'states.jsonl.next'
/** A states file is written anew after so many commits, so that it stays short. */
const MAX_LINES = 256

interface Saved {
  readonly file: string
  readonly state: ObjectState
}

/** A shelf on disk. Creates `dir`. */
export class FolderShelf implements Shelf {
  readonly #dir: string
  /** Lines in the states file of each folder; unknown until it is written whole. */
  readonly #lines = new Map<string, number>()
  #isTidy = false

  constructor(dir: string) {
    this.#dir = dir
    fs.mkdirSync(dir, { recursive: true })
  }

  /** Every object in the folder. Throws when one of them is damaged. */
  *load(): Iterable<StoredObject> {
    for (const folder of this.#folders()) {
      const saved = readSaved(folder)
      if (saved === undefined) continue
      const { state } = saved
      const path = pathOf(folder, saved)
      const isOther = folderName(state.bucket, state.key) !== basename(folder)
      if (isOther || fs.statSync(path).size < state.length) {
        throw new Error(`Damaged object in ${folder}`)
      }
      yield { state, content: new FileContent(path, this.#tidy) }
    }
  }

  create(bucket: string, key: string): Content {
    this.#tidy()
    const folder = join(this.#dir, folderName(bucket, key))
    fs.mkdirSync(folder, { recursive: true })
    return new FileContent(join(folder, `bytes-${randomBytes(8).toString('hex')}`), this.#tidy)
  }

  commit({ state, content }: StoredObject, replaced: StoredObject | undefined): void {
    this.#tidy()
    const { path } = content as FileContent
    const folder = join(this.#dir, folderName(state.bucket, state.key))
    const saved: Saved = { file: basename(path), state }
    const lines = (this.#lines.get(folder) ?? MAX_LINES) + 1
    // It begins a line of its own, since the one before may have failed half-way.
    if (lines <= MAX_LINES) fs.appendFileSync(join(folder, STATES), `\n${JSON.stringify(saved)}`)
    else rewrite(folder, saved)
    this.#lines.set(folder, lines <= MAX_LINES ? lines : 1)
    if (replaced !== undefined) fs.rmSync((replaced.content as FileContent).path, { force: true })
  }

  discard({ state }: StoredObject): void {
    const folder = join(this.#dir, folderName(state.bucket, state.key))
    fs.rmSync(join(folder, STATES))
    this.#lines.delete(folder)
    sweep(folder, undefined)
  }

  #folders(): string[] {
    const names = fs.readdirSync(this.#dir).filter(name => OURS.test(name))
    return names.map(name => join(this.#dir, name))
  }

  /** Before the first write: cuts off what a killed process has left. */
  readonly #tidy = (): void => {
    if (this.#isTidy) return
    this.#isTidy = true
    for (const folder of this.#folders()) {
      const saved = readSaved(folder)
      sweep(folder, saved?.file)
      if (saved) fs.truncateSync(pathOf(folder, saved), saved.state.length)
    }
  }
}

class FileContent implements Content {
  readonly path: string
  readonly #prepare: () => void

  /** `prepare` is called before each write. */
  constructor(path: string, prepare: () => void) {
    this.path = path
    this.#prepare = prepare
  }

  append(length: number, chunks: readonly Buffer[]): void {
    this.#prepare()
    const fd = fs.openSync(this.path, fs.constants.O_WRONLY | fs.constants.O_CREAT)
    try {
      let end = length
      for (const chunk of chunks) {
        for (let written = 0; written < chunk.length; ) {
          const count = fs.writeSync(fd, chunk, written, chunk.length - written, end)
          written += count
          end += count
        }
      }
    } finally {
      fs.closeSync(fd)
    }
  }

  *read(start: number, end: number): Iterable<Buffer> {
    const fd = fs.openSync(this.path, 'r')
    try {
      while (start < end) {
        const buffer = Buffer.allocUnsafe(Math.min(READ_SIZE, end - start))
        const count = fs.readSync(fd, buffer, 0, buffer.length, start)
        if (count === 0) throw new Error(`Unexpected end of ${this.path}`)
        start += count
        yield buffer.subarray(0, count)
      }
    } finally {
      fs.closeSync(fd)
    }
  }
}

function folderName(bucket: string, key: string): string {
  const readable = key.slice(-48).replace(/[^A-Za-z0-9._-]/g, '_')
  const hash = createHash('sha256').update(`${bucket}/${key}`).digest('hex').slice(0, 32)
  return `${bucket}~${readable}~${hash}`
}

function pathOf(folder: string, { file }: Saved): string {
  return join(folder, basename(file))
}

function readSaved(folder: string): Saved | undefined {
  const path = join(folder, STATES)
  if (!fs.existsSync(path)) return undefined
  const lines = fs.readFileSync(path, 'utf8').split('\n').reverse()
  for (const line of lines) {
    try {
      return JSON.parse(line) as Saved
    } catch {
      // Half a line, of a commit that never was.
    }
  }
  throw new Error(`Damaged object in ${folder}`)
}

function rewrite(folder: string, saved: Saved): void {
  fs.writeFileSync(join(folder, NEXT), JSON.stringify(saved))
  fs.renameSync(join(folder, NEXT), join(folder, STATES))
}

/** Removes what no state names, and the folder when nothing is left. Only files that we made. */
function sweep(folder: string, file: string | undefined): void {
  for (const name of fs.readdirSync(folder)) {
    const isOurs = /^bytes-[0-9a-f]{16}$/.test(name) || name === NEXT
    if (isOurs && name !== file) fs.rmSync(join(folder, name), { recursive: true })
  }
  if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder)
}
