/** The pure part of pipelining: predicted tails, what is in flight, and what a tail or a response proves. */

import t from 'tap'
import { Chain, settleChain } from '../../lib/append/chain.ts'
import type { AppendResult } from '../../lib/append/client-interface.ts'
import { batchOf, linesOf, tailOf } from '../helpers/appender-harness.ts'

/** A response that a test gives. */
class Response {
  readonly promise: Promise<AppendResult>
  reply!: (content: string) => void
  fail!: (error: Error) => void

  constructor(signal?: AbortSignal) {
    this.promise = new Promise((resolve, reject) => {
      this.reply = content => resolve({ ...tailOf(content), requestId: `of ${content}` })
      this.fail = reject
    })
    signal?.addEventListener('abort', () => this.fail(signal.reason))
  }
}

/** A chain whose object has `content`, and whose head, `head`, is in flight. */
function open(depth: number, content = 'old', head = 'head') {
  const chain = new Chain(depth)
  chain.finishHead(true)
  const batch = batchOf(head)
  chain.startHead(batch, tailOf(content), 5)
  const responses: Response[] = []
  const send = (text: string) => {
    const next = batchOf(text)
    chain.send(next, 7, (before, signal) => {
      const response = new Response(signal)
      responses.push(response)
      sentAt.push(before.position)
      return response.promise
    })
    return next
  }
  const sentAt: number[] = []
  return { chain, batch, responses, send, sentAt }
}

t.test('each batch starts at the tail that the one before it will make', async t => {
  const { chain, send, sentAt } = open(4)
  t.strictSame(chain.end, tailOf('oldhead'))
  send('one')
  t.strictSame(chain.end, tailOf('oldheadone'))
  send('two')
  t.strictSame(chain.end, tailOf('oldheadonetwo'))
  t.strictSame(sentAt, [7, 10])
  t.equal(chain.inFlight.length, 3)
})

t.test('at most `depth` appends are in flight', async t => {
  for (const depth of [2, 3, 4]) {
    const { chain, send } = open(depth)
    for (let count = 1; chain.end; count++) send(`batch ${count}`)
    t.equal(chain.inFlight.length, depth)
  }
})

t.test(
  'nothing is sent ahead before an append has succeeded, or without one in flight',
  async t => {
    const chain = new Chain(4)
    t.equal(chain.end, undefined)
    chain.startHead(batchOf('a'), tailOf('old'), 5)
    t.equal(chain.end, undefined, 'none has succeeded')
    chain.finishHead(false)
    chain.startHead(batchOf('b'), tailOf('olda'), 5)
    t.equal(chain.end, undefined, 'a tail proved it, and no response')
    chain.finishHead(true)
    t.equal(chain.end, undefined, 'none is in flight')
    chain.startHead(batchOf('c'), tailOf('oldab'), 5)
    t.strictSame(chain.end, tailOf('oldabc'))
  },
)

t.test('a batch that was sent ahead becomes the head with its result and its time', async t => {
  const { chain, send, responses } = open(2)
  const next = send('next')
  t.ok(chain.isInFlight(next))
  chain.finishHead(true)
  t.equal(chain.takeHead(batchOf('other')), undefined)
  t.equal(chain.headResult, undefined)
  t.equal(chain.takeHead(next), 7)
  responses[0]?.reply('oldheadnext')
  t.match(await chain.headResult, tailOf('oldheadnext'))
  t.same(chain.batches, [])
  t.strictSame(chain.end, tailOf('oldheadnext'))
})

t.test('after a failure of the head all are ended, and their batches are kept', async t => {
  const { chain, send, responses } = open(4)
  const batches = ['one', 'two', 'three'].map(send)
  const reason = new Error('the head failed')
  t.equal(await chain.breakUp(reason), undefined)
  for (const { promise } of responses) t.equal(await promise.catch(error => error), reason)
  t.same(chain.batches, batches)
  t.equal(chain.inFlight.length, 0)
  t.equal(chain.end, undefined)
  // An append that succeeds opens it again.
  chain.startHead(batchOf('head'), tailOf('old'), 9)
  t.equal(chain.end, undefined)
  chain.finishHead(true)
  t.equal(chain.takeHead(batches[0]!), undefined, 'it is not in flight')
  chain.startHead(batches[0]!, tailOf('oldhead'), 9)
  const [, two] = batches
  chain.send(two!, 9, (before, signal) => {
    t.strictSame(before, tailOf('oldheadone'))
    t.notOk(signal.aborted)
    return new Response().promise
  })
  t.ok(chain.isInFlight(two!))
  t.same(chain.batches, batches.slice(1), 'in order, each once')
})

t.test('the chain breaks up only when none of its requests is in flight', async t => {
  const { chain, send } = open(2)
  let finish!: (error: Error) => void
  const slow = new Promise<AppendResult>((_, reject) => {
    finish = reject
  })
  chain.send(batchOf('slow'), 7, () => slow)
  let isBroken = false
  const breaking = chain.breakUp(new Error('failed')).then(() => {
    isBroken = true
  })
  await new Promise(setImmediate)
  t.notOk(isBroken)
  finish(new Error('aborted'))
  await breaking
  t.type(send, 'function')
})

t.test('a success behind the head that failed proves all before it', async t => {
  const { chain, send, responses } = open(4)
  const [one, two, three] = ['one', 'two', 'three'].map(send)
  responses[1]?.reply('oldheadonetwo')
  const proof = await chain.breakUp(new Error('the response of the head is lost'))
  t.match(proof, { ...tailOf('oldheadonetwo'), requestId: 'of oldheadonetwo' })
  t.ok(chain.isInFlight(one!) && chain.isInFlight(two!))
  t.notOk(chain.isInFlight(three!))
  t.equal(chain.takeHead(one!), 7)
  t.match(await chain.headResult, { ...tailOf('oldheadone'), isReconciled: true })
})

t.test('a success with another CRC proves nothing: the batch is behind foreign bytes', async t => {
  const { chain, send, responses } = open(4)
  send('one')
  responses[0]?.reply('oldHEADone')
  t.equal(await chain.breakUp(new Error('409')), undefined)
})

t.test('a tail proves the batches that end there or before', async t => {
  for (const [position, proven] of [
    [7, 0],
    [10, 1],
    [12, 1],
    [13, 2],
  ] as const) {
    const { chain, send } = open(4)
    const batches = ['one', 'two', 'six'].map(send)
    await chain.breakUp(new Error('failed'))
    chain.prove(position, 'id')
    t.equal(batches.filter(batch => chain.isInFlight(batch)).length, proven, String(position))
  }
})

t.test('settleChain(): the object may end in any batch of the chain', async t => {
  const before = tailOf('old')
  const batch = linesOf('a\nb\n')
  const others = [linesOf('c\nd\n'), linesOf('e\n')]
  const landed = (length: number, content: string) => ({
    name: 'landed',
    length,
    after: tailOf(content),
  })
  const table: [content: string | null, verdict: object][] = [
    ['old', { name: 'absent' }],
    ['ol', { name: 'replaced' }],
    [null, { name: 'replaced' }],
    ['Old', { name: 'conflict' }],
    ['olda\n', landed(2, 'olda\n')],
    ['olda\nb\n', landed(4, 'olda\nb\n')],
    ['olda\nb\nc\n', landed(4, 'olda\nb\n')],
    ['olda\nb\nc\nd\n', landed(4, 'olda\nb\n')],
    ['olda\nb\nc\nd\ne\n', landed(4, 'olda\nb\n')],
    ['olda\nb', { name: 'conflict' }],
    ['olda\nb\nc', { name: 'conflict' }],
    ['oldA\nb\nc\nd\n', { name: 'conflict' }],
    ['olda\nb\nC\nd\ne\n', { name: 'conflict' }],
    ['olda\nb\nc\nd\ne\nf', { name: 'conflict' }],
  ]
  for (const [content, verdict] of table) {
    const seen = content === null ? null : tailOf(content)
    t.strictSame(settleChain(before, batch, others, seen), verdict, JSON.stringify(content))
  }
  const { position } = tailOf('olda\nb\nc\nd\n')
  t.strictSame(settleChain(before, batch, others, { position }), { name: 'conflict' }, 'no CRC')
  t.strictSame(settleChain(before, batch, [], tailOf('olda\nb\nc\nd\n')), { name: 'conflict' })
})
