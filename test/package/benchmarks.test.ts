/** The benchmarks are not run here. The tests check what they import from the built package. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

const FOLDER = join(import.meta.dirname, '../../benchmarks')

t.test('the built package exports what the benchmarks import', async t => {
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  let count = 0
  for (const file of files.filter(name => name.endsWith('.js') && !name.includes('node_modules'))) {
    const path = join(FOLDER, file)
    const text = readFileSync(path, 'utf8')
    for (const [, names = '', from = ''] of text.matchAll(
      /^import \{([^}]*)\} from '([^']*\/dist\/[^']+)'/gm,
    )) {
      const exported = Object.keys(await import(new URL(from, pathToFileURL(path)).href))
      for (const name of names.split(',').map(each => each.trim().split(' as ')[0] ?? '')) {
        if (name !== '') t.ok(exported.includes(name), `${file}: ${name} of ${from}`)
        count += 1
      }
    }
  }
  t.ok(count > 5, `${count} names`)
})
