#!/usr/bin/env node
/** The executable `oss-append`: runs `main` with what the process has, and ends the process. */

import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import type { CommandIO } from './commands.ts'
import { main } from './main.ts'
import { Signals } from './signals.ts'

/** Milliseconds until the process is ended, where something keeps it from ending by itself. */
const EXIT_TIMEOUT = 1_000

const io: CommandIO = {
  get stdin() {
    return process.stdin
  },
  stdinFd: 0,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signals: process,
  closeStdout() {
    if (process.stdout.isTTY) return
    // Node never closes descriptor 1. It stays taken, or the next file to be opened would get it.
    closeSync(1)
    openSync(devNull, 'w')
  },
}

// A pipe may break after `main` is done, too, and EPIPE would be an uncaught exception.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

// Node writes to a terminal synchronously: one that has stopped (Ctrl-S) would stop the event loop. There
// is no public API for that, but npm and others rely on this one.
interface StreamWithHandle {
  readonly _handle?: { setBlocking?(isBlocking: boolean): void }
}
if (process.stderr.isTTY) (process.stderr as StreamWithHandle)._handle?.setBlocking?.(false)

/** The exit code of a command that a signal has ended: `serve` has 0. */
let codeAfterSignal: number | undefined
const signals = new Signals(process)
signals.second.addEventListener('abort', exitSoon)
// `main` is awaited: should the event loop run empty before it is done, Node exits with 13. `exit` is not,
// since the loop is meant to run empty there.
void exit(await main(process.argv.slice(2), io))

/**
 * The process ends by itself when both outputs are written. A handle that cannot be closed is not waited
 * for; after a signal neither is a reader that has stopped reading.
 */
async function exit(code: number): Promise<void> {
  process.exitCode = code
  if (signals.first.aborted) codeAfterSignal = code
  signals.first.addEventListener('abort', exitSoon)
  if (signals.first.aborted) exitSoon()
  await flush(process.stdout)
  await flush(process.stderr)
  exitSoon()
  // Node restores the default action of signals before the process is gone. The duplicate that npx forwards would kill
  // then, and the exit code would be lost.
  await setTimeout(signals.duplicateTime)
}

function flush(output: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => output.write('', () => resolve()))
}

function exitSoon(): void {
  globalThis.setTimeout(forceExit, EXIT_TIMEOUT).unref()
}

/** `process.exit()` waits for a thread that reads a device, and only a signal ends that. */
function forceExit(): void {
  process.exitCode = codeAfterSignal ?? (process.exitCode || signals.exitCode)
  if (!process.getActiveResourcesInfo().includes('FSReqCallback')) process.exit()
  const name = signals.received ?? 'SIGTERM'
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}
