#!/usr/bin/env node
/**
 * The command `oss-append`: reads its arguments, runs what they ask for, and turns the outcome into an
 * exit code. The work itself is in `cli/`, and is loaded only when there is some, so that `--help`
 * answers at once.
 */

import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { HELP, parseArguments } from './cli/arguments.ts'
import { describeError, exitCodeOf } from './cli/failure.ts'

// A reader that goes away (`| head`, a closed terminal) costs its text, and neither bytes nor the
// exit code. Without a listener EPIPE would be an uncaught exception.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

process.exitCode = await main()

async function main(): Promise<number> {
  const interruption = new AbortController()
  let received: NodeJS.Signals | undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Once: the first lets everything be closed and temporary files removed, the second one kills.
    process.once(signal, () => {
      received = signal
      interruption.abort()
    })
  }
  try {
    return await run(interruption.signal)
  } catch (error) {
    if (received) {
      process.stderr.write(`oss-append: interrupted by ${received}\n`)
      return 128 + constants.signals[received]
    }
    process.stderr.write(describeError(error))
    return exitCodeOf(error)
  }
}

async function run(signal: AbortSignal): Promise<number> {
  const command = parseArguments(process.argv.slice(2))
  switch (command.name) {
    case 'help':
      process.stdout.write(HELP)
      return 0
    case 'version':
      process.stdout.write(`${readVersion()}\n`)
      return 0
    case 'demo': {
      const { demonstrate } = await import('./cli/commands.ts')
      return demonstrate(command, signal)
    }
    case 'append': {
      const { append } = await import('./cli/commands.ts')
      return append(command, signal)
    }
  }
}

function readVersion(): string {
  // One folder up from `dist/`, as from `lib/`.
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
