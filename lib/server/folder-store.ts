/**
 * Objects kept in a folder. They outlive the process, even if it is killed in the middle of a write. One
 * process writes at a time. There is no fsync: a power failure may lose what the system had not written yet.
 *
 *   DIR/examplebucket~logs_app.log~<32 hex>/     one folder for each object
 *     bytes-<16 hex>                             its bytes
 *     states.jsonl                               its state and the name of its bytes file:
 *                                                one line a commit; the last whole line counts
 *
 * An append writes bytes after the committed length and then adds a line, which commits it. (Replacing the
 * states file by rename would need no lines, but some file systems then write it to disk at once: 2 ms an append.)
 */

import { createHash, randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { invalidOption, OssError } from '../errors.ts'
import { crc64OfChunks } from './crc64.ts'
import type { ObjectContent, ObjectState, Store, StoredObject } from './objects.ts'

const READ_SIZE = 256 * 1024
const OBJECT_FOLDER = /~[0-9a-f]{32}$/
const STATES_FILE = 'states.jsonl'
const NEXT_STATES_FILE = 'states.jsonl.next'
/** After this many lines a states file is written anew, so that it stays short. */
const MAX_STATES = 256

interface SavedObject {
  readonly file: string
  /** Milliseconds since 1970. When the file was last written, as the file system tells it. */
  readonly mtime: number
  readonly state: ObjectState
}

/** A store on disk. Creates `dir`, in a folder that exists. */
export class FolderStore implements Store {
  readonly #dir: string
  /** Lines in the states file of each folder; unknown until this process has written it anew. */
  readonly #stateCounts = new Map<string, number>()
  #isRecovered = false

  constructor(dir: string) {
    this.#dir = dir
    createFolder(dir)
  }

  /** Every object in the folder. Throws if one is damaged. */
  *load(): Iterable<StoredObject> {
    for (const folder of this.#folders()) {
      const saved = readSavedObject(folder)
      if (saved === undefined) continue
      const { state } = saved
      const path = contentPath(folder, saved)
      const content = new FileContent(path, this.#recover)
      const isMisplaced = folderName(state.bucket, state.key) !== basename(folder)
      if (isMisplaced || !isIntact(content, saved)) throw damagedObject(folder)
      yield { state, content }
    }
  }

  create(bucket: string, key: string): ObjectContent {
    this.#recover()
    const folder = join(this.#dir, folderName(bucket, key))
    fs.mkdirSync(folder, { recursive: true })
    return new FileContent(join(folder, `bytes-${randomBytes(8).toString('hex')}`), this.#recover)
  }

  commit({ state, content }: StoredObject, replaced: StoredObject | undefined): void {
    this.#recover()
    const { path } = content as FileContent
    const folder = join(this.#dir, folderName(state.bucket, state.key))
    const saved = { file: basename(path), mtime: fs.statSync(path).mtimeMs, state }
    const count = (this.#stateCounts.get(folder) ?? MAX_STATES) + 1
    if (count <= MAX_STATES) appendState(folder, saved)
    else rewriteStatesFile(folder, saved)
    this.#stateCounts.set(folder, count <= MAX_STATES ? count : 1)
    if (replaced !== undefined) fs.rmSync((replaced.content as FileContent).path, { force: true })
  }

  discard({ state }: StoredObject): void {
    const folder = join(this.#dir, folderName(state.bucket, state.key))
    fs.rmSync(join(folder, STATES_FILE))
    this.#stateCounts.delete(folder)
    removeUnreferenced(folder, undefined)
  }

  #folders(): string[] {
    const names = fs.readdirSync(this.#dir).filter(name => OBJECT_FOLDER.test(name))
    return names.map(name => join(this.#dir, name))
  }

  /**
   * Removes the remains of a killed process: bytes past the length, half a line, and files that no state names. Only
   * before the first write: reading must change nothing, since another process may be writing them.
   */
  readonly #recover = (): void => {
    if (this.#isRecovered) return
    this.#isRecovered = true
    for (const folder of this.#folders()) {
      const saved = readSavedObject(folder)
      removeUnreferenced(folder, saved?.file)
      if (saved) fs.truncateSync(contentPath(folder, saved), saved.state.length)
    }
  }
}

class FileContent implements ObjectContent {
  readonly path: string
  readonly #beforeWrite: () => void

  /** `beforeWrite` is called before each write. */
  constructor(path: string, beforeWrite: () => void) {
    this.path = path
    this.#beforeWrite = beforeWrite
  }

  append(length: number, chunks: readonly Buffer[]): void {
    this.#beforeWrite()
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

  read(start: number, end: number): Iterable<Buffer> {
    const fd = fs.openSync(this.path, 'r')
    const token = {}
    const bytes = readFile(fd, this.path, start, end, () => unreadFiles.unregister(token))
    unreadFiles.register(bytes, fd, token)
    return bytes
  }

  truncate(length: number): void {
    fs.truncateSync(this.path, length)
  }

  remove(): void {
    fs.rmSync(this.path, { force: true })
    removeIfEmpty(dirname(this.path))
  }
}

/** A fault may drop a response before it is read: then the file is closed when its bytes are collected. */
const unreadFiles = new FinalizationRegistry<number>(fd => fs.closeSync(fd))

/** The file is open before the first read, because an open file can be read after it was deleted. */
function* readFile(fd: number, path: string, start: number, end: number, onStart: () => void) {
  onStart()
  try {
    while (start < end) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_SIZE, end - start))
      const count = fs.readSync(fd, buffer, 0, buffer.length, start)
      if (count === 0) throw new Error(`Unexpected end of ${path}`)
      start += count
      yield buffer.subarray(0, count)
    }
  } finally {
    fs.closeSync(fd)
  }
}

function createFolder(dir: string): void {
  try {
    fs.mkdirSync(dir)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') throw invalidOption('dir', `must be in a folder that exists: ${dir}`)
    if (code !== 'EEXIST') throw error
    if (!fs.statSync(dir).isDirectory()) throw invalidOption('dir', `must be a folder: ${dir}`)
  }
}

/** The CRC is computed only for a file that was written since its last commit: that is damage, or a torn append. */
function isIntact(content: FileContent, { mtime, state }: SavedObject): boolean {
  const stat = fs.statSync(content.path, { throwIfNoEntry: false })
  if (stat === undefined || stat.size < state.length) return false
  if (stat.mtimeMs === mtime) return true
  return crc64OfChunks(content.read(0, state.length), '0') === state.crc64
}

/**
 * A part of bucket and key in characters that every file system takes, and a hash of both. No key leads out of the
 * folder of the store, and no two keys share a name, also where upper and lower case are the same.
 */
function folderName(bucket: string, key: string): string {
  const readable = key.slice(-48).replace(/[^A-Za-z0-9._-]/g, '_')
  const hash = createHash('sha256').update(`${bucket}/${key}`).digest('hex').slice(0, 32)
  return `${bucket}~${readable}~${hash}`
}

function damagedObject(folder: string): OssError {
  const message = `Damaged object in ${folder}: restore it, or delete the folder`
  return new OssError('OSS_ERR_INTEGRITY', message)
}

function contentPath(folder: string, { file }: SavedObject): string {
  return join(folder, basename(file))
}

function readSavedObject(folder: string): SavedObject | undefined {
  const path = join(folder, STATES_FILE)
  if (!fs.existsSync(path)) return undefined
  const lines = fs.readFileSync(path, 'utf8').split('\n').reverse()
  for (const line of lines) {
    let saved: Partial<SavedObject> | null
    try {
      saved = JSON.parse(line)
    } catch {
      // Half a line, of a commit that failed.
      continue
    }
    const { bucket, key, length } = saved?.state ?? {}
    const isWhole =
      typeof bucket === 'string' && typeof key === 'string' && Number.isInteger(length)
    if (!isWhole || typeof saved?.file !== 'string') break
    return saved as SavedObject
  }
  throw damagedObject(folder)
}

/** Leaves no half line if the disk is full. */
function appendState(folder: string, saved: SavedObject): void {
  const path = join(folder, STATES_FILE)
  const { size } = fs.statSync(path)
  try {
    // The line break comes first: the commit before may have failed half-way through its line.
    fs.appendFileSync(path, `\n${JSON.stringify(saved)}`)
  } catch (error) {
    fs.truncateSync(path, size)
    throw error
  }
}

function rewriteStatesFile(folder: string, saved: SavedObject): void {
  const next = join(folder, NEXT_STATES_FILE)
  try {
    fs.writeFileSync(next, JSON.stringify(saved))
    fs.renameSync(next, join(folder, STATES_FILE))
  } catch (error) {
    fs.rmSync(next, { force: true })
    throw error
  }
}

/** Removes the bytes files that no state names, and the folder if it is empty then. */
function removeUnreferenced(folder: string, file: string | undefined): void {
  for (const name of fs.readdirSync(folder)) {
    const isOurs = /^bytes-[0-9a-f]{16}$/.test(name) || name === NEXT_STATES_FILE
    if (isOurs && name !== file) fs.rmSync(join(folder, name), { recursive: true })
  }
  removeIfEmpty(folder)
}

function removeIfEmpty(folder: string): void {
  if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder)
}
