import t from 'tap'
import { testKills } from '/tmp/w-follow/test/cli/follow-kills.ts'

t.test('kills', { timeout: 300000 }, t =>
  testKills(t, Number(process.env.KILLS ?? 5), Number(process.env.SEED ?? 1)),
)
