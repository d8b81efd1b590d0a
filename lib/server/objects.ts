/**
 * The objects: what each is, and how it changes. All methods are synchronous: the caller compares a position
 * and writes in the same turn of the event loop, which makes an append atomic. A `Store` keeps bytes and
 * states. `Objects` checks no positions.
 *
 *   Objects ── Map "bucket/key" ──> StoredObject { state, content, previous }
 *                                        │            │
 *                                   JSON, replaced   bytes; they only grow,
 *                                   as a whole       valid up to state.length
 */

import { createHash, randomBytes } from 'node:crypto'
import { crc64OfChunks } from './crc64.ts'

/** An object without its bytes, as plain JSON. Times are ms since 1970. */
export interface ObjectState {
  /** Its bucket. */
  readonly bucket: string
  /** Its key, not encoded. */
  readonly key: string
  /** Created by an append, or by a put. */
  readonly type: 'Appendable' | 'Normal'
  /** Bytes. */
  readonly length: number
  /** CRC-64 of all its bytes, unsigned decimal. */
  readonly crc64: string
  /** With its quotes, as on the wire. */
  readonly etag: string
  /** When its bytes last changed. */
  readonly lastModified: number
  /** When it was first sealed; undefined if it is not. */
  readonly sealedTime?: number | undefined
  /** As its creation set them. */
  readonly attributes: Attributes
}

/** What is fixed when an object is created. */
export interface Attributes {
  /** `Content-Type`, `Cache-Control`, ... and `x-oss-meta-*`, as they are sent back. */
  readonly headers: Readonly<Record<string, string>>
  /** The one attribute that a later append can change. */
  readonly acl: string
  /** Default `Standard`. */
  readonly storageClass: string
  /** The `x-oss-server-side-*` headers that every response repeats. */
  readonly encryption: Readonly<Record<string, string>>
  /** Decoded, in the order in which they were sent. */
  readonly tagging: readonly (readonly [key: string, value: string])[]
}

/** The bytes of one object. */
export interface ObjectContent {
  /** Writes after the first `length` bytes, over the remains of a failed write. */
  append(length: number, chunks: readonly Buffer[]): void
  /** Bytes [start, end). They stay readable if the object is deleted or replaced meanwhile. */
  read(start: number, end: number): Iterable<Buffer>
  /** Undoes a failed write: keeps the first `length` bytes. */
  truncate(length: number): void
  /** Undoes a failed creation. */
  remove(): void
}

/** Keeps bytes and states. */
export interface Store {
  load(): Iterable<StoredObject>
  create(bucket: string, key: string): ObjectContent
  /** Saves the state of `object`, and removes `replaced`. All or nothing. */
  commit(object: StoredObject, replaced: StoredObject | undefined): void
  discard(object: StoredObject): void
}

/** An object and its bytes. */
export interface StoredObject {
  state: ObjectState
  readonly content: ObjectContent
  /** The state before its last append, for a HEAD that shows an old state. */
  previous?: ObjectState | undefined
}

/** A new object. */
export interface ObjectInit {
  readonly type: 'Appendable' | 'Normal'
  readonly chunks: readonly Buffer[]
  /** CRC of the whole object afterwards. Computed here when absent. */
  readonly crc64?: string | undefined
  readonly etag?: string | undefined
  readonly attributes: Attributes
  readonly now: number
}

/** The attributes of an object that was created without any. */
export const DEFAULT_ATTRIBUTES: Attributes = {
  headers: { 'Content-Type': 'application/octet-stream' },
  acl: 'default',
  storageClass: 'Standard',
  encryption: {},
  tagging: [],
}

/** All objects of a server. */
export class Objects {
  readonly #store: Store
  readonly #objects = new Map<string, StoredObject>()

  constructor(store: Store) {
    this.#store = store
    for (const object of store.load()) this.#objects.set(objectPath(object.state), object)
  }

  get(bucket: string, key: string): StoredObject | undefined {
    return this.#objects.get(objectPath({ bucket, key }))
  }

  /** Creates an object, and replaces the one before it. */
  create(bucket: string, key: string, init: ObjectInit): StoredObject {
    const content = this.#store.create(bucket, key)
    const replaced = this.get(bucket, key)
    const object: StoredObject = {
      content,
      state: {
        bucket,
        key,
        type: init.type,
        length: totalLength(init.chunks),
        crc64: init.crc64 ?? crc64OfChunks(init.chunks, '0'),
        etag: init.etag ?? newEtag(),
        lastModified: init.now,
        attributes: init.attributes,
      },
    }
    try {
      content.append(0, init.chunks)
      this.#store.commit(object, replaced)
    } catch (error) {
      content.remove()
      throw error
    }
    this.#objects.set(objectPath(object.state), object)
    return object
  }

  /** Adds bytes to the end of an object. */
  append(object: StoredObject, chunks: readonly Buffer[], now: number, crc64?: string): void {
    const { state, content } = object
    try {
      content.append(state.length, chunks)
      this.#replaceState(object, {
        ...state,
        length: state.length + totalLength(chunks),
        crc64: crc64 ?? crc64OfChunks(chunks, state.crc64),
        etag: newEtag(),
        lastModified: now,
      })
    } catch (error) {
      content.truncate(state.length)
      throw error
    }
    object.previous = state
  }

  /** Appends to an object, or creates it if it is absent. False: the object takes no appends. */
  appendOrCreate(bucket: string, key: string, chunks: readonly Buffer[], now: number): boolean {
    const object = this.get(bucket, key)
    if (object === undefined) {
      this.create(bucket, key, { type: 'Appendable', chunks, attributes: DEFAULT_ATTRIBUTES, now })
      return true
    }
    const { type, sealedTime } = object.state
    const isOpen = type === 'Appendable' && sealedTime === undefined
    if (isOpen) this.append(object, chunks, now)
    return isOpen
  }

  setAcl(object: StoredObject, acl: string): void {
    const attributes = { ...object.state.attributes, acl }
    this.#replaceState(object, { ...object.state, attributes })
  }

  /** Seals an object for good. The time of the first seal stays. An object that takes no appends stays as it is. */
  seal(object: StoredObject, now: number): void {
    const { type, sealedTime } = object.state
    if (type !== 'Appendable' || sealedTime !== undefined) return
    this.#replaceState(object, { ...object.state, sealedTime: now })
  }

  remove(bucket: string, key: string): void {
    const object = this.get(bucket, key)
    if (object === undefined) return
    this.#store.discard(object)
    this.#objects.delete(objectPath(object.state))
  }

  /** The objects of a bucket, without their bytes. */
  list(bucket: string): ObjectState[] {
    return [...this].map(({ state }) => state).filter(state => state.bucket === bucket)
  }

  [Symbol.iterator](): IterableIterator<StoredObject> {
    return this.#objects.values()
  }

  /** Commits before it changes the state in memory: after a failed commit the old state stands. */
  #replaceState(object: StoredObject, state: ObjectState): void {
    this.#store.commit({ ...object, state }, undefined)
    object.state = state
  }
}

/** Bytes. */
function totalLength(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

/** One-to-one, because a bucket's name has no slash. */
function objectPath({ bucket, key }: { bucket: string; key: string }): string {
  return `${bucket}/${key}`
}

/** The ETag of a Normal object. */
export function md5Etag(bytes: Buffer): string {
  return etagOfMd5(createHash('md5').update(bytes).digest())
}

/** The same, from the digest. */
export function etagOfMd5(digest: Buffer): string {
  return `"${digest.toString('hex').toUpperCase()}"`
}

/** The ETag of an appendable object is no MD5: it changes with each append. */
function newEtag(): string {
  return `"${randomBytes(12).toString('hex').toUpperCase()}00000000"`
}
