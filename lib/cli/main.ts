#!/usr/bin/env node
/**
 * The command `oss-append`: reads its arguments, runs what they ask for, and turns the outcome into an
 * exit code. The work itself is in `cli/`, and is loaded only when there is some, so that `--help`
 * answers at once.
 */

import { readFileSync } from 'node:fs'
import { parseArguments } from './arguments.ts'
import type { Command } from './commands.ts'
import { describeError, exitCodeOf, mapAbortError } from './failure.ts'
import { HELP, OPTIONS_HELP } from './help.ts'
import { Signals } from './signals.ts'

// A reader that goes away (`| head`, a closed terminal) costs its text, and neither bytes nor the
// exit code. Without a listener EPIPE would be an uncaught exception.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

// Node writes to a terminal and waits: one that has stopped (Ctrl-S) would stop the bytes too, and every
// signal. Node has no other word for it than this inner one, which npm and others rely on.
interface StreamWithHandle {
  readonly _handle?: { setBlocking?(isBlocking: boolean): void }
}
if (process.stderr.isTTY) (process.stderr as StreamWithHandle)._handle?.setBlocking?.(false)

/** A disk that is full is no reader that went away: what it should keep is lost. */
const DISK_ERRORS = ['ENOSPC', 'EDQUOT', 'EFBIG']
let outputError: Error | undefined
/** What `main` has told. */
let reportedFailure: unknown
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (DISK_ERRORS.includes(error.code ?? '')) outputError ??= error
})

/** Milliseconds for what should be over at once. */
const EXIT_TIMEOUT = 1_000

const args = process.argv.slice(2)
const signals = new Signals()
signals.second.addEventListener('abort', exitSoon)
// Not awaited at the top: nothing is left to do then, and Node would take it for a deadlock.
void exit(await main())

async function main(): Promise<number> {
  try {
    return await runCommand(parseArguments(args))
  } catch (cause) {
    reportedFailure = mapAbortError(cause, signals)
    if (wantsJson()) {
      const { Reporter } = await import('./reporter.ts')
      new Reporter({ isJson: true, isQuiet: true }).fail(reportedFailure)
    }
    process.stderr.write(describeError(reportedFailure))
    return exitCodeOf(reportedFailure)
  }
}

/** Known before the arguments are: a program that reads events is told of wrong ones by an event. */
function wantsJson(): boolean {
  const separator = args.indexOf('--')
  return args.slice(0, separator === -1 ? args.length : separator).includes('--json')
}

/**
 * The process ends by itself, or else it is ended: something may be open that nobody can close. What was
 * printed goes out first; only after a signal a reader that has stopped is not waited for.
 */
async function exit(code: number): Promise<void> {
  process.exitCode = code
  signals.first.addEventListener('abort', exitSoon)
  if (signals.first.aborted) exitSoon()
  await flush(process.stdout)
  if (outputError && outputError !== reportedFailure) {
    process.stderr.write(describeError(outputError))
    process.exitCode ||= 1
  }
  await flush(process.stderr)
  exitSoon()
}

function flush(output: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => output.write('', () => resolve()))
}

function exitSoon(): void {
  setTimeout(forceExit, EXIT_TIMEOUT).unref()
}

/** A thread that reads a device holds `process.exit()` too, and gives way to a signal alone. */
function forceExit(): void {
  const { received } = signals
  process.exitCode ||= signals.exitCode
  if (!process.getActiveResourcesInfo().includes('FSReqCallback')) process.exit()
  const name = received ?? 'SIGTERM'
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}

async function runCommand(command: Command): Promise<number> {
  switch (command.name) {
    case 'help':
      process.stdout.write(command.topic === 'options' ? OPTIONS_HELP : HELP)
      return 0
    case 'version':
      process.stdout.write(`${readVersion()}\n`)
      return 0
    case 'demo':
      return (await import('./append.ts')).demo(command, signals)
    case 'append':
      return (await import('./append.ts')).append(command, signals)
    case 'stat':
      return (await import('./look.ts')).stat(command, signals.first)
    case 'verify':
      return (await import('./look.ts')).verify(command, signals.first)
    case 'cat':
      return (await import('./cat.ts')).cat(command, signals.first)
    case 'serve':
      return (await import('./serve.ts')).serve(command, signals.first)
  }
}

function readVersion(): string {
  // Two folders up from `dist/cli/`, as from `lib/cli/`.
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
