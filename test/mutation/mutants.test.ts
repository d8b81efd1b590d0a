/** The deliberate faults fit the code. `npm run test:mutants` checks that tests fail because of them. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { MUTANTS, mutate, testFiles } from './mutants.ts'

t.test('each mutant changes its file and names existing tests', async t => {
  t.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, 'the names are unique')
  for (const mutant of MUTANTS) {
    const { name, file, tests } = mutant
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
    t.doesNotThrow(() => t.not(mutate(mutant, text), text), name)
    t.ok(tests.length > 0, `${name}: there are tests`)
    const missing = tests.filter(test => testFiles(test).length === 0)
    t.same(missing, [], `${name}: the tests exist`)
  }
})

t.test(
  'each mutant leaves no unknown private name, a syntax error that any test would notice',
  async t => {
    for (const mutant of MUTANTS) {
      const text = readFileSync(new URL(`../../${mutant.file}`, import.meta.url), 'utf8')
      const known = privateNames(text)
      const added = [...privateNames(mutate(mutant, text))].filter(name => !known.has(name))
      t.same(added, [], mutant.name)
    }
  },
)

function privateNames(text: string): Set<string> {
  return new Set(text.match(/(?<=\.)#\w+/g))
}

t.test('mutate() throws unless the text occurs exactly once', async t => {
  const mutant = { name: 'a', file: 'b', find: 'x', replace: 'y', tests: ['c'] }
  t.equal(mutate(mutant, 'axb'), 'ayb')
  for (const text of ['ab', 'axbx']) t.throws(() => mutate(mutant, text), /exactly once/)
})

t.test('testFiles() finds the quick and the slow file of a test', async t => {
  const [quick, slow] = ['test/model/model.test.ts', 'test/model/model.slow.ts']
  t.same(testFiles('model/model'), [quick, slow])
  t.same(testFiles('model/model.slow'), [slow])
  t.same(testFiles('append/tail'), ['test/append/tail.test.ts'])
  t.same(testFiles('model/absent'), [])
})
