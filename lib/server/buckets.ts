/** Which buckets exist. */

/**
 * The buckets of a server. With a list of names those exist. Without one every bucket exists until it is
 * deleted, and the ones that were created are known by name.
 */
export class Buckets {
  readonly #declared: readonly string[] | undefined
  /** Names, and when each was created, ms since 1970. */
  readonly #created = new Map<string, number>()
  readonly #deleted = new Set<string>()

  /** @internal */
  constructor(declared: readonly string[] | undefined) {
    this.#declared = declared
  }

  /** Whether a bucket exists. */
  has(name: string): boolean {
    return this.#created.has(name) || (this.#declared === undefined && !this.#deleted.has(name))
  }

  /** Creates a bucket. One that was declared or created stays. `now`: its creation date, ms since 1970. */
  add(name: string, now = Date.now()): void {
    this.#deleted.delete(name)
    if (!this.#created.has(name)) this.#created.set(name, now)
  }

  /** Deletes a bucket. Objects in it stay, out of reach. */
  delete(name: string): void {
    this.#created.delete(name)
    this.#deleted.add(name)
  }

  /** The names of the buckets that were declared or created. */
  names(): string[] {
    return [...this.#created.keys()]
  }

  /** When a bucket was created; 1970 if it is not known by name. @internal */
  createdAt(name: string): number {
    return this.#created.get(name) ?? 0
  }

  /** As at the start. @internal */
  reset(): void {
    this.#created.clear()
    this.#deleted.clear()
    for (const name of this.#declared ?? []) this.add(name)
  }
}
