/** The processes of the soak: what they do, what they report, and what the system says about them. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { cleanEnv } from '../helpers/child-process.ts'

const WRITER = fileURLToPath(new URL('./writer.js', import.meta.url))

export interface WriterPlan {
  readonly kind: 'plain' | 'rolling' | 'pino' | 'winston'
  /** The number of the first record. */
  readonly from: number
  /** Milliseconds from record to record. */
  readonly interval: number
  readonly options: Readonly<Record<string, unknown>>
}

export interface WriterReport {
  readonly message: 'pause' | 'end'
  readonly counts: Readonly<Record<string, number>>
  /** Active resources, by kind. */
  readonly kinds: Readonly<Record<string, number>>
  /** Listeners on `process`. */
  readonly listeners: number
}

/** A writer, and what it prints. */
export class Writer {
  readonly child: ChildProcess
  readonly closed: Promise<[code: number | null, signal: NodeJS.Signals | null]>
  stdout = ''
  stderr = ''

  constructor(plan: WriterPlan, env: NodeJS.ProcessEnv) {
    const variables = { ...cleanEnv(env), SOAK_PLAN: JSON.stringify(plan) }
    const stdio = ['ignore', 'pipe', 'pipe', 'ipc'] as const
    this.child = fork(WRITER, { env: variables, execArgv: [], stdio: [...stdio] })
    this.child.stdout?.on('data', data => (this.stdout += data))
    this.child.stderr?.on('data', data => (this.stderr += data))
    this.closed = new Promise(resolve => {
      this.child.once('close', (code, signal) => resolve([code, signal]))
    })
  }

  /** Rejects if the process ends before its report. */
  async ask(message: 'pause' | 'end'): Promise<WriterReport> {
    this.child.send(message)
    const report = once(this.child, 'message').then(([value]) => value as WriterReport)
    const died = this.closed.then(([code, signal]) => {
      throw new Error(`a writer ended with ${code ?? signal}: ${this.stderr}`)
    })
    return Promise.race([report, died])
  }

  resume(): void {
    this.child.send('resume')
  }
}

/** What the system says about a process. */
export interface SystemSample {
  /** MiB. */
  readonly rss: number
  readonly sockets: number
  /** File descriptors that are no sockets. */
  readonly files: number
}

export function sampleOf(pid: number): SystemSample {
  const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  const links = readdirSync(`/proc/${pid}/fd`).map(fd => linkOf(`/proc/${pid}/fd/${fd}`))
  const sockets = links.filter(link => link.startsWith('socket:')).length
  return { rss: Number(kilobytes) / 1024, sockets, files: links.length - sockets }
}

/** A descriptor may be closed while the folder is read. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
