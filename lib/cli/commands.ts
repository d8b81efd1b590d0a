/** The commands as `arguments.ts` reads them, and the streams they run with. Types alone. */

import type { Readable, Writable } from 'node:stream'
import type { Clock } from '../clock.ts'
import type {
  ClientOptions,
  Credentials,
  RollingAppendStreamOptions,
  UrlOptions,
} from '../index.ts'
import type { CommandName } from './flags.ts'

/** An output stream, which may be a terminal. */
export type OutputStream = Writable & { readonly isTTY?: boolean; readonly columns?: number }

/** Everything outside that a command uses. `bin.ts` passes what the process has, a test its own. */
export interface CommandIO {
  /** Standard input. A getter in `bin.ts`: the first access to `process.stdin` opens descriptor 0. */
  readonly stdin: Readable
  /** The descriptor behind `stdin`, whose kind is known before it is opened. Absent: there is none. */
  readonly stdinFd?: number
  readonly stdout: OutputStream
  readonly stderr: OutputStream
  readonly env: NodeJS.ProcessEnv
  /** Ends standard output for good: a reader such as `$(...)` gets its end, and the process goes on. */
  closeStdout?(): void
  /** Emits `'SIGINT'`, `'SIGTERM'` and `'SIGHUP'`, as `process` does. */
  readonly signals: NodeJS.EventEmitter
  /** Counts the time after a signal. Default: the clock of the system. */
  readonly clock?: Clock
}

/** Where the object is, and how to get there. */
export interface Backend {
  /** A folder that takes the place of OSS. Undefined: OSS. */
  readonly local?: string
  /** Name of the module that exports the credentials. */
  readonly credentials?: string
  /** What the flags say about the connection. */
  readonly clientOptions: ClientOptions
}

/** What a command prints. */
export interface OutputMode {
  /** Events as JSON on standard output, in place of the report. */
  readonly isJson: boolean
  /** Errors alone. */
  readonly isQuiet: boolean
}

/** Options that only a rolling stream has. */
export type RollOptions = Pick<
  RollingAppendStreamOptions,
  'maxBytes' | 'timeZone' | 'sealOnRoll'
> & {
  /** Pattern of the keys, relative to the key in the URL. */
  readonly key?: string
}

/** Appends a file or standard input to an object. */
export interface AppendCommand {
  readonly name: 'append'
  readonly url: string
  /** A path, `-` for standard input, or undefined: standard input if that is a file or a pipe. */
  readonly file: string | undefined
  readonly backend: Backend
  readonly options: UrlOptions
  /** Undefined: a single object. */
  readonly roll: RollOptions | undefined
  /** The bytes are appended as gzip members. */
  readonly isGzip: boolean
  /** The object already has the beginning of `file`, and only the rest is appended. */
  readonly isResumed: boolean
  /** The folder of the journal in `options`. */
  readonly journal: string | undefined
  readonly outputMode: OutputMode
  /** Milliseconds to finish in after the first signal: reading on, and delivering. */
  readonly grace: number
}

/** Appends a file that grows and is rotated, each generation of it to an object of its own. */
export interface FollowCommand {
  readonly name: 'follow'
  readonly url: string
  readonly file: string
  readonly backend: Backend
  readonly options: UrlOptions
  /** Pattern of the keys, behind the key in the URL. */
  readonly roll: Pick<RollOptions, 'key' | 'timeZone'>
  /** Milliseconds between two looks at the file. */
  readonly interval: number
  readonly outputMode: OutputMode
  /** Milliseconds to finish in after the first signal: reading on, and delivering. */
  readonly grace: number
}

/** Appends to an object on a server in this process, which is removed afterwards. */
export interface DemoCommand {
  readonly name: 'demo'
  /** A path, `-` for standard input, or undefined: standard input if it has bytes, else sample data. */
  readonly file: string | undefined
  /** Length of the sample data in bytes. Undefined: not given. */
  readonly bytes: number | undefined
}

/** Prints the properties of an object. */
export interface StatCommand {
  readonly name: 'stat'
  readonly url: string
  readonly backend: Backend
  readonly isJson: boolean
}

/** Prints the bytes of an object, or of all objects of a rolling stream. */
export interface CatCommand {
  readonly name: 'cat'
  /** Its key may have `{index}`. */
  readonly url: string
  readonly backend: Backend
  /** Goes on with what is appended later. */
  readonly isFollowed: boolean
  /** Milliseconds between two HEAD requests while following. */
  readonly interval: number
}

/** Lists the objects whose keys begin with a prefix. */
export interface LsCommand {
  readonly name: 'ls'
  /** As it was given. */
  readonly url: string
  readonly bucket: string
  readonly prefix: string
  readonly backend: Backend
  /** One JSON object for each line. */
  readonly isJson: boolean
}

/** Compares a file with an object. */
export interface VerifyCommand {
  readonly name: 'verify'
  readonly file: string
  readonly url: string
  readonly backend: Backend
  readonly isJson: boolean
}

/** Delivers what the journals of dead processes hold. */
export interface DrainCommand {
  readonly name: 'drain'
  /** The folder of the journal. */
  readonly dir: string
  /** URL of the object for bytes that were never sent, and for what a sealed object leaves. */
  readonly target: string | undefined
  readonly backend: Backend
  readonly retry: UrlOptions['retry']
  /** The journal was written with `sync: 'never'`. */
  readonly isUnsynced: boolean
  readonly isJson: boolean
}

/** Prints what a journal holds. */
export interface JournalCommand {
  readonly name: 'journal'
  /** The folder of the journal. */
  readonly dir: string
  readonly isJson: boolean
}

/** Runs the test server until a signal. */
export interface ServeCommand {
  readonly name: 'serve'
  /** Undefined: objects are kept in memory. */
  readonly dir: string | undefined
  /** Undefined: any free port. */
  readonly port: number | undefined
  readonly host: string | undefined
  /** The buckets that exist. Undefined: all. */
  readonly buckets: readonly string[] | undefined
  readonly region: string | undefined
  readonly credentials: Credentials | undefined
  /** RAM actions. Undefined: all. */
  readonly permissions: readonly string[] | undefined
  /** Files with a certificate and its key, in PEM. Undefined: http. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined
  /** Milliseconds before each response. */
  readonly latency: number
  /** One line for each request on standard error. */
  readonly isLogged: boolean
  /** Faults that wait from the start, as JSON. */
  readonly faults: string | undefined
  /** Port of the control address. Undefined: there is none. */
  readonly control: number | undefined
}

/** A command, or `options`: every flag. */
export type HelpTopic = CommandName | 'options'

export type Command =
  | AppendCommand
  | FollowCommand
  | DemoCommand
  | StatCommand
  | CatCommand
  | LsCommand
  | VerifyCommand
  | DrainCommand
  | JournalCommand
  | ServeCommand
  | { readonly name: 'help'; readonly topic?: HelpTopic }
  | { readonly name: 'version' }
