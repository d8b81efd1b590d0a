/**
 * The objects themselves: what each is, and the ways it changes: `create`, `append`, `setAcl`, `seal`,
 * `remove`. All are synchronous, so that whoever compares a position and then writes has done both in one
 * turn of the event loop: this is what makes an append atomic. Bytes and states are kept by a Shelf
 * (memory.ts, folder.ts). It knows nothing of HTTP, and it believes its caller about positions.
 *
 *   Objects ── Map "bucket/key" ──> StoredObject { state, content, previous }
 *                                        │            │
 *                                   JSON, replaced   bytes; only ever longer,
 *                                   as a whole       valid up to state.length
 */

import { randomBytes } from 'node:crypto'
import { crc64OfChunks } from './crc64.ts'

/** An object without its bytes; plain JSON. Times are ms since 1970. */
export interface ObjectState {
  /** Where it is. */
  readonly bucket: string
  /** Not encoded. */
  readonly key: string
  /** How it was made: by an append, or by a put. */
  readonly type: 'Appendable' | 'Normal'
  /** Bytes. */
  readonly length: number
  /** Of all its bytes, unsigned decimal. */
  readonly crc64: string
  /** With its quotes, as on the wire. */
  readonly etag: string
  /** When its bytes last changed. */
  readonly lastModified: number
  /** When it was first sealed; undefined if it takes appends. */
  readonly sealedTime?: number | undefined
  /** What its creation said of it. */
  readonly attributes: Attributes
}

/** What is fixed when an object is created. */
export interface Attributes {
  /** `Content-Type`, `Cache-Control`, ... and `x-oss-meta-*`, as they are sent back. */
  readonly headers: Readonly<Record<string, string>>
  /** The one attribute that a later append can change. */
  readonly acl: string
  /** `Standard`, unless the creation said otherwise. */
  readonly storageClass: string
  /** The `x-oss-server-side-*` headers that every answer repeats. */
  readonly encryption: Readonly<Record<string, string>>
  /** Decoded, in the order in which they were sent. */
  readonly tagging: readonly (readonly [key: string, value: string])[]
}

/** The bytes of one object. */
export interface ObjectContent {
  /** Writes after the first `length` bytes, over anything that a failed write left there. */
  append(length: number, chunks: readonly Buffer[]): void
  /** Bytes [start, end). What is appended or removed meanwhile does not show. */
  read(start: number, end: number): Iterable<Buffer>
}

/** Where bytes and states are kept. */
export interface Store {
  load(): Iterable<StoredObject>
  create(bucket: string, key: string): ObjectContent
  /** Makes `object`, as it now is, the truth; with `replaced` gone. All or nothing. */
  commit(object: StoredObject, replaced: StoredObject | undefined): void
  discard(object: StoredObject): void
}

/** An object and its bytes. */
export interface StoredObject {
  state: ObjectState
  readonly content: ObjectContent
  /** The state before its last append, for a HEAD that is behind. */
  previous?: ObjectState | undefined
}

/** What a write does to an object beside the bytes. */
export interface ObjectInit {
  readonly type: 'Appendable' | 'Normal'
  readonly chunks: readonly Buffer[]
  /** CRC of the whole object afterwards. Computed here when absent. */
  readonly crc64?: string | undefined
  readonly etag?: string | undefined
  readonly attributes: Attributes
  readonly now: number
}

/** What an object has when its creator said nothing. */
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

  /** Creates an object, in the place of whatever was there. */
  create(bucket: string, key: string, init: ObjectInit): StoredObject {
    const content = this.#store.create(bucket, key)
    const replaced = this.get(bucket, key)
    content.append(0, init.chunks)
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
    this.#store.commit(object, replaced)
    this.#objects.set(objectPath(object.state), object)
    return object
  }

  /** Adds bytes to the end of an object. */
  append(object: StoredObject, chunks: readonly Buffer[], now: number, crc64?: string): void {
    object.content.append(object.state.length, chunks)
    const { state } = object
    this.#replaceState(object, {
      ...state,
      length: state.length + totalLength(chunks),
      crc64: crc64 ?? crc64OfChunks(chunks, state.crc64),
      etag: newEtag(),
      lastModified: now,
    })
    object.previous = state
  }

  /**
   * Adds bytes to the end of whatever is there, or creates an object of them. False: what is there takes
   * no appends.
   */
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

  /** Ends an object for good. The time of the first seal stays. */
  seal(object: StoredObject, now: number): void {
    if (object.state.sealedTime !== undefined) return
    this.#replaceState(object, { ...object.state, sealedTime: now })
  }

  remove(bucket: string, key: string): void {
    const object = this.get(bucket, key)
    if (object === undefined) return
    this.#store.discard(object)
    this.#objects.delete(objectPath(object.state))
  }

  [Symbol.iterator](): IterableIterator<StoredObject> {
    return this.#objects.values()
  }

  /** In memory only once it is on the shelf: a failed write leaves the old state standing. */
  #replaceState(object: StoredObject, state: ObjectState): void {
    this.#store.commit({ ...object, state }, undefined)
    object.state = state
  }
}

/** Sum of lengths, in bytes. */
function totalLength(chunks: readonly Buffer[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0)
}

/** A bucket's name has no slash, so that this is one-to-one. */
function objectPath({ bucket, key }: { bucket: string; key: string }): string {
  return `${bucket}/${key}`
}

/** An appendable object's ETag is no MD5; it only says that something changed. */
function newEtag(): string {
  return `"${randomBytes(12).toString('hex').toUpperCase()}00000000"`
}
