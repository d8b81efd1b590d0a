/**
 * The command `oss-append` as a function: arguments and streams in, exit code out. It leaves the process
 * as it was, so a test can call it. Each command is loaded when it runs: `--help` answers at once.
 */

import { readFileSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { parseArguments } from './arguments.ts'
import type { Command, CommandIO } from './commands.ts'
import {
  describeError,
  type ErrorContext,
  exitCodeOf,
  mapAbortError,
  OutputError,
} from './failure.ts'
import { formatHelp } from './help.ts'
import { Signals } from './signals.ts'

/**
 * Errors of standard output that make the command fail: what it should keep is lost. Any other error means
 * that the reader is gone (`| head`, a closed terminal), which changes neither the bytes nor the exit code.
 */
const DISK_ERRORS = ['ENOSPC', 'EDQUOT', 'EFBIG']

/** Resolves to the exit code. Never rejects. */
export async function main(args: readonly string[], io: CommandIO): Promise<number> {
  const signals = new Signals(io.signals, io.clock)
  let diskError: NodeJS.ErrnoException | undefined
  const onStdoutError = (error: NodeJS.ErrnoException) => {
    if (DISK_ERRORS.includes(error.code ?? '')) diskError ??= error
  }
  // Without a listener an error of the stream is an uncaught exception.
  const onStderrError = () => {}
  io.stdout.on('error', onStdoutError)
  io.stderr.on('error', onStderrError)
  try {
    const { exitCode, failure } = await run(args, io, signals)
    await flush(io.stdout, signals.first)
    // `cat` fails with the same error, which is then printed already.
    const isReported = failure instanceof OutputError && failure.cause === diskError
    if (diskError === undefined || isReported) return exitCode
    io.stderr.write(describeError(new OutputError(diskError)))
    return exitCode || 1
  } finally {
    io.stdout.off('error', onStdoutError)
    io.stderr.off('error', onStderrError)
    signals.dispose()
  }
}

async function run(
  args: readonly string[],
  io: CommandIO,
  signals: Signals,
): Promise<{ exitCode: number; failure?: unknown }> {
  let context: ErrorContext = {}
  try {
    const command = parseArguments(args)
    context = contextOf(command)
    return { exitCode: await runCommand(command, io, signals) }
  } catch (cause) {
    const failure = mapAbortError(cause, signals)
    if (hasJsonFlag(args)) {
      const { Reporter } = await import('./reporter.ts')
      new Reporter({ isJson: true, isQuiet: true }, io).fail(failure, context)
    }
    const { wrapFor } = await import('./progress.ts')
    io.stderr.write(wrapFor(io.stderr, describeError(failure, context)))
    return { exitCode: exitCodeOf(failure), failure }
  }
}

function contextOf(command: Command): ErrorContext {
  if (!('url' in command)) return {}
  const { url, backend } = command
  const journal = command.name === 'append' ? command.journal : undefined
  return { url, local: backend.local, journal, actions: actionsOf(command) }
}

/** HEAD needs `oss:GetObject`; an append does not need HEAD. */
function actionsOf(command: Extract<Command, { url: string }>): string[] {
  if (command.name === 'ls') return ['oss:ListObjects']
  if (command.name !== 'append' && command.name !== 'follow') {
    const isPattern = command.name === 'cat' && command.url.includes('{index}')
    return isPattern ? ['oss:ListObjects', 'oss:GetObject'] : ['oss:GetObject']
  }
  const { options, roll } = command
  const isSealed = options.seal || (roll && 'sealOnRoll' in roll && roll.sealOnRoll)
  return [
    'oss:PutObject',
    ...(options.tagging ? ['oss:PutObjectTagging'] : []),
    ...(isSealed ? ['oss:SealAppendObject'] : []),
  ]
}

/** Looks for `--json` alone, so that wrong arguments are reported as an event too. */
function hasJsonFlag(args: readonly string[]): boolean {
  const separator = args.indexOf('--')
  return args.slice(0, separator === -1 ? args.length : separator).includes('--json')
}

/** Resolves when everything is written, or at the signal: the reader may have stopped reading. */
function flush(output: Writable, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
    output.write('', () => resolve())
  })
}

async function runCommand(command: Command, io: CommandIO, signals: Signals): Promise<number> {
  switch (command.name) {
    case 'help':
      io.stdout.write(formatHelp(command.topic))
      return 0
    case 'version':
      io.stdout.write(`${readVersion()}\n`)
      return 0
    case 'demo':
      return (await import('./append.ts')).demo(command, io, signals)
    case 'append':
      return (await import('./append.ts')).append(command, io, signals)
    case 'follow':
      return (await import('./follow.ts')).follow(command, io, signals)
    case 'stat':
      return (await import('./look.ts')).stat(command, io, signals.first)
    case 'verify':
      return (await import('./look.ts')).verify(command, io, signals.first)
    case 'cat':
      return (await import('./cat.ts')).cat(command, io, signals.first)
    case 'ls':
      return (await import('./ls.ts')).ls(command, io, signals.first)
    case 'drain':
      return (await import('./drain.ts')).drain(command, io, signals)
    case 'journal':
      return (await import('./journal.ts')).journal(command, io)
    case 'serve':
      return (await import('./serve.ts')).serve(command, io, signals.first)
  }
}

function readVersion(): string {
  // Two folders up from `dist/cli/`, as from `lib/cli/`.
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
