/**
 * The models that `npm run test:seeds` runs, and the features that their seeds meet. A seed meets a feature if the
 * feature had an effect in it: a late request that landed, attempts that really differ.
 */

import type { Align } from '../../lib/options.ts'
import { runStreams } from './journal-streams-world.ts'
import { runSeed as runJournal } from './journal-world.ts'
import { runLoggers } from './logger-world.ts'
import { depthOf } from './pipelined-seeds.ts'
import { runRecords } from './run-records.ts'
import { type Report, runSeed as runBytes } from './run-seed.ts'
import { runShared } from './run-shared.ts'

export const FEATURES = [
  'lost response',
  'late request',
  'attempts that differ',
  'shared writers',
  'rolling',
  'align: line',
  'align: chunk',
  'align: length',
  'journal',
  'kill',
  'power loss',
  'pipelining',
  'logger',
] as const

export type Feature = (typeof FEATURES)[number]

export interface SeedResult {
  /** What went wrong; undefined: nothing. */
  readonly problem: string | undefined
  readonly features: ReadonlySet<Feature>
}

export interface Model {
  /** Of 1000 seeds, those of this model. */
  readonly share: number
  /** Seeds that run and are kept together: some seconds. */
  readonly chunk: number
  /** The command for one seed, without its number. */
  readonly repeat: string
  readonly features: readonly Feature[]
  readonly run: (seed: number) => Promise<SeedResult>
}

const ALIGNS = ['align: line', 'align: chunk', 'align: length'] as const
const UNRELIABLE = ['lost response', 'late request'] as const
const NODE = 'node --import=./test/helpers/typescript.js test/model'

/** Seeds that are cheap have most of the number. */
export const MODELS: Readonly<Record<string, Model>> = {
  bytes: {
    share: 60,
    chunk: 250,
    repeat: 'npm run test:model -- --seeds 1 --from',
    features: [...UNRELIABLE, 'attempts that differ'],
    run: async seed => resultOfBytes(await runBytes(seed), []),
  },
  pipelined: {
    share: 40,
    chunk: 250,
    repeat: 'npm run test:pipelining --',
    features: [...UNRELIABLE, 'attempts that differ', 'pipelining'],
    run: async seed => resultOfBytes(await runBytes(seed, depthOf(seed)), ['pipelining']),
  },
  records: {
    share: 5,
    chunk: 20,
    repeat: 'npm run test:model -- --seeds 1 --from',
    features: [...UNRELIABLE, 'rolling', ...ALIGNS],
    run: async seed => {
      const { complaints, fired, rolls, align } = await runRecords(seed)
      return resultOf(complaints, [
        ...featuresOfFaults(fired),
        rolls > 0 && 'rolling',
        alignFeature(align),
      ])
    },
  },
  shared: {
    share: 350,
    chunk: 500,
    repeat: 'npm run test:shared -- --seeds 1 --from',
    features: [...UNRELIABLE, 'attempts that differ', 'shared writers', 'rolling', ...ALIGNS],
    run: async seed => {
      const { complaints, counts, align } = await runShared(seed)
      const features = featuresOfCounts(counts)
      return resultOf(complaints, [...features, 'shared writers', alignFeature(align)])
    },
  },
  journal: {
    share: 220,
    chunk: 1000,
    repeat: `${NODE}/journal-main.ts --seeds 1 --from`,
    features: ['late request', ...ALIGNS, 'journal', 'kill', 'power loss'],
    run: async seed => {
      const { problem, counts, align } = await runJournal(seed)
      return resultOf(problem, [...featuresOfCounts(counts), 'journal', alignFeature(align)])
    },
  },
  'journal streams': {
    share: 225,
    chunk: 250,
    repeat: `${NODE}/journal-streams-main.ts --seeds 1 --from`,
    features: [
      ...UNRELIABLE,
      'attempts that differ',
      'rolling',
      ...ALIGNS,
      'journal',
      'kill',
      'power loss',
    ],
    run: async seed => {
      const { problem, counts, align } = await runStreams(seed)
      return resultOf(problem, [...featuresOfCounts(counts), 'journal', alignFeature(align)])
    },
  },
  loggers: {
    share: 100,
    chunk: 500,
    repeat: `${NODE}/logger-main.ts --seeds 1 --from`,
    features: [
      ...UNRELIABLE,
      'attempts that differ',
      'shared writers',
      'rolling',
      'align: chunk',
      'logger',
    ],
    run: async seed => {
      const { complaints, counts, isShared } = await runLoggers(seed)
      const features = featuresOfCounts(counts)
      return resultOf(complaints, [
        ...features,
        'align: chunk',
        'logger',
        isShared && 'shared writers',
      ])
    },
  },
}

/** Counts of the simulated models that stand for a feature. */
const COUNTED: Readonly<Record<string, Feature>> = {
  'response lost': 'lost response',
  'landed late': 'late request',
  'a late request landed': 'late request',
  'two lengths at one position': 'attempts that differ',
  'rolled by index': 'rolling',
  'rolled by date': 'rolling',
  rolled: 'rolling',
  killed: 'kill',
  'power lost': 'power loss',
}

/** Features that no seed can have together. */
export function canCombine(a: Feature, b: Feature): boolean {
  const has = (...features: Feature[]) => features.includes(a) || features.includes(b)
  // A stream has one `align`, and that of a logger is 'chunk'.
  if (a.startsWith('align') && b.startsWith('align')) return a === b
  const hasBoth = (x: Feature, y: Feature) => has(x) && has(y)
  if (hasBoth('logger', 'align: line') || hasBoth('logger', 'align: length')) return false
  // The pipelined stream of the model has one object and no `align`. `shared` and `journal` exclude it.
  if (has('pipelining')) return a === b || has(...UNRELIABLE, 'attempts that differ')
  // `shared` excludes `journal`. The model of loggers has none: test/loggers kills loggers that have one.
  return !(has('shared writers', 'logger') && has('journal', 'kill', 'power loss'))
}

/** The pairs of features that seeds must meet, each feature alone included. */
export const REQUIRED_PAIRS: readonly (readonly [Feature, Feature])[] = FEATURES.flatMap((a, i) =>
  FEATURES.slice(i)
    .filter(b => canCombine(a, b))
    .map(b => [a, b] as const),
)

export function pairName(a: Feature, b: Feature): string {
  return a === b ? a : `${a} + ${b}`
}

function resultOf(
  problems: readonly string[] | string | undefined,
  features: readonly (Feature | false)[],
): SeedResult {
  const problem = typeof problems === 'object' ? problems[0] : problems
  return { problem, features: new Set(features.filter(each => each !== false)) }
}

function resultOfBytes(
  { complaints, fired, attemptLengths }: Report,
  features: readonly Feature[],
): SeedResult {
  const isDifferent = attemptLengths.two + attemptLengths.more > 0 && 'attempts that differ'
  return resultOf(complaints, [...features, ...featuresOfFaults(fired), isDifferent])
}

function alignFeature(align: Align): Feature {
  if (align === '\n') return 'align: line'
  return align === 'chunk' ? 'align: chunk' : 'align: length'
}

function featuresOfCounts(counts: Readonly<Record<string, number>>): Feature[] {
  return Object.entries(COUNTED).flatMap(([name, feature]) => (counts[name] ? [feature] : []))
}

/** `fired` counts faults of the test server by name. */
function featuresOfFaults(fired: Readonly<Record<string, number>>): (Feature | false)[] {
  const hasFault = (prefix: string) => Object.keys(fired).some(name => name.startsWith(prefix))
  return [hasFault('lost') && 'lost response', hasFault('late') && 'late request']
}
