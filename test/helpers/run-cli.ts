/** The command `oss-append`, as built, in processes of its own: as a shell would start it. */

import { type ChildProcess, execFileSync, type StdioOptions } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { COMMANDS } from '../../lib/cli/flags.ts'
import { createOssServer } from '../../lib/server/index.ts'
import { cleanEnv, spawnClean } from './child-process.ts'

const ROOT = join(import.meta.dirname, '../..')
export const CLI = join(ROOT, 'dist/cli/main.js')

/** `pretest` builds; a test file that is run by itself may find nothing. */
if (!fs.existsSync(CLI)) {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  execFileSync(process.execPath, [tsc, '-p', 'lib'], { cwd: ROOT })
}

/** A server that stands for OSS, and the command with an environment that leads there. */
export async function startCliServer(t: Test) {
  const secret = 'the-secret-that-nobody-prints'
  const server = await createOssServer({
    credentials: { accessKeyId: 'key-id', accessKeySecret: secret },
  })
  t.teardown(() => server.close())
  const env = {
    OSS_ACCESS_KEY_ID: 'key-id',
    OSS_ACCESS_KEY_SECRET: secret,
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
  }
  const runWithServer = async (args: string[], options: RunOptions = {}) => {
    const outcome = await runCli(args, { env, ...options })
    t.notMatch(outcome.stdout + outcome.stderr, secret)
    return outcome
  }
  return { server, env, runWithServer }
}

// Processes: as a shell would start them, without what tap gives to its children, and without keys.

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Written to standard input, which is then a socket: no pipe, and no file. Default: the null device. */
  readonly input?: Buffer
  /** In place of `input`: a file opened for reading, or where the outputs go. */
  readonly stdio?: StdioOptions
  /** Leaves standard input open. */
  readonly keepStdinOpen?: boolean
  /** Where it runs. Default: the project. */
  readonly cwd?: string
  /** Arguments for Node itself. */
  readonly nodeArgs?: readonly string[]
}

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function startCli(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { env, input, nodeArgs = [], stdio = [input ? 'pipe' : 'ignore', 'pipe', 'pipe'] } = options
  const child = spawnClean(
    [process.execPath, ...nodeArgs, CLI, ...withRetryLimit(args)],
    cleanEnv(env),
    stdio,
    options.cwd,
  )
  child.stdin?.on('error', () => {})
  if (!options.keepStdinOpen) child.stdin?.end(input)
  return child
}

/** Who appends never gives up, and would outlive a test run that was killed. */
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

export function runCli(args: readonly string[], options: RunOptions = {}): Promise<CliResult> {
  return waitForExit(startCli(args, options))
}

/** Runs a line of shell, in which `oss_append` is the command. */
export function runShell(
  commandLine: string,
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
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
