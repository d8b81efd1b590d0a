/** A thousand streams on one client. */

import t from 'tap'
import { checkManyStreams, keyOf } from './stream-group.ts'

t.test('a thousand streams share one client', async t => {
  await checkManyStreams(t, { streams: 1_000, rounds: 1 })
})

t.test('a thousand streams share one client through faults', async t => {
  await checkManyStreams(t, {
    streams: 1_000,
    rounds: 20,
    faults: n => {
      if (n % 5 !== 0) return []
      const scope = { key: keyOf(n), times: 2 }
      return [
        { kind: 'reset', when: 'middle', ...scope, skip: 2 },
        { kind: 'lost', how: 'reset', ...scope, skip: 5 },
        { kind: 'status', status: 503, code: 'TotalQpsLimitExceeded', ...scope, skip: 9 },
      ]
    },
  })
})
