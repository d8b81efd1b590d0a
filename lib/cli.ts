#!/usr/bin/env node
/**
 * The command `oss-append`: reads its arguments, runs what they ask for, and turns the outcome into an
 * exit code. The work itself is in `cli/`, and is loaded only when there is some, so that `--help`
 * answers at once.
 */

import { readFileSync } from 'node:fs'
import { parseArguments } from './cli/arguments.ts'
import type { Command } from './cli/commands.ts'
import { describeError, exitCodeOf, interpret } from './cli/failure.ts'
import { HELP, OPTIONS_HELP } from './cli/help.ts'
import { Signals } from './cli/signals.ts'

// A reader that goes away (`| head`, a closed terminal) costs its text, and neither bytes nor the
// exit code. Without a listener EPIPE would be an uncaught exception.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

// Node writes to a terminal and waits: one that has stopped (Ctrl-S) would stop the bytes too, and every
// signal. Node has no other word for it than this inner one, which npm and others rely on.
interface Handle {
  readonly _handle?: { setBlocking?(isBlocking: boolean): void }
}
if (process.stderr.isTTY) (process.stderr as Handle)._handle?.setBlocking?.(false)

/** A disk that is full is no reader that went away: what it should keep is lost. */
const LOSSES = ['ENOSPC', 'EDQUOT', 'EFBIG']
let loss: Error | undefined
/** What `main` has told. */
let failure: unknown
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (LOSSES.includes(error.code ?? '')) loss ??= error
})

/** Milliseconds for what should be over at once. */
const PATIENCE = 1_000

const args = process.argv.slice(2)
const signals = new Signals()
signals.second.addEventListener('abort', endSoon)
// Not awaited at the top: nothing is left to do then, and Node would take it for a deadlock.
void leave(await main())

async function main(): Promise<number> {
  try {
    return await run(parseArguments(args))
  } catch (cause) {
    failure = interpret(cause, signals)
    if (isJson()) {
      const { Reporter } = await import('./cli/reporter.ts')
      new Reporter({ isJson: true, isQuiet: true }).fail(failure)
    }
    process.stderr.write(describeError(failure))
    return exitCodeOf(failure)
  }
}

/** Known before the arguments are: a program that reads events is told of wrong ones by an event. */
function isJson(): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end === -1 ? args.length : end).includes('--json')
}

/**
 * The process ends by itself, or else it is ended: something may be open that nobody can close. What was
 * printed goes out first; only after a signal a reader that has stopped is not waited for.
 */
async function leave(code: number): Promise<void> {
  process.exitCode = code
  signals.first.addEventListener('abort', endSoon)
  if (signals.first.aborted) endSoon()
  await drain(process.stdout)
  if (loss && loss !== failure) {
    process.stderr.write(describeError(loss))
    process.exitCode ||= 1
  }
  await drain(process.stderr)
  endSoon()
}

function drain(output: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => output.write('', () => resolve()))
}

function endSoon(): void {
  setTimeout(force, PATIENCE).unref()
}

/** A thread that reads a device holds `process.exit()` too, and gives way to a signal alone. */
function force(): void {
  const { received } = signals
  process.exitCode ||= signals.exitCode
  if (!process.getActiveResourcesInfo().includes('FSReqCallback')) process.exit()
  const name = received ?? 'SIGTERM'
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}

async function run(command: Command): Promise<number> {
  switch (command.name) {
    case 'help':
      process.stdout.write(command.topic === 'options' ? OPTIONS_HELP : HELP)
      return 0
    case 'version':
      process.stdout.write(`${readVersion()}\n`)
      return 0
    case 'demo':
      return (await import('./cli/append.ts')).demonstrate(command, signals)
    case 'append':
      return (await import('./cli/append.ts')).append(command, signals)
    case 'stat':
      return (await import('./cli/look.ts')).stat(command, signals.first)
    case 'verify':
      return (await import('./cli/look.ts')).verify(command, signals.first)
    case 'cat':
      return (await import('./cli/cat.ts')).cat(command, signals.first)
    case 'serve':
      return (await import('./cli/serve.ts')).serve(command, signals.first)
  }
}

function readVersion(): string {
  // One folder up from `dist/`, as from `lib/`.
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
