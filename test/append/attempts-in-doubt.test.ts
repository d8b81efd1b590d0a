import t from 'tap'
import { AttemptsInDoubt } from '../../lib/append/attempts-in-doubt.ts'

function create(...attempts: [from: number, to: number][]): AttemptsInDoubt {
  const inDoubt = new AttemptsInDoubt()
  for (const [from, to] of attempts) inDoubt.add(from, to)
  return inDoubt
}

t.test('without an attempt nothing is unresolved', async t => {
  const inDoubt = create()
  t.ok(inDoubt.isEmpty)
  t.equal(inDoubt.unresolved(10), undefined)
  t.equal(inDoubt.unresolved(10, 12), undefined)
})

t.test('unresolved reaches to the greatest end', async t => {
  const inDoubt = create([10, 18], [10, 14], [10, 20], [10, 12])
  t.notOk(inDoubt.isEmpty)
  t.strictSame(inDoubt.unresolved(10), { position: 10, length: 10 })
})

t.test('an attempt is forgotten only when the tail is past its start', async t => {
  const inDoubt = create([10, 20], [10, 14], [14, 18])
  inDoubt.forgetBefore(10)
  t.strictSame(inDoubt.unresolved(10), { position: 10, length: 10 })
  inDoubt.forgetBefore(11)
  t.strictSame(inDoubt.unresolved(11), { position: 11, length: 7 })
  inDoubt.forgetBefore(14)
  t.strictSame(inDoubt.unresolved(14), { position: 14, length: 4 })
  inDoubt.forgetBefore(15)
  t.equal(inDoubt.unresolved(15), undefined)
  t.ok(inDoubt.isEmpty)
})

t.test('an attempt is shut out exactly if its start < seen < its end', async t => {
  const rows: [seen: number, isShutOut: boolean][] = [
    // It may still land.
    [10, false],
    [11, true],
    [13, true],
    // It may lie under or behind the bytes of others.
    [14, false],
    [15, false],
    [1000, false],
  ]
  for (const [seen, isShutOut] of rows) {
    const unresolved = isShutOut ? undefined : { position: 10, length: 4 }
    t.strictSame(create([10, 14]).unresolved(10, seen), unresolved, `${seen}`)
  }
})

t.test(
  'with attempts of several lengths nothing is unresolved only if each is shut out',
  async t => {
    const rows: [seen: number, isShutOut: boolean][] = [
      [10, false],
      [11, true],
      [12, false],
      [13, false],
      [14, false],
      [15, false],
      [20, false],
      [21, false],
    ]
    for (const [seen, isShutOut] of rows) {
      const inDoubt = create([10, 20], [10, 12], [10, 14])
      const unresolved = isShutOut ? undefined : { position: 10, length: 10 }
      t.strictSame(inDoubt.unresolved(10, seen), unresolved, `${seen}`)
    }
  },
)

t.test('an attempt without bytes leaves nothing unresolved', async t => {
  t.equal(create([0, 0]).unresolved(0), undefined)
})

t.test('attempts of one length are remembered once', async t => {
  const inDoubt = create()
  const startedAt = performance.now()
  for (let attempt = 0; attempt < 200_000; attempt++) inDoubt.add(10, 14 + (attempt % 3))
  t.ok(performance.now() - startedAt < 5000, 'retries for days do not make the list longer')
  t.strictSame(inDoubt.unresolved(10), { position: 10, length: 6 })
})
