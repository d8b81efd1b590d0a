/** Benchmarks are not run here: but what they take from the built package has to be there. */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

const FOLDER = join(import.meta.dirname, '../../benchmarks')

t.test('what they import exists', async t => {
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  let count = 0
  for (const file of files.filter(name => name.endsWith('.js'))) {
    const path = join(FOLDER, file)
    const text = readFileSync(path, 'utf8')
    for (const [, names = '', from = ''] of text.matchAll(
      /^import \{([^}]*)\} from '([^']*\/dist\/[^']+)'/gm,
    )) {
      const found = Object.keys(await import(new URL(from, pathToFileURL(path)).href))
      for (const name of names.split(',').map(each => each.trim().split(' as ')[0] ?? '')) {
        if (name !== '') t.ok(found.includes(name), `${file}: ${name} of ${from}`)
        count += 1
      }
    }
  }
  t.ok(count > 5, `${count} names`)
})
