/** Sees whether attempts for one position have different lengths. Empty appends, which ask for the tail, do not count. */
export class AttemptWatch {
  #place = ''
  #length = 0

  /** True: the attempt before this one was for the same position, and of another length. */
  isDifferent(key: string, position: number, length: number): boolean {
    if (length === 0) return false
    const place = `${key}@${position}`
    const isDifferent = place === this.#place && length !== this.#length
    this.#place = place
    this.#length = length
    return isDifferent
  }
}
