/** `oss-append journal`: what a journal holds, slot by slot. Reads, and changes nothing. */

import { statSync } from 'node:fs'
import { formatCount } from '../errors.ts'
import { describeDamage } from '../journal/describe-damage.ts'
import { inspectJournal, type SlotReport, type UnreadableSlot } from '../journal/inspect.ts'
import type { JournalTarget } from '../journal/segment.ts'
import type { CommandIO, JournalCommand } from './commands.ts'
import { errorFields } from './failure.ts'
import { formatRows } from './report.ts'
import { UsageError } from './usage-error.ts'

/** Resolves to 1 if bytes of a dead process cannot be delivered, or such bytes are kept. */
export async function journal({ dir, isJson }: JournalCommand, io: CommandIO): Promise<number> {
  checkFolder(dir)
  const slots = await inspectJournal(dir)
  io.stdout.write(slots.map(slot => format(slot, isJson)).join(isJson ? '' : '\n'))
  if (slots.length === 0 && !isJson) io.stdout.write('no journal is there\n')
  return slots.every(slot => !('error' in slot) && isWhole(slot)) ? 0 : 1
}

function format(slot: SlotReport | UnreadableSlot, isJson: boolean): string {
  if ('error' in slot) return isJson ? formatUnreadableJson(slot) : formatUnreadable(slot)
  return isJson ? formatJson(slot) : formatSlot(slot)
}

/** @throws {UsageError} A wrong name would look like an empty journal. */
export function checkFolder(dir: string): void {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory()) return
  throw new UsageError('DIR: there is no such folder')
}

/** What an owner writes meanwhile may look damaged, so that is not judged. */
function isWhole({ owner, recovered, kept }: SlotReport): boolean {
  return kept.length === 0 && (owner !== undefined || recovered.damaged.length === 0)
}

function bytesOf({ recovered: { from, end } }: SlotReport): number {
  return end - from
}

/** The number of a slot, or the name of a folder that was set aside. */
export function slotId(name: string): number | string {
  return /^\d+$/.test(name) ? Number(name) : name
}

function formatUnreadableJson({ name, folder, error }: UnreadableSlot): string {
  const state = { slot: slotId(name), folder, whole: false, error: errorFields(error) }
  return `${JSON.stringify(state)}\n`
}

function formatUnreadable({ name, folder, error }: UnreadableSlot): string {
  const rows: [string, string][] = [
    ['slot', `${name}, ${folder}`],
    ['state', 'not readable, so it is not known what it holds'],
    ['error', error.message],
  ]
  return formatRows(rows)
}

function formatJson(slot: SlotReport): string {
  const { name, folder, owner, bytesOnDisk, recovered, kept } = slot
  const { anchor, target, parts, damaged } = recovered
  const object = anchor ?? (bytesOf(slot) > 0 && !target?.isPattern ? target : undefined)
  return `${JSON.stringify({
    slot: slotId(name),
    folder,
    owner: owner && { pid: owner.pid, host: owner.host },
    bytes: bytesOf(slot),
    bytesOnDisk,
    url: object && `oss://${object.bucket}/${object.key}`,
    position: anchor?.position,
    crc64: anchor?.crc64,
    align: parts.at(-1)?.align,
    whole: isWhole(slot),
    damaged: owner ? [] : damaged,
    kept,
  })}\n`
}

const USES = [
  'the bytes in it are as they were written, between the frames: strings(1) shows text.',
  'Move the file away, or delete it, once you have what you need of it.',
]

function formatSlot(slot: SlotReport): string {
  const { name, folder, owner, bytesOnDisk, recovered, kept } = slot
  const { anchor, damaged } = recovered
  const bytes = bytesOf(slot)
  const rows: [string, string | undefined][] = [
    ['slot', `${name}, ${folder}`],
    ['owner', owner ? `process ${owner.pid} on ${owner.host}, which delivers it` : 'none'],
    ['bytes', `${formatCount(bytes, 'byte')} to deliver, ${bytesOnDisk} on disk`],
    ['object', bytes > 0 || anchor ? describeTarget(slot) : undefined],
    ['state', describeState(slot)],
    ...(owner ? [] : damaged).map((each): [string, string] => ['damaged', describeDamage(each)]),
    ...kept.map((file): [string, string] => ['kept', file]),
    ...(kept.length > 0 ? USES.map((line): [string, string] => ['', line]) : []),
  ]
  return formatRows(rows)
}

function describeTarget({ recovered: { anchor, target } }: SlotReport): string {
  if (anchor) return `oss://${anchor.bucket}/${anchor.key}, from byte ${anchor.position} on`
  if (!target || target.isPattern) {
    return `not known, since nothing was sent: drain needs oss://BUCKET/KEY for the ${describePattern(target)}`
  }
  return `oss://${target.bucket}/${target.key}, of which nothing was sent`
}

/** What a rolling stream was given. */
export function describePattern(target: JournalTarget | undefined): string {
  return target && target.key !== '' ? `key pattern ${target.key}` : 'keys of a function'
}

function describeState(slot: SlotReport): string {
  if (slot.owner) return 'in use: the owner changes it, so it is not judged'
  if (isWhole(slot)) return bytesOf(slot) === 0 ? 'whole, nothing to deliver' : 'whole'
  const { damaged } = slot.recovered
  return damaged.length > 0 ? 'damaged: drain delivers what comes before' : 'damaged files are kept'
}
