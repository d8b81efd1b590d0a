/** An object is sealed only when the journal names the next one. */

import t from 'tap'
import { Batch } from '../../lib/append/tail.ts'
import { Roller } from '../../lib/rolling/roller.ts'
import { createRandom } from '../helpers/random.ts'
import { VirtualClock } from '../helpers/simulated-oss.ts'
import { StreamsNetwork } from '../model/journal-streams-network.ts'

t.test('before an object is sealed, the next one is told to the journal', async t => {
  const clock = new VirtualClock()
  const calls: string[] = []
  const network = new StreamsNetwork(
    { isHeadForbidden: true, faultRate: 0 },
    clock,
    createRandom(1),
    { onLanded: () => {}, count: name => calls.push(name), log: () => {} },
  )
  const objects = {
    client: network.client({ isDead: false, onExchange: () => {} }, true),
    clock,
    maxObjectBytes: 1e9,
    headers: {},
    creationHeaders: {},
    seal: false,
    highWaterMark: 1000,
    retry: { maxRetries: 9, maxElapsed: 1e9, minDelay: 1, maxDelay: 1 },
    onRetry: () => {},
    beforeAppend: async ({ key }: { key: string }) => void calls.push(key),
  }
  const roller = new Roller({
    ...{ objects, bucket: 'examplebucket', maxBytes: 4, sealOnRoll: true },
    nameKey: ({ index }) => `r${index}`,
    now: () => new Date(0),
    onRoll: () => {},
  })
  await clock.runUntilSettled(roller.open())
  for (const text of ['abc', 'def']) {
    await clock.runUntilSettled(roller.append(new Batch(Buffer.from(text))))
  }
  t.same(calls.slice(0, 3), ['r0', 'r1', 'sealed'])
})
