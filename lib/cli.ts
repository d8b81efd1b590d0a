#!/usr/bin/env node
/**
 * The command `oss-append`: reads its arguments, runs what they ask for, and turns the outcome into an
 * exit code. The work itself is in `cli/`, and is loaded only when there is some, so that `--help`
 * answers at once.
 */

import { readFileSync } from 'node:fs'
import { parseArguments } from './cli/arguments.ts'
import type { Command } from './cli/commands.ts'
import { describeError, exitCodeOf, InterruptedError } from './cli/failure.ts'
import { HELP } from './cli/help.ts'
import { Signals } from './cli/signals.ts'

// A reader that goes away (`| head`, a closed terminal) costs its text, and neither bytes nor the
// exit code. Without a listener EPIPE would be an uncaught exception.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

process.exitCode = await main()

async function main(): Promise<number> {
  const signals = new Signals()
  try {
    return await run(parseArguments(process.argv.slice(2)), signals)
  } catch (cause) {
    const error = isAbortion(cause) && signals.received ? interrupted(signals) : cause
    process.stderr.write(describeError(error))
    return exitCodeOf(error)
  }
}

async function run(command: Command, signals: Signals): Promise<number> {
  switch (command.name) {
    case 'help':
      process.stdout.write(HELP)
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

function isAbortion(error: unknown): boolean {
  return (error as { name?: unknown } | null)?.name === 'AbortError'
}

function interrupted({ exitCode, received }: Signals): InterruptedError {
  return new InterruptedError(exitCode, `interrupted by ${received}`)
}

function readVersion(): string {
  // One folder up from `dist/`, as from `lib/`.
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
