/** Whole records: more random writes, and a killed process with each kind of options. */

import t from 'tap'
import { checkKilledWriter, checkRandomWrites } from './record-checks.ts'

t.test('random strings and bytes arrive, and every batch ends with a record', t =>
  checkRandomWrites(t, 24),
)

t.test('a process killed at any moment leaves whole records, whatever the options', t =>
  checkKilledWriter(t, [
    {},
    { flushInterval: 1 },
    { highWaterMark: 50 },
    { align: 188 },
    { align: 188, highWaterMark: 50 },
  ]),
)
