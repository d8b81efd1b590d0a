/** `npm run test:live` where the bucket or the credentials lack something, and where it fails. */

import t from 'tap'
import { startOss } from '../helpers/test-oss.ts'
import { liveEnv, runLive } from './run-live.ts'

t.test('test:live skips a behaviour that is not enabled', async t => {
  const permissions = ['oss:GetObject', 'oss:PutObject', 'oss:DeleteObject']
  const oss = await startOss(t, { buckets: ['livebucket'], seal: false, permissions })
  oss.server.permissions.add('oss:SealAppendObject')
  const result = await runLive(liveEnv(oss))
  t.match(result, { code: 0, stdout: /0 failed, 4 skipped, 0 not deleted\n$/ })
  t.match(result.stdout, /skipped seal: true .*: needs SealAppendObject/)
  t.match(result.stdout, /skipped sealOnRoll: true .*: needs SealAppendObject/)
  t.match(result.stdout, /skipped .* tags .*: needs the permission oss:PutObjectTagging/)
})

t.test('test:live checks credentials that may write and not read, if there are any', async t => {
  const { accessKeyId, accessKeySecret } = { accessKeyId: 'writer', accessKeySecret: 'secret' }
  const reader = { accessKeyId: 'reader', accessKeySecret: 'secret' }
  const credentials = [reader, { accessKeyId, accessKeySecret }]
  const oss = await startOss(t, { buckets: ['livebucket'], credentials })
  const { faults } = oss.server
  const take = faults.take.bind(faults)
  faults.take = (call, isProbe) => {
    const isWriter = call.headers.get('authorization')?.includes(`Credential=${accessKeyId}/`)
    if (isWriter && call.operation === 'head') return [{ kind: 'forbidden' }]
    return take(call, isProbe)
  }
  const writer = { OSS_TEST_WRITER_ID: accessKeyId, OSS_TEST_WRITER_SECRET: accessKeySecret }
  const result = await runLive({ ...liveEnv(oss), ...writer })
  t.match(result, { code: 0, stdout: /0 failed, 0 skipped, 0 not deleted\n$/ })
  t.match(result.stdout, /ok +credentials that may write and not read/)

  const able = { OSS_TEST_WRITER_ID: 'reader', OSS_TEST_WRITER_SECRET: 'secret' }
  const wrong = await runLive({ ...liveEnv(oss), ...able })
  const stdout = /FAILED +credentials that may write and not read.*\n.*must not read/
  t.match(wrong, { code: 1, stdout })
})

t.test('test:live prints a behaviour that does not hold, and fails', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  oss.server.faults.push({ kind: 'forbidden', on: 'get', times: Infinity })
  const result = await runLive(liveEnv(oss))
  t.match(result, { code: 1, stdout: /FAILED .*\n +cannot read .*: 403 AccessDenied/ })
})

t.test('test:live prints an object that it could not delete, and fails', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  // A behaviour deletes two objects.
  oss.server.faults.push({ kind: 'forbidden', on: 'delete', skip: 2 })
  const result = await runLive(liveEnv(oss))
  t.match(result, { code: 1, stdout: /0 failed, 1 skipped, 1 not deleted\n$/ })
  t.match(result.stdout, /NOT DELETED oss:\/\/livebucket\/.*: 403 AccessDenied\n/)
})

t.test('test:live reports a failed stream as the failure of its behaviour', async t => {
  const oss = await startOss(t, { buckets: ['livebucket'] })
  oss.server.faults.push({ kind: 'forbidden', on: 'append', times: Infinity })
  const result = await runLive(liveEnv(oss))
  t.match(result, { code: 1, stderr: '', stdout: /\n\d+ hold, \d+ failed, .*\n$/ })
  t.match(result.stdout, /FAILED +flush\(\)/)
})
