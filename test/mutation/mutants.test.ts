/** The deliberate faults still fit the code. Whether tests see them is `npm run test:mutants`. */

import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { MUTANTS, mutate } from './mutants.ts'

const at = (path: string) => new URL(`../../${path}`, import.meta.url)

t.test('each mutant has its place, and tests', async t => {
  t.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, 'no name is used twice')
  for (const mutant of MUTANTS) {
    const { name, file, tests } = mutant
    const text = readFileSync(at(file), 'utf8')
    t.doesNotThrow(() => t.not(mutate(mutant, text), text), name)
    t.ok(tests.length > 0 && tests.every(test => existsSync(at(`test/${test}.test.ts`))), name)
  }
})

t.test('none or two places are no place', async t => {
  const mutant = { name: 'a', file: 'b', find: 'x', replace: 'y', tests: ['c'] }
  t.equal(mutate(mutant, 'axb'), 'ayb')
  for (const text of ['ab', 'axbx']) t.throws(() => mutate(mutant, text), /exactly once/)
})
