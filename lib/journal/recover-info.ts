/** What a stream tells of the journal of an earlier process. */

/** What `'recover'` carries: a journal of an earlier process is delivered. */
export interface RecoverInfo {
  /** Key of the object that holds its last byte; undefined: it held none. */
  readonly key: string | undefined
  /** Bytes that were not in it yet. */
  readonly bytes: number
  /** Bytes of the object behind them, which a power loss has taken out of the journal; only with `sync: 'never'`. */
  readonly bytesBehind: number
  /** Parts of files that could not be delivered, and are kept. */
  readonly damaged: readonly Damage[]
}

/** Bytes of a file that are not delivered. The file is kept, as `<name>.damaged`, and not read again. */
export interface Damage {
  /** Absolute path of the file. `.damaged` is appended to it once the bytes before the damage are delivered. */
  readonly file: string
  /** Where the bytes begin in the file. */
  readonly offset: number
  /** Their number, frames and all. */
  readonly bytes: number
  /**
   * `'broken'`: a frame or the header is torn or damaged there. `'gap'`: bytes before the file are missing or
   * broken. `'unfinished'`: the last record has no end.
   */
  readonly reason: 'broken' | 'gap' | 'unfinished'
}
