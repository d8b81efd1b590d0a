/** What a seed of the shared-writers model decides: the writers, their permissions and options, the troubles. */

import type { Align } from '../../lib/options.ts'
import { createRandom, type Random } from '../helpers/random.ts'

export interface WriterPlan {
  /** `A` to `E`. */
  readonly name: string
  readonly records: readonly string[]
  readonly highWaterMark: number
  readonly isHeadForbidden: boolean
  readonly isGetForbidden: boolean
  /** The client has no function `read`. */
  readonly hasNoRead: boolean
  /** A layer below sends some requests twice. */
  readonly resends: boolean
  /** What the client says about that. */
  readonly sendsOnce: boolean
  /** Milliseconds. */
  readonly roundTrip: number
  readonly maxRetries: number
  /** Milliseconds; how far the wall clock of the writer is off. */
  readonly clockSkew: number
  readonly contentMd5: boolean
}

export interface SharedScenario {
  readonly seed: number
  readonly theme: string
  readonly writers: readonly WriterPlan[]
  readonly align: Align
  /** Rolling streams: a pattern and `maxBytes`. Undefined: plain streams of one object. */
  readonly rolling: { readonly key: string; readonly maxBytes: number } | undefined
  /** Another client seals objects. */
  readonly seals: boolean
  /** Another client deletes objects, and may put others in their place. */
  readonly deletes: boolean
  /** Attempts have lengths at random, and not those of `AttemptSize`. */
  readonly hasRandomSizes: boolean
  /** Percent of exchanges that go wrong until the run is calm. */
  readonly faultRate: number
}

const RECORD_LENGTH = 12

/** What the model does to test its oracle. */
export interface Lie {
  /** Clients say that requests are sent once, where they are not. */
  readonly isLiar?: boolean
}

export function createSharedScenario(seed: number, { isLiar = false }: Lie): SharedScenario {
  const random = createRandom(seed)
  const isRolling = chance(random, 60)
  const align = random.pick<Align>(['\n', '\n', 'chunk', 'chunk', RECORD_LENGTH])
  const deletes = chance(random, 20)
  const seals = isRolling ? chance(random, 30) : chance(random, 8)
  const permissions = random.pick(['all', 'all', 'all', 'no HEAD', 'no GET', 'no read', 'mixed'])
  const resends = chance(random, 20) || isLiar
  const count = random.integer(2, 5)
  const writers = Array.from({ length: count }, (_, i): WriterPlan => {
    const mine = permissions === 'mixed' ? random.pick(['all', 'no HEAD', 'no GET']) : permissions
    return {
      name: 'ABCDE'[i]!,
      records: createRecords(random, 'ABCDE'[i]!, align),
      highWaterMark: random.pick([16, 40, 100, 400]),
      isHeadForbidden: mine === 'no HEAD',
      // OSS has one permission for both.
      isGetForbidden: mine === 'no HEAD' || mine === 'no GET',
      hasNoRead: mine === 'no read',
      resends,
      sendsOnce: !resends || isLiar,
      roundTrip: random.pick([1, 5, 20, 60]),
      maxRetries: chance(random, 70) ? Number.POSITIVE_INFINITY : random.integer(2, 5),
      clockSkew: random.pick([0, 0, 20_000, -20_000]),
      contentMd5: chance(random, 50),
    }
  })
  const key = random.pick(['{index}', '{index}', '{mm}-{index}'])
  return {
    seed,
    theme: `${isRolling ? key : 'one object'}, ${permissions}${deletes ? ', deletions' : ''}`,
    writers,
    align,
    rolling: isRolling ? { key, maxBytes: random.pick([30, 60, 120, 1e6]) } : undefined,
    seals,
    deletes,
    hasRandomSizes: chance(random, 50),
    faultRate: random.pick([0, 20, 40, 60]),
  }
}

function createRecords(random: Random, name: string, align: Align): string[] {
  return Array.from({ length: random.integer(3, 10) }, (_, i) => {
    const start = `<${name}${String(i).padStart(2, '0')}`
    if (typeof align === 'number') return `${start.padEnd(align - 2, 'x')}>\n`
    return `${start}${'x'.repeat(random.integer(0, 12))}>\n`
  })
}

export function chance(random: Random, percent: number): boolean {
  return random.integer(1, 100) <= percent
}
