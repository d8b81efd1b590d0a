/** Calls that wait for chunks: each is settled once, by the chunks before it and no others. */

import t from 'tap'
import { ChunkAcceptance } from '../../lib/stream/chunk-acceptance.ts'

function startWaiting() {
  const chunks = new ChunkAcceptance()
  const settled: string[] = []
  const wait = (name: string) =>
    chunks.wait(
      () => settled.push(name),
      error => settled.push(`${name}: ${error.message}`),
    )
  return { chunks, settled, wait }
}

t.test('a call is resolved with the last chunk before it, and with no earlier one', async t => {
  const { chunks, settled, wait } = startWaiting()
  wait('none before')
  t.same(settled.splice(0), ['none before'])
  chunks.onWrite()
  wait('first')
  wait('also first')
  chunks.onWrite()
  chunks.onWrite()
  wait('third')
  chunks.onAccepted()
  t.same(settled.splice(0), ['first', 'also first'])
  chunks.onAccepted()
  t.same(settled, [])
  chunks.onAccepted()
  t.same(settled.splice(0), ['third'])
  chunks.reject(new Error('late'))
  t.same(settled, [], 'each once')
})

t.test('a chunk that Node refuses is waited for by no call', async t => {
  const { chunks, settled, wait } = startWaiting()
  chunks.onWrite()
  chunks.onWrite()
  chunks.onRefused()
  wait('first')
  chunks.onAccepted()
  t.same(settled, ['first'])
  t.ok(chunks.isComplete)
})

t.test('calls that wait are rejected in order, once', async t => {
  const { chunks, settled, wait } = startWaiting()
  chunks.onWrite()
  wait('first')
  chunks.onWrite()
  wait('second')
  chunks.reject(new Error('closed'))
  t.same(settled.splice(0), ['first: closed', 'second: closed'])
  chunks.onAccepted()
  chunks.reject(new Error('again'))
  t.same(settled, [])
})
