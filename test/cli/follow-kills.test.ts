/** A followed file survives SIGKILL of the command. `follow-kills.slow.ts` has more kills. */

import t from 'tap'
import { testKills } from './follow-kills.ts'

t.test('two kills of a command that follows a file lose and double no byte', t =>
  testKills(t, 2, 3),
)
