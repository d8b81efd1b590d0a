/** Several writers with one key pattern: which object follows when another writer has ended one. */

import t from 'tap'
import { recordOf, rejectionOf, tailOf } from '../helpers/appender-harness.ts'
import { networkError, positionConflict, serviceError } from '../helpers/errors.ts'
import { NOON, openRollerHarness } from '../helpers/roller-harness.ts'

const PATTERN = 'a-{index}'
const OLD = 'old\n'
const HOUR = 3_600_000
const sealed = () => serviceError('AppendSealedObjectNotAllowed', { status: 409 })

const open = (pattern = PATTERN, shared = true) => openRollerHarness(pattern, OLD, { shared })
type Harness = Awaited<ReturnType<typeof open>>

/** An append of 4 bytes behind `OLD`, in objects of at most 10 bytes. */
async function append(pattern = PATTERN, shared = true) {
  const harness = await open(pattern, shared)
  return { ...harness, appending: harness.roller.append(recordOf('new\n')) }
}

/** An attempt of unknown outcome, and the wait behind it. */
async function failOnce({ client, clock }: Harness): Promise<void> {
  ;(await client.next()).fail(networkError('ECONNRESET'))
  ;(await clock.nextTimer()).fire()
}

t.test('a lost race within the object goes on there', async t => {
  const { appending, expectRequest, rolls } = await append()
  ;(await expectRequest('append a-0 4 new\n')).fail(positionConflict(6))
  ;(await expectRequest('append a-0 6 new\n')).reply({ position: 10, crc64: '7' })
  t.match(await appending, { key: 'a-0', position: 6, lostRaces: 1 })
  t.strictSame(rolls, [])
})

t.test('a lost race fills the object: the batch goes to the next one', async t => {
  const { appending, expectRequest, rolls } = await append()
  ;(await expectRequest('append a-0 4 new\n')).fail(positionConflict(7))
  ;(await expectRequest('HEAD a-1')).reply(tailOf('x'))
  ;(await expectRequest('HEAD a-2')).reply(null)
  ;(await expectRequest('append a-1 1 new\n')).reply(tailOf('xnew\n'))
  t.match(await appending, { key: 'a-1', position: 1, length: 4 })
  t.match(rolls, [{ key: 'a-0', bytes: 4, crc64: tailOf(OLD).crc64 }])
})

t.test('another writer has filled, sealed, replaced or deleted the object', async t => {
  const refusals = [
    sealed(),
    serviceError('ObjectNotAppendable', { status: 409 }),
    positionConflict(2),
    positionConflict(0),
  ]
  for (const refusal of refusals) {
    const { appending, expectRequest, rolls } = await append()
    ;(await expectRequest('append a-0 4 new\n')).fail(refusal)
    ;(await expectRequest('HEAD a-1')).reply(null)
    ;(await expectRequest('append a-1 0 new\n')).reply(tailOf('new\n'))
    t.match(await appending, { key: 'a-1', position: 0 }, refusal.code)
    t.match(rolls, [{ key: 'a-0', bytes: 4 }])
  }
})

t.test('the next object is that of the present time', async t => {
  const harness = await open('a-{HH}-{index}')
  const appending = harness.roller.append(recordOf('new\n'))
  const request = await harness.expectRequest('append a-12-0 4 new\n')
  harness.date = new Date(NOON.getTime() + HOUR)
  request.fail(sealed())
  ;(await harness.expectRequest('HEAD a-13-0')).reply(null)
  ;(await harness.expectRequest('append a-13-0 0 new\n')).reply(tailOf('new\n'))
  t.match(await appending, { key: 'a-13-0' })
})

t.test('without another key the error stands, with a hint', async t => {
  const { appending, expectRequest } = await append('a')
  ;(await expectRequest('append a 4 new\n')).fail(sealed())
  const error = await rejectionOf(appending)
  t.match(error, { code: 'AppendSealedObjectNotAllowed', message: /put \{index\} into the key/ })
})

t.test('an object is not left while something is in doubt there', async t => {
  const unresolved = { position: 4, length: 4 }
  const replaced = await append()
  await failOnce(replaced)
  ;(await replaced.expectRequest('append a-0 4 new\n')).fail(positionConflict(2))
  t.match(await rejectionOf(replaced.appending), { code: 'OSS_ERR_OBJECT_REPLACED', unresolved })

  const hidden = await append()
  await failOnce(hidden)
  ;(await hidden.expectRequest('append a-0 4 new\n')).fail(sealed())
  ;(await hidden.expectRequest('HEAD a-0')).fail(serviceError('AccessDenied', { status: 403 }))
  ;(await hidden.expectRequest('append a-0 8 ')).fail(sealed())
  t.match(await rejectionOf(hidden.appending), {
    code: 'AppendSealedObjectNotAllowed',
    unresolved,
  })

  const full = await append()
  await failOnce(full)
  ;(await full.expectRequest('append a-0 4 new\n')).fail(positionConflict(10))
  ;(await full.client.next()).replyWithRangeOf(`${OLD}new\nxx`)
  t.match(await full.appending, { key: 'a-0', position: 4, nextPosition: 10 })
})

t.test('what is in doubt in a sealed object is settled, then the next object follows', async t => {
  const sealedTime = 'Wed, 18 Nov 2026 10:00:00 GMT'
  const landed = await append()
  await failOnce(landed)
  ;(await landed.expectRequest('append a-0 4 new\n')).fail(sealed())
  ;(await landed.expectRequest('HEAD a-0')).reply({ ...tailOf(`${OLD}new\n`), sealedTime })
  t.match(await landed.appending, { key: 'a-0', position: 4, reconciled: true })
  const next = landed.roller.append(recordOf('a\n'))
  ;(await landed.expectRequest('append a-0 8 a\n')).fail(sealed())
  ;(await landed.expectRequest('HEAD a-1')).reply(null)
  ;(await landed.expectRequest('append a-1 0 a\n')).reply(tailOf('a\n'))
  t.match(await next, { key: 'a-1' })

  const absent = await append()
  await failOnce(absent)
  ;(await absent.expectRequest('append a-0 4 new\n')).fail(sealed())
  ;(await absent.expectRequest('HEAD a-0')).reply({ ...tailOf(OLD), sealedTime })
  ;(await absent.expectRequest('HEAD a-1')).reply(null)
  ;(await absent.expectRequest('append a-1 0 new\n')).reply(tailOf('new\n'))
  t.match(await absent.appending, { key: 'a-1', position: 0 })
})

t.test(
  'two writers that find the same new index: one creates it, the other goes behind',
  async t => {
    const { roller, expectRequest } = await openRollerHarness(PATTERN, '', { shared: true })
    const appending = roller.append(recordOf('new\n'))
    ;(await expectRequest('append a-0 0 new\n')).fail(positionConflict(3))
    ;(await expectRequest('append a-0 3 new\n')).reply({ position: 7, crc64: '7' })
    t.match(await appending, { key: 'a-0', position: 3, lostRaces: 1 })
  },
)

t.test('without shared none of that happens', async t => {
  const { appending, expectRequest, client } = await append(PATTERN, false)
  ;(await expectRequest('append a-0 4 new\n')).fail(sealed())
  t.match(await rejectionOf(appending), { code: 'AppendSealedObjectNotAllowed' })
  t.equal(client.requests.length, 3)
})
