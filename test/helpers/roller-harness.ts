/** A Roller with a fake client, a fake clock and a wall clock that tests set. */

import type { RetryInfo } from '../../lib/append/retry-loop.ts'
import { compileKeyPattern } from '../../lib/rolling/key-pattern.ts'
import {
  type ObjectOptions,
  Roller,
  type RollerOptions,
  type RollInfo,
} from '../../lib/rolling/roller.ts'
import { RETRY, tailOf } from './appender-harness.ts'
import { FakeClient, type FakeRequest } from './fake-client.ts'
import { FakeClock } from './fake-clock.ts'

export const NOON = new Date('2026-11-23T12:00:00Z')

export interface RollerHarness {
  readonly roller: Roller
  readonly client: FakeClient
  readonly clock: FakeClock
  readonly retries: RetryInfo[]
  readonly rolls: RollInfo[]
  /** The wall clock; a test may set it. */
  date: Date
  /** The next request, which has to be this one: `HEAD a-0`, `append a-0 3 text`, `seal a-0 3`. */
  expectRequest(what: string): Promise<FakeRequest>
}

/** A request in short: `HEAD a-0`, `append a-0 3 text`, `seal a-0 3`. */
export function describeRequest({ kind, target, position, body }: FakeRequest): string {
  const text = body && Buffer.from(body).toString('latin1')
  const words = [kind === 'head' ? 'HEAD' : kind, target.key, position, text]
  return words.filter(word => word !== undefined).join(' ')
}

export function createRollerHarness(
  pattern: string,
  options: Partial<RollerOptions & ObjectOptions> = {},
): RollerHarness {
  const client = new FakeClient()
  const harness = {
    client,
    clock: new FakeClock(),
    retries: [] as RetryInfo[],
    rolls: [] as RollInfo[],
    date: NOON,
    expectRequest: async (what: string) => {
      const request = await client.next()
      if (describeRequest(request) !== what)
        throw new Error(`${what} expected, not ${describeRequest(request)}`)
      return request
    },
  }
  const objects: ObjectOptions = {
    client,
    clock: harness.clock,
    maxObjectBytes: 1000,
    highWaterMark: 1_000_000,
    retry: RETRY,
    headers: {},
    creationHeaders: {},
    seal: false,
    onRetry: info => harness.retries.push(info),
    ...options,
  }
  const roller = new Roller({
    objects,
    bucket: 'examplebucket',
    nameKey: compileKeyPattern(pattern, 'UTC', { host: 'a', pid: 1 }),
    maxBytes: 10,
    sealOnRoll: false,
    now: () => harness.date,
    onRoll: info => harness.rolls.push(info),
    ...options,
  })
  return Object.assign(harness, { roller })
}

/** An opened Roller whose object of index 0 has this content. The test replies to further requests. */
export async function openRollerHarness(
  pattern: string,
  content: string,
  options: Partial<RollerOptions & ObjectOptions> = {},
): Promise<RollerHarness> {
  const harness = createRollerHarness(pattern, options)
  const opening = harness.roller.open()
  const first = await harness.client.next()
  first.reply(content === '' ? null : tailOf(content))
  if (content !== '' && pattern.includes('{index}')) (await harness.client.next()).reply(null)
  await opening
  return harness
}
