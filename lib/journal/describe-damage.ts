/** What is said of damaged parts of a journal. Pure. */

import { formatCount } from '../errors.ts'
import type { Damage } from './recover-info.ts'

const REASONS: Readonly<Record<Damage['reason'], string>> = {
  broken: 'a frame is torn or damaged there',
  gap: 'bytes before them are missing',
  unfinished: 'the last record has no end',
}

/** One sentence: where the bytes are, how many, and why they are not delivered. */
export function describeDamage({ file, offset, bytes, reason }: Damage): string {
  const count = formatCount(bytes, 'byte')
  return `${file}: ${count} from byte ${offset} on are not delivered, but kept: ${REASONS[reason]}`
}
