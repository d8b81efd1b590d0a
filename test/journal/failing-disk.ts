/** A file system one of whose calls fails, and the files that are open. */

import type { FileSystem } from '../../lib/journal/file-system.ts'

export class FailingDisk {
  readonly fileSystem: FileSystem
  /** Name of the call that has failed; undefined: there were fewer calls. */
  failed: string | undefined
  opened = 0
  #calls = 0
  readonly #failAt: number

  /** `failAt`: the number of the call that fails with `EIO`, from 1. */
  constructor(fileSystem: FileSystem, failAt: number) {
    this.#failAt = failAt
    this.fileSystem = this.#wrap(fileSystem)
  }

  #wrap<T extends object>(functions: T): T {
    const entries = Object.entries(functions).map(([name, run]) => [name, this.#call(name, run)])
    return Object.fromEntries(entries)
  }

  #call(name: string, run: (...args: unknown[]) => Promise<object>) {
    return async (...args: unknown[]) => {
      if (name === 'close') this.opened -= 1
      if (++this.#calls === this.#failAt) {
        this.failed = name
        throw Object.assign(new Error('EIO: simulated'), { code: 'EIO' })
      }
      const result = await run(...args)
      if (name !== 'open' && name !== 'create') return result
      this.opened += 1
      return this.#wrap(result)
    }
  }
}
