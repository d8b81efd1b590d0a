import t from 'tap'
import type { AppenderOptions } from '../../lib/append/appender.ts'
import { linesOf, openAppenderHarness, tailOf } from '../helpers/appender-harness.ts'
import { positionConflict } from '../helpers/errors.ts'

const open = (content: string, options: Partial<AppenderOptions> = {}) =>
  openAppenderHarness(content, { shared: true, ...options })

t.test('a refused append goes on at once where the object ends, with its MD5', async t => {
  const { appender, client, retries } = await open('old\n')
  const appending = appender.append(linesOf('a\n'))
  const first = await client.next()
  t.strictSame(first.asked, { kind: 'append', position: 4, text: 'a\n', headers: {} })
  first.fail(positionConflict(10))
  const second = await client.next()
  t.strictSame(second.asked, {
    kind: 'append',
    position: 10,
    text: 'a\n',
    headers: { 'content-md5': 'YLcl8QychccNl4gN/oGRsw==' },
  })
  second.reply(tailOf('old\nother\na\n'))
  t.match(await appending, { position: 10, length: 2, nextPosition: 12, attempts: 2, lostRaces: 1 })
  t.strictSame(appender.tail, tailOf('old\nother\na\n'))
  t.strictSame(retries, [])
})
