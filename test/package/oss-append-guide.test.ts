/** The two tables of OSS's append guide: behaviour, and permissions. README repeats the second. */

import { once } from 'node:events'
import t from 'tap'
import type { UrlOptions } from '../../lib/index.ts'
import { BUCKET, type Oss, startOss } from '../helpers/test-oss.ts'

/** Appends `text` to `key`; the error it ends with, or undefined. */
async function append(oss: Oss, key: string, text: string, options: UrlOptions = {}) {
  const stream = oss.open(key, options)
  stream.end(text)
  return once(stream, 'close').then(
    () => undefined,
    error => error,
  )
}

t.test('behaviour', async t => {
  const oss = await startOss(t)

  t.test('object absent: created', async t => {
    const key = oss.newKey()
    t.equal(await append(oss, key, 'abc', { position: 0 }), undefined)
    t.match(oss.server.stat(BUCKET, key), { type: 'Appendable', length: 3 })
  })

  t.test('appendable, and the position is its length: appended', async t => {
    const key = oss.newKey()
    oss.server.append(BUCKET, key, 'abc')
    t.equal(await append(oss, key, 'def', { position: 3 }), undefined)
    t.equal(oss.read(key).toString(), 'abcdef')
  })

  t.test('appendable, and any other position: PositionNotEqualToLength', async t => {
    for (const position of [0, 2, 4]) {
      const key = oss.newKey()
      oss.server.append(BUCKET, key, 'abc')
      t.match(await append(oss, key, 'def', { position }), {
        name: 'OssConflictError',
        code: 'PositionNotEqualToLength',
        seen: { position: 3 },
        cause: { status: 409, requestId: /./, nextPosition: 3 },
      })
      t.equal(oss.read(key).toString(), 'abc', 'nothing was appended')
    }
  })

  t.test('Normal object: ObjectNotAppendable', async t => {
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

t.test('permissions', async t => {
  const tagging = { app: 'demo' }

  t.test('oss:PutObject alone is enough', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject'] })
    const key = oss.newKey()
    for (const text of ['abc', 'def']) t.equal(await append(oss, key, text), undefined)
    t.equal(oss.read(key).toString(), 'abcdef')
    oss.server.faults.push({ kind: 'lost', how: 'reset' })
    t.equal(await append(oss, key, 'ghi'), undefined, 'also to settle a lost reply')
    t.equal(oss.read(key).toString(), 'abcdefghi')
  })

  t.test('without it: AccessDenied', async t => {
    const oss = await startOss(t, { permissions: ['oss:GetObject'] })
    t.match(await append(oss, oss.newKey(), 'abc'), { code: 'AccessDenied', status: 403 })
  })

  t.test('oss:PutObjectTagging with tagging', async t => {
    const without = await startOss(t, { permissions: ['oss:PutObject', 'oss:GetObject'] })
    t.match(await append(without, without.newKey(), 'abc', { tagging }), { code: 'AccessDenied' })
    const granted = await startOss(t, { permissions: ['oss:PutObject', 'oss:PutObjectTagging'] })
    t.equal(await append(granted, granted.newKey(), 'abc', { tagging }), undefined)
  })

  t.test('oss:GetObject saves the probing: one HEAD', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject', 'oss:GetObject'] })
    await append(oss, oss.newKey(), 'abc')
    t.same(
      oss.server.requests.map(({ operation }) => operation),
      ['head', 'append'],
    )
  })

  t.test('oss:SealAppendObject with seal', async t => {
    const oss = await startOss(t, { permissions: ['oss:PutObject'] })
    t.match(await append(oss, oss.newKey(), 'abc', { seal: true }), { code: 'AccessDenied' })
  })
})
