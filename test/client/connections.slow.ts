/** How many connections a client opens, with every pair of headers of HEAD and POST. */

import t from 'tap'
import { testPairs } from './connection-headers.ts'

t.test('a HEAD and its appends share a connection, with each pair of headers', t => {
  return testPairs(t, 'http', 1)
})
