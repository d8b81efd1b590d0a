/** What can be asked for, as `arguments.ts` reads it. Types alone. */

import type { ClientOptions, RollingAppendStreamOptions, UrlOptions } from '../index.ts'

/** Where an object is, and who asks for it. */
export interface Backend {
  /** A folder that stands for OSS. Without it, OSS. */
  readonly local?: string
  /** The name of a module that gives the keys. */
  readonly credentials?: string
  /** The options that reach OSS. */
  readonly clientOptions: ClientOptions
}

/** How much is told, and to whom. */
export interface OutputMode {
  /** Events as JSON, in place of the report. */
  readonly isJson: boolean
  /** Errors alone. */
  readonly isQuiet: boolean
}

/** What makes a stream a rolling one. */
export type RollOptions = Pick<
  RollingAppendStreamOptions,
  'maxBytes' | 'timeZone' | 'sealOnRoll'
> & {
  readonly key?: string
}

/** Append to an object. */
export interface AppendCommand {
  readonly name: 'append'
  readonly url: string
  /** A path, `-` for standard input, or undefined: standard input if it is a file or a pipe. */
  readonly file: string | undefined
  readonly backend: Backend
  readonly options: UrlOptions
  /** One object after another; their key is the one in the url and this one behind it. */
  readonly roll: RollOptions | undefined
  /** As gzip members. */
  readonly isGzip: boolean
  /** The object has the first part of FILE already. */
  readonly isResumed: boolean
  readonly outputMode: OutputMode
  /** Milliseconds to read on after the first signal. */
  readonly grace: number
}

/** Stream into an object on a server of our own, which is gone afterwards. */
export interface DemoCommand {
  readonly name: 'demo'
  /** A path, `-` for standard input, or undefined: standard input if it is one, else a made-up feed. */
  readonly file: string | undefined
  /** Length of that feed, in bytes; undefined: not said. */
  readonly bytes: number | undefined
}

/** Tell what an object is. */
export interface StatCommand {
  readonly name: 'stat'
  readonly url: string
  readonly backend: Backend
  readonly isJson: boolean
}

/** Print an object. */
export interface CatCommand {
  readonly name: 'cat'
  readonly url: string
  readonly backend: Backend
  /** Go on with what is appended. */
  readonly isFollowed: boolean
  /** Milliseconds between two looks. */
  readonly interval: number
}

/** Compare a file with an object. */
export interface VerifyCommand {
  readonly name: 'verify'
  readonly file: string
  readonly url: string
  readonly backend: Backend
  readonly isJson: boolean
}

/** Be an OSS. */
export interface ServeCommand {
  readonly name: 'serve'
  /** Undefined: memory. */
  readonly dir: string | undefined
  /** Undefined: any free one. */
  readonly port: number | undefined
  readonly host: string | undefined
}

export type Command =
  | AppendCommand
  | DemoCommand
  | StatCommand
  | CatCommand
  | VerifyCommand
  | ServeCommand
  | { readonly name: 'help'; readonly topic?: 'options' }
  | { readonly name: 'version' }
