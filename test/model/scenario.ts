/**
 * The scenario of a seed: an object, the options of a stream, the steps of its source, and faults. The same seed
 * gives the same scenario. The remainder of the seed selects the ending, so that each ending occurs often
 * enough, and a random generator selects the rest.
 *
 * All bytes of the source have their highest bit set. The bytes of other writers, of earlier objects and a
 * damaged byte do not, so each byte of an object shows its writer.
 */

import type { Fault } from '../../lib/server/index.ts'
import { createRandom, type Random } from '../helpers/random.ts'
import {
  BAD_CONNECTIONS,
  CREDENTIALS_AND_CLOCK,
  DAMAGE,
  FALSE_409,
  LANDED_UNCONFIRMED,
  makeFault,
  OBJECT_CHANGED,
  REFUSALS,
  RIVALS,
  STORED_DAMAGE,
  TRANSIENT,
  WRONG_ACKNOWLEDGEMENTS,
} from './faults.ts'

export type ExistingObject = 'absent' | 'empty' | 'appendable' | 'grown' | 'Normal' | 'sealed'

export type Step =
  | {
      readonly do: 'write'
      readonly chunk: Buffer | string
      readonly encoding: BufferEncoding | undefined
      readonly bytes: Buffer
      readonly wait: 'no' | 'accepted' | 'drain'
    }
  | { readonly do: 'turns'; readonly count: number }
  | { readonly do: 'cork' | 'uncork' }
  | { readonly do: 'flush'; readonly form: 'promise' | 'callback'; readonly wait: boolean }
  /** Replaces the faults. All earlier bytes are acknowledged. */
  | { readonly do: 'faults'; readonly faults: readonly Fault[] }
  | {
      readonly do: 'end'
      readonly how: 'end' | 'close' | 'destroySoon' | 'dispose' | 'source fails'
    }

/** How and when the test ends the stream. */
export interface Stop {
  readonly by: 'destroy' | 'destroy with an error' | 'signal'
  /** `struck`: after all faults have struck. */
  readonly on: 'start' | 'ready' | 'append' | 'retry' | 'ended' | 'struck'
  /** Turns of the event loop after `on`. */
  readonly turns: number
}

export interface Scenario {
  readonly seed: number
  readonly theme: string
  readonly existing: ExistingObject
  readonly before: Buffer
  readonly mayRead: boolean
  readonly position: 'end' | 'zero' | 'exact' | 'exact, with its CRC' | 'wrong' | 'wrong CRC'
  readonly highWaterMark: number
  /** Bytes of the least size of attempts. */
  readonly attemptFloor: number
  readonly flushInterval: number
  readonly contentMd5: boolean
  readonly maxRetries: number
  readonly requestTimeout: number
  readonly maxObjectBytes: number | undefined
  readonly seal: boolean
  readonly client: 'own' | 'shared'
  readonly credentials: 'fixed' | 'provider'
  readonly isPiped: boolean
  /** Appends in flight at most. */
  readonly pipelining: number
  readonly faults: readonly Fault[]
  readonly steps: readonly Step[]
  readonly stop: Stop | undefined
}

const FAULT_POSITIONS = ['first', 'middle', 'last', 'last'] as const

/** A response is lost, and another writer appends before the stream asks for the tail. */
const RIVAL_DURING_LOOKUP = 'a rival during the lookup'

/** A proxy refuses all bodies but the shortest ones. */
const REFUSED_BODY = 'a body limit below the floor'

/** The endings. With `none` the stream must survive its faults and finish. */
const ENDINGS: readonly string[] = [
  ...Object.keys(RIVALS),
  ...Object.keys(OBJECT_CHANGED),
  ...Object.keys(WRONG_ACKNOWLEDGEMENTS),
  ...Object.keys(STORED_DAMAGE),
  ...Object.keys(REFUSALS),
  // Only these lead to the verdict "replaced", so they are in the list twice.
  'deleted',
  'replaced, shorter',
  RIVAL_DURING_LOOKUP,
  REFUSED_BODY,
  ...Array.from({ length: 3 }, () => 'abort'),
  ...Array.from({ length: 6 }, () => 'none'),
]

const BACKGROUNDS = [
  'nothing',
  'unconfirmed',
  'unconfirmed',
  'false 409',
  'false 409',
  'transient',
  'transient',
  'transient',
  'connections',
  'credentials',
  'reconciling',
  'reconciling',
  'mixed',
  'mixed',
  'sizes',
  'sizes',
  'sizes',
  'sizes',
  'body limit',
  'slow link',
] as const

type Background = (typeof BACKGROUNDS)[number]

/** The faults before the ending. */
interface BackgroundFaults {
  /** Faults of one append, in this order. */
  readonly faults: readonly Fault[]
  /** Faults of HEADs, empty appends and seals, from the beginning. */
  readonly lookups: readonly Fault[]
}

export function createScenario(seed: number, pipelining = 1): Scenario {
  const random = createRandom(seed)
  const ending = ENDINGS[seed % ENDINGS.length]!
  const isFatal = ending !== 'none' && ending !== 'abort'
  const picked = ending === 'none' && chance(random, 30) ? 'credentials' : random.pick(BACKGROUNDS)
  // A clock or a token that is wrong twice in a row would end the stream before its ending.
  const background = isFatal && picked === 'credentials' ? 'unconfirmed' : picked
  const sizes = pickSizes(random, background)
  const limit = makeSizeLimit(random, { ending, background }, sizes)
  const mayRead = chance(random, 50)
  const contentMd5 = ending !== 'corrupted, without MD5' && chance(random, 50)
  const isLate = ending === 'replaced, same length' && chance(random, 50)
  // A late attempt of the stream fits after another object of the same length.
  const { faults, lookups } = isLate
    ? { faults: [makeFault(random, 'late by 500, lands before the next')], lookups: [] }
    : makeBackgroundFaults(random, background, { contentMd5, mayRead })
  const abort = ending === 'abort' ? planAbort(random) : undefined
  const opening: OpeningPlan =
    ending === 'none' && chance(random, 20) ? planOpening(random) : { lookups: [] }
  const last = isFatal ? makeEndingFaults(random, ending, mayRead) : (abort?.faults ?? [])
  const faultPosition = ending === RIVAL_DURING_LOOKUP ? 'last' : random.pick(FAULT_POSITIONS)
  // A fault that fails no attempt takes an append for itself, and there is only one last append.
  const isFailing =
    background !== 'connections' && background !== 'mixed' && background !== 'credentials'
  const isTogether = abort === undefined && isFailing && chance(random, 80)
  const later = faultPosition === 'middle' ? random.integer(1, 2) : 0
  const chosen = isTogether ? [...faults, ...last] : last
  // The object is open by then, so the next HEAD is the one after a 409.
  const isDuringLookup = isTogether && faultPosition === 'last' && background === 'reconciling'
  const final = isDuringLookup
    ? [...lookups.map(lookup => ({ ...lookup, skip: 0 })), ...chosen]
    : chosen
  const seal = chance(random, ending === 'none' ? 55 : 8)
  const scheduled = [
    ...(isDuringLookup ? [] : lookups),
    ...(seal ? makeSealFaults(random) : []),
    ...opening.lookups,
    ...(isTogether || abort ? [] : faults),
    ...(faultPosition === 'last' ? [] : chosen.map(fault => ({ ...fault, skip: later }))),
    ...limit,
  ]
  const { highWaterMark } = sizes
  const minBatches = later + (isFatal && faultPosition !== 'last' ? faults.length : 0)
  const batches = minBatches + random.integer(0, background === 'slow link' ? 1 : 4)
  const steps = makeSteps(
    random,
    highWaterMark,
    batches,
    faultPosition === 'last' ? [...final, ...limit] : undefined,
    background === 'sizes',
  )
  const all = [...scheduled, ...final]
  const isHanging = all.some(({ name }) => name?.includes('hang')) && !abort?.isPatient
  const existing =
    opening.existing ??
    random.pick<ExistingObject>(['absent', 'empty', 'appendable', 'appendable', 'grown'])
  const hasBytes = existing !== 'absent' && existing !== 'empty'
  return {
    seed,
    theme: `${ending} after ${background}`,
    existing,
    before: Buffer.alloc(hasBytes ? random.integer(1, 600) : 0, 'what was there before; '),
    mayRead,
    position: opening.position ?? (chance(random, 85) ? 'end' : 'exact'),
    ...sizes,
    flushInterval: random.pick([0, 1, 1000]),
    contentMd5,
    maxRetries: !isFatal && chance(random, 40) ? random.integer(0, 5) : Infinity,
    requestTimeout: pickTimeout(random, background, isHanging),
    maxObjectBytes: ending === 'none' && chance(random, 4) ? random.integer(1, 2_000) : undefined,
    seal,
    client: chance(random, 85) ? 'own' : 'shared',
    credentials: chance(random, 85) ? 'provider' : 'fixed',
    isPiped: chance(random, 25),
    pipelining,
    faults: scheduled,
    steps,
    stop: abort?.stop ?? (ending === 'none' && chance(random, 8) ? makeStop(random) : undefined),
  }
}

function pickTimeout(random: Random, background: Background, isHanging: boolean): number {
  if (background === 'slow link') return SLOW_LINK_TIMEOUT
  return isHanging ? random.integer(60, 150) : 5_000
}

function makeEndingFaults(random: Random, ending: string, mayRead: boolean): Fault[] {
  if (ending === REFUSED_BODY) return []
  if (ending !== RIVAL_DURING_LOOKUP) return [makeFault(random, ending)]
  const rival = random.pick(['rival before, n bytes', 'rival before, same length'])
  const on = mayRead ? 'head' : 'probe'
  return [makeFault(random, 'lost by 500'), makeFault(random, rival, { on })]
}

/** Faults that the stream must survive. */
function makeBackgroundFaults(
  random: Random,
  background: Background,
  { contentMd5, mayRead }: Pick<Scenario, 'contentMd5' | 'mayRead'>,
): BackgroundFaults {
  const one = (table: Table | string, scope = {}) => makeFault(random, table, scope)
  const some = (table: Table, max: number, scope = {}, min = 0) =>
    Array.from({ length: random.integer(min, max) }, () => one(table, scope))
  const connections = contentMd5 ? { ...BAD_CONNECTIONS, ...DAMAGE } : BAD_CONNECTIONS
  const any = {
    ...TRANSIENT,
    ...LANDED_UNCONFIRMED,
    ...FALSE_409,
    ...CREDENTIALS_AND_CLOCK,
    ...connections,
  }
  const on = mayRead && chance(random, 80) ? 'head' : 'probe'
  switch (background) {
    case 'nothing':
    case 'body limit':
    case 'slow link':
      return { faults: [], lookups: [] }
    case 'sizes': {
      // What lands late, and not before a look, lets the attempts after it become shorter.
      const waiting = Array.from({ length: random.integer(0, 2) }, () => AFTER_A_LOOK)
      const names = [...waiting, random.pick(TIMEOUTS), random.pick(TIMEOUTS)]
      return { faults: [...names.map(name => one(name)), ...some(TRANSIENT, 2)], lookups: [] }
    }
    case 'unconfirmed':
      return { faults: [one(LANDED_UNCONFIRMED), ...some(LANDED_UNCONFIRMED, 2)], lookups: [] }
    case 'false 409':
      return {
        faults: [...some(TRANSIENT, 1), one(FALSE_409), ...some(LANDED_UNCONFIRMED, 1)],
        lookups: [],
      }
    case 'transient':
      return { faults: some(TRANSIENT, 5, {}, 3), lookups: [] }
    case 'connections':
      return {
        faults: [...(contentMd5 ? some(DAMAGE, 2, {}, 1) : []), ...some(connections, 3, {}, 1)],
        lookups: some(BAD_CONNECTIONS, 1, { on }),
      }
    case 'credentials':
      return {
        faults: some(CREDENTIALS_AND_CLOCK, 2, {}, 1),
        lookups: some(CREDENTIALS_AND_CLOCK, 1, { on }),
      }
    case 'reconciling':
      // The first HEAD opens the object. The faults strike the one after a 409.
      return {
        faults: [one(LANDED_UNCONFIRMED), ...some(LANDED_UNCONFIRMED, 1)],
        lookups: [
          random.pick([
            one('HEAD stale', { skip: 1 }),
            one('HEAD stale', { skip: 1, times: 2 }),
            one('HEAD forbidden', { skip: 1 }),
            one('HEAD forbidden', { times: random.pick([1, Infinity]) }),
            one({ ...TRANSIENT, ...BAD_CONNECTIONS }, { on, skip: 1 }),
            one(RIVALS, { on, skip: 1 }),
            one('rival before, n bytes', { on, skip: 1 }),
            one(
              { ...TRANSIENT, ...LANDED_UNCONFIRMED },
              { on, skip: random.integer(1, 2), times: 2 },
            ),
          ]),
        ],
      }
    case 'mixed':
      return {
        faults: some(any, 5, {}, 1),
        lookups: some({ ...TRANSIENT, ...LANDED_UNCONFIRMED }, 2, { on }),
      }
  }
}

const AFTER_A_LOOK = 'late by hang, lands after a look'

/** Each makes the next attempt shorter. */
const TIMEOUTS = [
  'lost by hang',
  'late by hang, lands before the next',
  'late by hang, lands before the next',
  AFTER_A_LOOK,
  'late by hang, lands by time',
]

/** What strikes every append that is too long for it. */
function makeSizeLimit(
  random: Random,
  { ending, background }: { readonly ending: string; readonly background: Background },
  { highWaterMark, attemptFloor }: Sizes,
): Fault[] {
  const strikes = (name: string) => makeFault(random, name, { times: Infinity })
  if (ending === REFUSED_BODY) {
    const maxBytes = random.integer(0, Math.min(attemptFloor, highWaterMark) - 1)
    return [{ ...strikes('body limit'), kind: 'tooLarge', maxBytes }]
  }
  if (background === 'body limit') {
    // Not so small that a batch takes hundreds of appends.
    const maxBytes = random.integer(Math.max(attemptFloor, highWaterMark >> 4), highWaterMark)
    return [{ ...strikes('body limit'), kind: 'tooLarge', maxBytes }]
  }
  if (background !== 'slow link') return []
  // A full attempt takes some deadlines, and one at the floor a part of one.
  const rate = Math.ceil((highWaterMark * 1000) / (SLOW_LINK_TIMEOUT * random.integer(2, 4)))
  return [{ ...strikes('slow link'), kind: 'slowRead', rate }]
}

/** Milliseconds. */
const SLOW_LINK_TIMEOUT = 100

type Sizes = Pick<Scenario, 'highWaterMark' | 'attemptFloor'>

function pickSizes(random: Random, background: Background): Sizes {
  const isShrinking = ['sizes', 'body limit', 'slow link'].includes(background)
  const highWaterMark = isShrinking
    ? random.pick([128, 400, 2_000, random.integer(100, 2_000)])
    : random.pick([16, 40, 100, 400, random.integer(16, 2_000), 2_000])
  const attemptFloor = isShrinking
    ? random.pick([highWaterMark >> 6, highWaterMark >> 5, highWaterMark >> 4])
    : random.pick([1, 10, 100, 65_536])
  // At half a batch a second attempt of the same length follows, and the first one may land.
  if (background === 'sizes' && chance(random, 40))
    return { highWaterMark, attemptFloor: highWaterMark >> 1 }
  return { highWaterMark, attemptFloor }
}

function makeSealFaults(random: Random): Fault[] {
  return Array.from({ length: random.integer(0, 2) }, () =>
    makeFault(random, { ...TRANSIENT, ...LANDED_UNCONFIRMED }, { on: 'seal' }),
  )
}

/** The object and the `position` option of a stream, with faults of the open. */
interface OpeningPlan {
  readonly lookups: readonly Fault[]
  readonly existing?: ExistingObject
  readonly position?: Scenario['position']
}

type Table = Exclude<Parameters<typeof makeFault>[1], string>

function planAbort(random: Random) {
  const fault = makeFault(
    random,
    random.pick([
      'lost by hang',
      'slow answering',
      'slow reading',
      'reset after',
      'late by hang, lands by time',
      'late by hang, lands before the next',
    ]),
  )
  const on = random.pick<Stop['on']>(['struck', 'struck', 'struck', 'ended', 'append', 'retry'])
  const stop = { ...makeStop(random), on, turns: random.integer(0, 6) }
  return { faults: [fault], stop, isPatient: on === 'struck' }
}

function planOpening(random: Random): OpeningPlan {
  const on = random.pick<'head' | 'probe'>(['head', 'probe'])
  const existing = random.pick<ExistingObject>([
    'absent',
    'empty',
    'appendable',
    'grown',
    'grown',
    'Normal',
    'sealed',
  ])
  const hasLength = existing === 'appendable' || existing === 'grown'
  const position = random.pick<Scenario['position']>(
    hasLength
      ? ['end', 'exact', 'exact, with its CRC', 'wrong', 'wrong CRC', 'zero']
      : ['end', 'end', 'zero'],
  )
  const table = { ...LANDED_UNCONFIRMED, ...WRONG_ACKNOWLEDGEMENTS, ...RIVALS, ...OBJECT_CHANGED }
  const faults = Array.from({ length: random.integer(0, 2) }, () =>
    makeFault(random, chance(random, 60) ? { ...TRANSIENT, ...BAD_CONNECTIONS } : table, {
      on,
      times: random.integer(1, 2),
    }),
  )
  const stale = chance(random, 50) ? [makeFault(random, 'HEAD stale')] : []
  return { lookups: [...faults, ...stale], existing, position }
}

function makeStop(random: Random): Stop {
  return {
    by: random.pick(['destroy', 'destroy', 'destroy with an error', 'signal']),
    on: random.pick(['start', 'ready', 'append', 'retry', 'ended', 'struck']),
    turns: random.integer(0, 20),
  }
}

/** Writes about `batches` full batches. The last append is alone if it has faults. */
function makeSteps(
  random: Random,
  mark: number,
  batches: number,
  last: readonly Fault[] | undefined,
  isLastFull: boolean,
): Step[] {
  const steps: Step[] = []
  let isCorked = false
  for (let left = batches * mark; left > 0; ) {
    const write = makeWrite(random, makeSize(random, mark), isCorked)
    left -= write.bytes.length
    steps.push(write)
    if (!chance(random, 35)) continue
    const next = makePause(random, isCorked)
    isCorked = next.do === 'cork' || (isCorked && next.do !== 'uncork')
    steps.push(next)
  }
  if (isCorked) steps.push({ do: 'uncork' })
  const isEmpty = batches === 0 && chance(random, 30)
  if (last) {
    steps.push({ do: 'flush', form: 'promise', wait: true }, { do: 'faults', faults: last })
  }
  const length = isLastFull ? mark : random.integer(1, mark)
  if (!isEmpty) steps.push(makeWrite(random, length, true))
  const isFailing = chance(random, 1)
  const how = random.pick(['end', 'end', 'end', 'close', 'destroySoon', 'dispose'] as const)
  steps.push({ do: 'end', how: isFailing ? 'source fails' : how })
  return steps
}

function makeSize(random: Random, mark: number): number {
  return random.pick([
    0,
    1,
    2,
    random.integer(1, mark),
    random.integer(1, mark),
    mark,
    mark + 1,
    mark * 3,
  ])
}

/** A write does not wait while the stream is corked, since it is not accepted then. */
function makeWrite(random: Random, length: number, isCorked: boolean): Step & { do: 'write' } {
  const wait = isCorked ? 'no' : random.pick(['no', 'no', 'accepted', 'drain'] as const)
  const isText = chance(random, 30)
  if (!isText) {
    const chunk = ownBytes(random, length)
    return { do: 'write', chunk, encoding: undefined, bytes: Buffer.from(chunk), wait }
  }
  const encoding = random.pick(['utf8', 'latin1', 'hex', 'base64', 'utf16le'] as const)
  const chunk =
    encoding === 'utf8' || encoding === 'utf16le'
      ? ownText(random, Math.ceil(length / 3))
      : ownBytes(random, length).toString(encoding)
  return { do: 'write', chunk, encoding, bytes: Buffer.from(chunk, encoding), wait }
}

function makePause(random: Random, isCorked: boolean): Step {
  const form = random.pick(['promise', 'promise', 'callback'] as const)
  if (isCorked) {
    return random.pick<Step>([
      { do: 'uncork' },
      { do: 'turns', count: 2 },
      { do: 'flush', form, wait: false },
    ])
  }
  return random.pick<Step>([
    { do: 'turns', count: random.integer(1, 8) },
    { do: 'turns', count: random.integer(1, 8) },
    { do: 'cork' },
    { do: 'flush', form, wait: false },
    { do: 'flush', form, wait: false },
    { do: 'flush', form, wait: true },
  ])
}

function ownBytes(random: Random, length: number): Buffer {
  return random.bytes(length).map(byte => byte | 0x80) as Buffer
}

/** Characters whose bytes are above 0x7f in UTF-8 and in UTF-16. */
function ownText(random: Random, length: number): string {
  const codes = Array.from(
    { length },
    () => (random.integer(0x80, 0xcf) << 8) | random.integer(0x80, 0xff),
  )
  return String.fromCharCode(...codes)
}

function chance(random: Random, percent: number): boolean {
  return random.integer(1, 100) <= percent
}
