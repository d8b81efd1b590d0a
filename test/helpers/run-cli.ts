/**
 * Runs the command `oss-append`: within this process, by `main` of the sources, and where a test needs real
 * descriptors, signals or terminals as a process of its own, from `dist/`.
 */

import { type ChildProcess, execFileSync, type StdioOptions } from 'node:child_process'
import { EventEmitter } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { PassThrough, type Readable, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { COMMANDS } from '../../lib/cli/flags.ts'
import { main } from '../../lib/cli/main.ts'
import type { Clock } from '../../lib/clock.ts'
import { cleanEnv, spawnClean } from './child-process.ts'
import { createServerOnKeptPort } from './kept-port.ts'

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A server that stands for OSS, and the command with an environment that leads there. */
export async function startCliServer(t: Test) {
  const secret = 'the-secret-that-is-never-printed'
  const server = await createServerOnKeptPort({
    credentials: { accessKeyId: 'key-id', accessKeySecret: secret },
  })
  t.teardown(() => server.close())
  const env = {
    OSS_ACCESS_KEY_ID: 'key-id',
    OSS_ACCESS_KEY_SECRET: secret,
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
  }
  const runWithServer = async (args: readonly string[], options: CommandOptions = {}) => {
    const result = await runCli(args, { env, ...options })
    t.notMatch(result.stdout + result.stderr, secret)
    return result
  }
  return { server, env, runWithServer }
}

/** Without a limit an append is retried for ever, and a process would outlive a test run that is killed. */
function withRetryLimit(args: readonly string[]): readonly string[] {
  const isUnchanged = args.some(
    arg => arg.startsWith('--max-elapsed') || COMMANDS_WITHOUT_RETRY.includes(arg),
  )
  return isUnchanged ? args : ['--max-elapsed=60s', ...args]
}

const COMMANDS_WITHOUT_RETRY: readonly string[] = [
  ...COMMANDS.filter(name => name !== 'append'),
  'help',
]

// Within this process.

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>
  /** What standard input has. Default: nothing. */
  readonly input?: Buffer | string
  /** Leaves standard input open. */
  readonly keepStdinOpen?: boolean
  /** In place of `input`. */
  readonly stdin?: Readable
  readonly stdinFd?: number
  readonly stdout?: Output
  /** Counts the time after a signal. */
  readonly clock?: Clock
}

/** Collects what a command prints. */
export class Output extends Writable {
  text = ''
  readonly #decoder = new StringDecoder('utf8')

  override _write(chunk: Buffer, _: BufferEncoding, callback: (error?: Error) => void): void {
    this.text += this.#decoder.write(chunk)
    callback()
  }
}

export interface RunningCommand {
  readonly stdin: PassThrough
  readonly stdout: Output
  readonly stderr: Output
  readonly result: Promise<CliResult>
  /** Sends a signal. Throws if the command does not listen: it would kill a process. */
  kill(name: NodeJS.Signals): void
}

export function startCli(
  args: readonly string[],
  {
    env = {},
    input,
    keepStdinOpen,
    stdin,
    stdinFd,
    clock,
    stdout = new Output(),
  }: CommandOptions = {},
): RunningCommand {
  const ownStdin = new PassThrough()
  if (input !== undefined) ownStdin.write(input)
  if (!keepStdinOpen) ownStdin.end()
  const stderr = new Output()
  const signals = new EventEmitter()
  const io = { stdin: stdin ?? ownStdin, stdout, stderr, env, signals, ...(clock && { clock }) }
  const before = countListeners(io)
  const run = async (): Promise<CliResult> => {
    const code = await main(withRetryLimit(args), stdinFd === undefined ? io : { ...io, stdinFd })
    const after = countListeners(io)
    if (after !== before) throw new Error(`listeners were left: ${after}, and not ${before}`)
    return { code, stdout: stdout.text, stderr: stderr.text }
  }
  return {
    stdin: ownStdin,
    stdout,
    stderr,
    result: run(),
    kill(name) {
      if (!signals.emit(name, name)) throw new Error(`${name} would kill the command`)
    },
  }
}

export function runCli(args: readonly string[], options: CommandOptions = {}): Promise<CliResult> {
  return startCli(args, options).result
}

type Emitters = Record<'stdout' | 'stderr' | 'signals', NodeJS.EventEmitter>

/** How many listeners the outputs and the signals have, as text to compare. */
function countListeners({ stdout, stderr, signals }: Emitters): string {
  return Object.entries({ stdout, stderr, signals, process })
    .flatMap(([name, emitter]: [string, NodeJS.EventEmitter]) =>
      emitter.eventNames().map(event => `${name} ${String(event)} ${emitter.listenerCount(event)}`),
    )
    .filter(text => !/^process (?!SIG)/.test(text))
    .sort()
    .join(', ')
}

/** Waits until a condition holds. Checks every 5 ms, so that processes get the CPU. */
export async function waitFor(condition: () => unknown): Promise<void> {
  while (!condition()) await delay(5)
}

// As a process of its own: as a shell would start it, without what tap passes to its children.

const ROOT = join(import.meta.dirname, '../..')
export const CLI = join(ROOT, 'dist/cli/bin.js')

/** `pretest` builds; a test file that is run by itself may find nothing. */
function build(): void {
  if (fs.existsSync(CLI)) return
  const tsc = join(ROOT, 'node_modules/typescript7/bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'lib'], { cwd: ROOT })
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Written to standard input, which is then a socket: no pipe, and no file. Default: the null device. */
  readonly input?: Buffer | string
  /** In place of `input`: a file opened for reading, or where the outputs go. */
  readonly stdio?: StdioOptions
  /** Leaves standard input open. */
  readonly keepStdinOpen?: boolean
  /** Default: the project. */
  readonly cwd?: string
  /** Arguments for Node. */
  readonly nodeArgs?: readonly string[]
}

export function startProcess(args: readonly string[], options: ProcessOptions = {}): ChildProcess {
  build()
  const { env, input, nodeArgs = [], keepStdinOpen = false, cwd } = options
  const hasStdin = input !== undefined || keepStdinOpen
  const { stdio = [hasStdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] } = options
  const command = [process.execPath, ...nodeArgs, CLI, ...withRetryLimit(args)]
  const child = spawnClean(command, cleanEnv(env), stdio, cwd)
  child.stdin?.on('error', () => {})
  if (input !== undefined) child.stdin?.write(input)
  if (!keepStdinOpen) child.stdin?.end()
  return child
}

export function runProcess(
  args: readonly string[],
  options: ProcessOptions = {},
): Promise<CliResult> {
  return waitForExit(startProcess(args, options))
}

/** Runs a line of shell, in which `oss_append` is the command. */
export function runShell(
  commandLine: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  build()
  const script = `oss_append() { "$NODE" "$CLI_FILE" "$@"; }; ${commandLine}`
  const fullEnv = cleanEnv({ NODE: process.execPath, CLI_FILE: CLI, ...env })
  return waitForExit(spawnClean(['sh', '-c', script], fullEnv, ['ignore', 'pipe', 'pipe']))
}

/** Resolves when the process has ended and its outputs are read. */
export function waitForExit(child: ChildProcess): Promise<CliResult> {
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', text => (output[name] += text))
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ code, ...output }))
  })
}
