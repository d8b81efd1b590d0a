/** A followed file survives SIGKILL of the command at random moments. */

import t from 'tap'
import { testKills } from './follow-kills.ts'

t.setTimeout(600_000)

t.test('20 kills of a command that follows a file lose and double no byte', t =>
  testKills(t, 20, Math.floor(Math.random() * 2 ** 31)),
)
