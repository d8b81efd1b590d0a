/** The search for the object to continue with: which requests it sends, and what it finds. */

import t from 'tap'
import type { Client, Head } from '../../lib/append/client-interface.ts'
import { StreamContext } from '../../lib/append/stream-context.ts'
import { ObjectFinder, type ObjectFinderOptions } from '../../lib/rolling/find-object.ts'
import { RETRY, rejectionOf, tailOf } from '../helpers/appender-harness.ts'
import { positionConflict, REQUEST_ID, serviceError } from '../helpers/errors.ts'
import { FakeClock } from '../helpers/fake-clock.ts'

const keyOf = (index: number) => `a-${index}`
const SEALED = { sealedTime: 'Wed, 07 Jan 2026 02:00:00 GMT' }

type Objects = ReadonlyMap<string, Partial<Head>>

/** A finder over these objects, and the keys that it asks for. */
function createFinder(objects: Objects, options: Partial<ObjectFinderOptions> = {}) {
  const asked: string[] = []
  const client: Client = {
    async head({ key }) {
      asked.push(key)
      const head = objects.get(key)
      if (!head) return null
      const length = head.position ?? 0
      return { type: 'Appendable', length, crc64: '1', requestId: REQUEST_ID, ...head } as Head
    },
    append: () => Promise.reject(new Error('nothing is appended')),
    close: async () => {},
  }
  const context = createContext()
  const finder = new ObjectFinder(
    { bucket: 'b', client, headers: {}, maxBytes: 10, ...options },
    context,
  )
  return { finder, asked }
}

/** Objects of these indices, each with 5 bytes. */
function objectsAt(...indices: number[]): Map<string, Partial<Head>> {
  return new Map(indices.map(index => [keyOf(index), { position: 5 }]))
}

const createContext = () =>
  new StreamContext({ clock: new FakeClock(), retry: RETRY, highWaterMark: 1, onRetry: () => {} })

const range = (length: number) => Array.from({ length }, (_, i) => i)

t.test('the last object that exists is found; if none exists, index 0', async t => {
  for (let count = 0; count <= 70; count++) {
    const { finder, asked } = createFinder(objectsAt(...range(count)))
    const { index, key, exists } = await finder.find(keyOf, 0)
    t.equal(index, Math.max(0, count - 1), `${count} objects`)
    t.equal(key, keyOf(index))
    t.equal(exists, count > 0)
    t.equal(new Set(asked).size, asked.length, 'none is asked for twice')
  }
})

t.test('a search gallops, then halves', async t => {
  const { finder, asked } = createFinder(objectsAt(...range(6)))
  t.match(await finder.find(keyOf, 0), { index: 5, tail: { position: 5, crc64: '1' } })
  t.strictSame(asked, [0, 1, 2, 4, 8, 6, 5].map(keyOf))

  const many = createFinder(objectsAt(...range(5000)))
  t.match(await many.finder.find(keyOf, 0), { index: 4999 })
  t.ok(many.asked.length <= 28, `${many.asked.length} questions for 5,000 objects`)
})

t.test('a search begins at the given index', async t => {
  const { finder, asked } = createFinder(objectsAt(...range(9)))
  t.match(await finder.find(keyOf, 7), { index: 8, exists: true })
  t.strictSame(asked, [7, 8, 9].map(keyOf))
  const next = createFinder(objectsAt(...range(9)))
  t.match(await next.finder.find(keyOf, 9), { index: 9, exists: false })
  t.strictSame(next.asked, [keyOf(9)], 'the usual case: one question')
})

t.test('if the last object is full or takes no appends, the one after it is found', async t => {
  const last: [string, Partial<Head>, number][] = [
    ['full', { position: 10 }, 4],
    ['overfull', { position: 11 }, 4],
    ['almost full', { position: 9 }, 3],
    ['sealed', { position: 5, ...SEALED }, 4],
    ['Normal', { type: 'Normal', position: 5 }, 4],
    ['empty', { position: 0, crc64: '0' }, 3],
  ]
  for (const [what, head, index] of last) {
    const { finder, asked } = createFinder(objectsAt(0, 1, 2).set(keyOf(3), head))
    const found = await finder.find(keyOf, 0)
    t.equal(found.index, index, what)
    t.equal(found.exists, index === 3)
    t.strictSame(asked, [0, 1, 2, 4, 3].map(keyOf), 'without another question')
  }
})

t.test('objects before the last one may be full, sealed or of another type', async t => {
  const objects = objectsAt(0, 1, 2, 3)
  objects.set(keyOf(0), { type: 'Normal', position: 3 })
  objects.set(keyOf(1), { position: 10 })
  objects.set(keyOf(2), { position: 4, ...SEALED })
  t.match(await createFinder(objects).finder.find(keyOf, 0), { index: 3, exists: true })
})

t.test('if indices are missing, the end of some run is found', async t => {
  t.match(await createFinder(objectsAt(50, 51, 52)).finder.find(keyOf, 0), {
    index: 0,
    exists: false,
  })
  t.match(await createFinder(objectsAt(0, 1, 3)).finder.find(keyOf, 0), { index: 1 })
  t.match(await createFinder(objectsAt(0, 1, 2, 4)).finder.find(keyOf, 0), { index: 4 })
})

t.test('a key without {index} has one object, which must take appends', async t => {
  const only = () => 'a'
  t.match(await createFinder(new Map()).finder.find(only, 0), { key: 'a', exists: false })
  const open = createFinder(new Map([['a', { position: 5 }]]))
  t.match(await open.finder.find(only, 0), { key: 'a', index: 0, exists: true })
  t.strictSame(open.asked, ['a'])

  const full = createFinder(new Map([['a', { position: 10 }]]))
  t.match(await full.finder.find(only, 0), { key: 'a', tail: { position: 10 } }, 'for now')

  const closed: [Partial<Head>, object][] = [
    [
      { position: 5, ...SEALED },
      { code: 'AppendSealedObjectNotAllowed', requestId: REQUEST_ID },
    ],
    [
      { type: 'Normal', position: 5 },
      { code: 'ObjectNotAppendable', requestId: REQUEST_ID },
    ],
  ]
  for (const [head, expected] of closed) {
    const error = await rejectionOf(createFinder(new Map([['a', head]])).finder.find(only, 0))
    t.match(error, { bucket: 'b', key: 'a', message: /put \{index\} into the key/, ...expected })
  }
})

t.test('a search ends if the key ignores high indices', async t => {
  const two = createFinder(objectsAt(0, 1))
  const error = await rejectionOf(two.finder.find(index => keyOf(index % 2), 0))
  t.match(error, {
    code: 'OSS_ERR_INVALID_OPTION',
    message: /^option key: must differ for each index/,
  })
})

t.test('a final error of one object is final for the search', async t => {
  const context = createContext()
  const client: Client = {
    head: async ({ key }) => {
      throw serviceError(key === keyOf(0) ? 'InvalidBucketName' : 'never', { status: 400 })
    },
    append: () => Promise.reject(new Error('nothing is appended')),
    close: async () => {},
  }
  const finder = new ObjectFinder({ bucket: 'b', client, headers: {}, maxBytes: 10 }, context)
  const error = await rejectionOf(finder.find(keyOf, 0))
  t.match(error, { code: 'InvalidBucketName', bucket: 'b', key: keyOf(0), attempts: 1 })
})

t.test('without the permission to read, a search appends 0 bytes', async t => {
  const contents = ['full of it!', 'sealed', 'some']
  const asked: string[] = []
  const client: Client = {
    head: async ({ key }) => {
      asked.push(`HEAD ${key}`)
      throw serviceError('AccessDenied', { status: 403 })
    },
    append: async ({ key }, { position, headers }) => {
      asked.push(`append ${key} ${position} ${headers['x-oss-request-payer']}`)
      const content = contents[Number(key.slice(2))] ?? ''
      if (content === 'sealed') throw serviceError('AppendSealedObjectNotAllowed', { status: 409 })
      if (position !== content.length) throw positionConflict(content.length)
      return { ...tailOf(content), requestId: REQUEST_ID }
    },
    close: async () => {},
  }
  const context = createContext()
  const headers = { 'x-oss-request-payer': 'requester' }
  const finder = new ObjectFinder({ bucket: 'b', client, headers, maxBytes: 10 }, context)
  t.match(await finder.find(keyOf, 0), { index: 2, exists: true, tail: tailOf('some') })
  t.strictSame(asked.slice(0, 3), ['HEAD a-0', 'append a-0 1 requester', 'append a-0 11 requester'])
  t.match(await finder.find(keyOf, 3), { index: 3, exists: false, tail: tailOf('') })
})
