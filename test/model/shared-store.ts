/**
 * The objects of a shared-writers run: OSS's rules for appends, seals, reads and deletions, in memory. The
 * store keeps deleted objects and notes where each record landed, so that the oracle can judge the whole history.
 */

import { crc64 } from '../../lib/crc64/index.ts'

/** A record of the model, such as `<B07xxx>\n`. Each occurs once in a run. */
const RECORD = /<([A-Z]\d\d)x*>\n/g
/** An object of whole records, and of lines of foreign writers. */
const WHOLE = /^(?:<[A-Z]\d\dx*>\n|#*\n)*$/

/** One record that an append stored. */
export interface Landing {
  readonly record: string
  readonly object: StoredObject
  /** The object was deleted, or did not exist, when the request was sent. */
  readonly isReopened: boolean
}

/** One object, from its creation to its deletion. */
export class StoredObject {
  readonly key: string
  content = ''
  crc64 = '0'
  isSealed = false
  isDeleted = false

  constructor(key: string) {
    this.key = key
  }

  get length(): number {
    return this.content.length
  }

  get isWhole(): boolean {
    return WHOLE.test(this.content)
  }

  /** CRC-64 of the first bytes. */
  crc64Of(length: number): string {
    return crc64(Buffer.from(this.content.slice(0, length), 'latin1'))
  }
}

export class SharedStore {
  /** All objects ever, in the order of their creation. */
  readonly objects: StoredObject[] = []
  /** In the order in which they landed. */
  readonly landings: Landing[] = []
  /** How many objects of a key were deleted. */
  readonly #deletions = new Map<string, number>()

  get(key: string): StoredObject | undefined {
    return this.objects.findLast(object => object.key === key && !object.isDeleted)
  }

  get living(): StoredObject[] {
    return this.objects.filter(({ isDeleted }) => !isDeleted)
  }

  /** Tells the objects of a key apart. */
  deletionsOf(key: string): number {
    return this.#deletions.get(key) ?? 0
  }

  /** False: the object does not end at `position`. `deletions`: of the key when the request was sent. */
  append(key: string, position: number, text: string, deletions: number): boolean {
    const found = this.get(key)
    if (position !== (found?.length ?? 0)) return false
    const object = found ?? this.#create(key)
    object.content += text
    object.crc64 = crc64(Buffer.from(text, 'latin1'), object.crc64)
    const isReopened = deletions !== this.deletionsOf(key)
    for (const [, record = ''] of text.matchAll(RECORD)) {
      this.landings.push({ record, object, isReopened })
    }
    return true
  }

  delete(object: StoredObject): void {
    object.isDeleted = true
    this.#deletions.set(object.key, this.deletionsOf(object.key) + 1)
  }

  #create(key: string): StoredObject {
    const object = new StoredObject(key)
    this.objects.push(object)
    return object
  }
}
