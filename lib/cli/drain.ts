/**
 * `oss-append drain`: delivers what the journals of dead processes hold, each to the object that its last anchor
 * names. A slot is left as it is where that fails, and the others go on.
 */

import { join, resolve } from 'node:path'
import type { Target } from '../append/client-interface.ts'
import { isSealed } from '../append/find-tail.ts'
import { StreamContext } from '../append/stream-context.ts'
import { OssClient } from '../client/client.ts'
import { parseUrl } from '../client/endpoint.ts'
import { systemClock } from '../clock.ts'
import { formatCount } from '../errors.ts'
import type { RetryInfo } from '../index.ts'
import { describeDamage } from '../journal/describe-damage.ts'
import { nodeFileSystem } from '../journal/file-system.ts'
import { Journal } from '../journal/journal.ts'
import { asJournalError } from '../journal/journal-error.ts'
import { isDamagedName } from '../journal/segment.ts'
import { listSlotNames, lockIfFree } from '../journal/slots.ts'
import { resolveOptions, type Settings } from '../options.ts'
import { JournalRecovery } from '../stream/journal-recovery.ts'
import { withRetryDefaults } from './append.ts'
import { withBackend } from './backend.ts'
import type { CommandIO, DrainCommand } from './commands.ts'
import { describeError, errorEvent, exitCodeOf, InterruptedError } from './failure.ts'
import { checkFolder, describePattern, slotId } from './journal.ts'
import { formatRows } from './report.ts'
import { Reporter, stderrListener } from './reporter.ts'
import { RetryNotice } from './retry-notice.ts'
import type { Signals } from './signals.ts'

/** RAM actions. HEAD needs the second. */
const ACTIONS = ['oss:PutObject', 'oss:GetObject']

/** The object of a slot of which no object is known. */
const NO_TARGET: Target = { bucket: 'none', key: 'none' }

/** Resolves to 0 if nothing is left that no living process delivers. */
export async function drain(
  command: DrainCommand,
  io: CommandIO,
  signals: Signals,
): Promise<number> {
  const { dir, backend } = command
  checkFolder(dir)
  if (command.target !== undefined) parseUrl(command.target)
  const { note } = stderrListener(io.stderr)
  return withBackend(backend, 'append', { env: io.env, note }, async ({ clientOptions }) => {
    const client = new OssClient(clientOptions)
    const drainer = new Drainer(command, client, io, signals)
    try {
      return await drainer.run()
    } finally {
      await client.close()
    }
  })
}

/** A journal that is being delivered, and what its deliveries need. */
interface OpenSlot {
  readonly name: string
  readonly journal: Journal
  readonly settings: Settings
  readonly context: StreamContext
  readonly recovery: JournalRecovery
}

class Drainer {
  readonly #command: DrainCommand
  readonly #client: OssClient
  readonly #io: CommandIO
  readonly #signals: Signals
  readonly #reporter: Reporter
  readonly #retryNotice: RetryNotice
  readonly #target: Target | undefined
  #bytes = 0
  #slots = 0
  #hasFailed = false
  #exitCode = 0

  constructor(command: DrainCommand, client: OssClient, io: CommandIO, signals: Signals) {
    this.#command = command
    this.#client = client
    this.#io = io
    this.#signals = signals
    this.#reporter = new Reporter({ isJson: command.isJson, isQuiet: false }, io)
    this.#retryNotice = new RetryNotice(text => this.#reporter.note(text))
    this.#target = command.target === undefined ? undefined : parseUrl(command.target)
  }

  async run(): Promise<number> {
    const dir = resolve(this.#command.dir)
    for (const name of await listSlotNames(nodeFileSystem, dir)) {
      const folder = join(dir, name)
      try {
        await this.#drainFolder(name, folder)
      } catch (error) {
        if (error instanceof InterruptedError) throw error
        this.#fail(asJournalError(error, folder), {})
      }
    }
    const { isJson } = this.#command
    this.#reporter.emit('finish', { dir, slots: this.#slots, bytes: this.#bytes })
    if (!isJson && this.#slots === 0 && !this.#hasFailed)
      this.#io.stdout.write('nothing is left to deliver\n')
    return this.#exitCode
  }

  async #drainFolder(name: string, folder: string): Promise<void> {
    const unlock = await lockIfFree(folder)
    if (!unlock) {
      this.#reporter.note(`slot ${name} is left to the process that uses it: ${this.#seeJournal}`)
      return
    }
    try {
      const names = await nodeFileSystem.list(folder)
      await this.#drainSlot(name, folder)
      this.#reportKept(name, names.filter(isDamagedName).length)
    } finally {
      await unlock()
    }
  }

  /** Reports files that earlier starts have kept as damaged. `#report` names those that this one keeps. */
  #reportKept(name: string, count: number): void {
    if (count === 0) return
    const files = formatCount(count, 'damaged file')
    const verb = count === 1 ? 'is' : 'are'
    this.#reporter.note(
      `slot ${name}: ${files} ${verb} kept, and not delivered: ${this.#seeJournal}`,
    )
    this.#exitCode ||= 1
  }

  get #seeJournal(): string {
    return `see oss-append journal ${this.#command.dir}`
  }

  async #drainSlot(name: string, folder: string): Promise<void> {
    const { first } = this.#signals
    let url: string | undefined
    let journal: Journal | undefined
    try {
      journal = await openJournal(folder)
      const { anchor, from, end, damaged } = journal.recovered
      if (end === from && damaged.length === 0) return
      const object = anchor ?? unsentTarget(journal) ?? this.#target
      url = object && urlOf(object)
      this.#slots++
      await this.#deliver(this.#openSlot(name, journal))
    } catch (error) {
      if (first.aborted) throw this.#interrupted()
      this.#fail(error, { url, journal: folder })
    } finally {
      // The files stay, so the next start reads what could not be closed.
      await journal?.close().catch(() => {})
    }
  }

  #openSlot(name: string, journal: Journal): OpenSlot {
    const { retry: given, isUnsynced } = this.#command
    const { anchor } = journal.recovered
    const retry = withRetryDefaults(given, { isLocal: false })
    const { bucket, key } = anchor ?? unsentTarget(journal) ?? this.#target ?? NO_TARGET
    const settings = resolveOptions({ bucket, key, client: this.#client, retry })
    const onRetry = (info: RetryInfo) => {
      this.#retryNotice.onRetry(info.error)
      this.#reporter.emitRetry(info)
    }
    const objects = { ...settings, clock: systemClock, onRetry }
    const context = new StreamContext(objects)
    // Nothing else holds the process between two attempts.
    context.retryLoop.keepProcessAlive()
    const recovery = new JournalRecovery(journal, { ...objects, bucket, isUnsynced }, context)
    return { name, journal, settings, context, recovery }
  }

  async #deliver(slot: OpenSlot): Promise<void> {
    const { name, journal, context, recovery } = slot
    const { first } = this.#signals
    const abort = () => context.retryLoop.abort(first.reason)
    first.addEventListener('abort', abort)
    try {
      first.throwIfAborted()
      await recovery.deliverToAnchor()
      await this.#deliverUnsent(slot)
      if (recovery.left > 0 && this.#target) await recovery.deliverTo(this.#target)
    } finally {
      first.removeEventListener('abort', abort)
    }
    this.#retryNotice.onSuccess()
    this.#report(name, recovery, recovery.left, journal)
  }

  /**
   * Delivers bytes of which nothing was sent, to the object that they were written for. If that is sealed, they are
   * left for the object that the user names.
   */
  async #deliverUnsent({ journal, recovery }: OpenSlot): Promise<void> {
    const target = unsentTarget(journal)
    if (!target) return
    try {
      await recovery.deliverTo(target)
    } catch (error) {
      if (!this.#target || !isSealed(error) || error.unresolved) throw error
    }
  }

  #report(name: string, recovery: JournalRecovery, left: number, journal: Journal): void {
    const { key, bytes, bytesBehind, damaged } = recovery.info
    const { anchor } = journal.recovered
    const known = anchor ?? unsentTarget(journal)
    const target = known?.key === key ? known : this.#target
    const url = key === undefined ? undefined : `oss://${target?.bucket}/${key}`
    this.#bytes += bytes
    this.#reporter.emit('recover', { slot: slotId(name), url, bytes, bytesBehind, damaged, left })
    if (!this.#command.isJson && url !== undefined) {
      const row: [string, string] = [`slot ${name}`, `${formatCount(bytes, 'byte')} to ${url}`]
      this.#io.stdout.write(formatRows([row]))
    }
    for (const damage of damaged) this.#reporter.note(describeDamage(damage))
    if (left > 0) this.#reporter.note(this.#describeLeft(name, left, journal))
    if (left > 0 || damaged.length > 0) this.#exitCode ||= 1
  }

  #describeLeft(name: string, left: number, journal: Journal): string {
    const { anchor, target } = journal.recovered
    const reason = anchor
      ? `${urlOf(anchor)} takes no more: it is sealed or full`
      : `nothing of it was sent, and it is for the ${describePattern(target)}`
    const remedy = `name the object, as in oss-append drain ${this.#command.dir} oss://BUCKET/KEY`
    return `slot ${name}: ${formatCount(left, 'byte')} stay: ${reason}. To deliver them, ${remedy}`
  }

  #fail(error: unknown, { url, journal }: { url?: string | undefined; journal?: string }): void {
    const context = { ...(url !== undefined && { url }), journal, actions: ACTIONS }
    this.#reporter.emit('error', errorEvent(error, context))
    this.#io.stderr.write(describeError(error, context))
    this.#hasFailed = true
    this.#exitCode ||= exitCodeOf(error)
  }

  #interrupted(): InterruptedError {
    const { received, exitCode } = this.#signals
    const rest = `what is not delivered stays in ${this.#command.dir}`
    return new InterruptedError(exitCode, `interrupted by ${received}: ${rest}`)
  }
}

/** Delivery adds nothing, so no limit holds. Where records end is in the files. */
function openJournal(folder: string): Promise<Journal> {
  const limits = { maxBytes: Number.MAX_SAFE_INTEGER, highWaterMark: 4_194_304 }
  return Journal.open({ folder, sync: 'always', align: undefined, ...limits })
}

/** The object of bytes of which nothing was sent. Undefined: there are none, or only their key pattern is known. */
function unsentTarget({ recovered: { anchor, target } }: Journal): Target | undefined {
  return anchor || target?.isPattern ? undefined : target
}

function urlOf({ bucket, key }: Target): string {
  return `oss://${bucket}/${key}`
}
