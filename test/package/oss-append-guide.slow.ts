/** The two tables of OSS's append guide: behaviour, and permissions. docs/options.md repeats the second. */

import { once } from 'node:events'
import t from 'tap'
import type { UrlOptions } from '../../lib/index.ts'
import { names, table } from '../helpers/readme.ts'
import { BUCKET, type Oss, startOss } from '../helpers/test-oss.ts'

/** Appends `text` to `key`. Resolves with the error of the stream, or undefined. */
async function append(oss: Oss, key: string, text: string, options: UrlOptions = {}) {
  const stream = oss.open(key, options)
  stream.end(text)
  return once(stream, 'close').then(
    () => undefined,
    error => error,
  )
}

t.test("a stream behaves as OSS's append guide says", async t => {
  const oss = await startOss(t)

  t.test('an append creates an object that is absent', async t => {
    const key = oss.newKey()
    t.equal(await append(oss, key, 'abc', { position: 0 }), undefined)
    t.match(oss.server.stat(BUCKET, key), { type: 'Appendable', length: 3 })
  })

  t.test('an append at the length of an appendable object is appended', async t => {
    const key = oss.newKey()
    oss.server.append(BUCKET, key, 'abc')
    t.equal(await append(oss, key, 'def', { position: 3 }), undefined)
    t.equal(oss.read(key).toString(), 'abcdef')
  })

  t.test('an append at another position is PositionNotEqualToLength', async t => {
    const seen = { position: 3 }
    const conflict = { name: 'OssConflictError', code: 'PositionNotEqualToLength', seen }
    // An object only grows: one that is shorter than it was is another one.
    const replaced = { name: 'OssError', code: 'OSS_ERR_OBJECT_REPLACED' }
    for (const [position, error] of [
      [0, conflict],
      [2, conflict],
      [4, replaced],
    ] as const) {
      const key = oss.newKey()
      oss.server.append(BUCKET, key, 'abc')
      const refused = { code: 'PositionNotEqualToLength', status: 409, requestId: /./ }
      t.match(await append(oss, key, 'def', { position }), {
        ...error,
        cause: { ...refused, nextPosition: 3 },
      })
      t.equal(oss.read(key).toString(), 'abc', 'nothing was appended')
    }
  })

  t.test('an append to a Normal object is ObjectNotAppendable', async t => {
    for (const position of ['end', 0, 3] as const) {
      const key = oss.newKey()
      oss.server.put(BUCKET, key, 'abc')
      t.match(await append(oss, key, 'def', { position }), {
        code: 'ObjectNotAppendable',
        status: 409,
        requestId: /./,
      })
      t.equal(oss.read(key).toString(), 'abc')
    }
  })
})

t.test("a stream needs the permissions of OSS's append guide", async t => {
  const tagging = { app: 'demo' }

  t.test('oss:PutObject is enough for a plain stream', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject'] })
    const key = oss.newKey()
    for (const text of ['abc', 'def']) t.equal(await append(oss, key, text), undefined)
    t.equal(oss.read(key).toString(), 'abcdef')
    oss.server.faults.push({ kind: 'lost', how: 'reset' })
    t.equal(
      await append(oss, key, 'ghi'),
      undefined,
      'oss:PutObject is also enough to settle a lost reply',
    )
    t.equal(oss.read(key).toString(), 'abcdefghi')
  })

  t.test('a stream without oss:PutObject gets AccessDenied', async t => {
    const oss = await startOss(t, { permissions: ['oss:GetObject'] })
    t.match(await append(oss, oss.newKey(), 'abc'), { code: 'AccessDenied', status: 403 })
  })

  t.test('a stream with tagging needs oss:PutObjectTagging', async t => {
    const without = await startOss(t, { permissions: ['oss:PutObject', 'oss:GetObject'] })
    t.match(await append(without, without.newKey(), 'abc', { tagging }), { code: 'AccessDenied' })
    const granted = await startOss(t, { permissions: ['oss:PutObject', 'oss:PutObjectTagging'] })
    t.equal(await append(granted, granted.newKey(), 'abc', { tagging }), undefined)
  })

  t.test('a stream with oss:GetObject finds the tail by one HEAD', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject', 'oss:GetObject'] })
    await append(oss, oss.newKey(), 'abc')
    t.same(
      oss.server.requests.map(({ operation }) => operation),
      ['head', 'append'],
    )
  })

  t.test('a stream with seal needs oss:SealAppendObject', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject'] })
    t.match(await append(oss, oss.newKey(), 'abc', { seal: true }), { code: 'AccessDenied' })
    const permissions = ['oss:PutObject', 'oss:SealAppendObject']
    const granted = await startOss(t, { permissions })
    t.equal(await append(granted, granted.newKey(), 'abc', { seal: true }), undefined)
  })
})

t.test('docs/options.md has every permission that a stream needs, and no other', async t => {
  // Each is tested above.
  const needed = ['PutObject', 'PutObjectTagging', 'GetObject', 'SealAppendObject']
  const listed = table('permissions').flatMap(([cell]) => names(cell))
  t.same(
    listed,
    needed.map(name => `oss:${name}`),
  )
})
