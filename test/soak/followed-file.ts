/** A log that is rotated by renames while `oss-append --follow` reads it. */

import { closeSync, existsSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'

/** Rotated files that are kept. */
const KEPT = 10

export class FollowedFile {
  /** The text of each generation, in order. */
  readonly generations: string[] = ['']
  lines = 0
  readonly #path: string
  #fd: number

  constructor(path: string) {
    this.#path = path
    this.#fd = openSync(path, 'a')
  }

  write(): void {
    const n = this.lines++
    const text = `{"n":${n},"filler":"${'x'.repeat((n * 7919) % 300)}"}\n`
    writeSync(this.#fd, text)
    this.generations[this.generations.length - 1] += text
  }

  rotate(): void {
    const path = this.#path
    rmSync(`${path}.${KEPT}`, { force: true })
    for (let index = KEPT - 1; index > 0; index--) {
      if (existsSync(`${path}.${index}`)) renameSync(`${path}.${index}`, `${path}.${index + 1}`)
    }
    renameSync(path, `${path}.1`)
    closeSync(this.#fd)
    this.#fd = openSync(path, 'a')
    this.generations.push('')
  }

  close(): void {
    closeSync(this.#fd)
  }
}
