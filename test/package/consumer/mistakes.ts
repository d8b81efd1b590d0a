/**
 * Programs that must not compile, one a statement. Every supported TypeScript answers each with a single
 * error of at most two lines, so that a reader sees the mistake.
 */

import {
  createAppendStream,
  createRollingAppendStream,
  OssAppendStream,
  RollingAppendStream,
} from 'oss-append-stream'

createAppendStream({ region: 'cn-hangzhou' })
createAppendStream({ bucket: 'examplebucket' })
createAppendStream({ key: 'a.log' })
createAppendStream({ bucket: process.env.BUCKET, key: 'a.log' })
createAppendStream('oss://examplebucket/a.log', { bucket: 'examplebucket' })
createAppendStream('oss://examplebucket/a.log', { region: 'cn-hangzhou', key: 'a.log' })
createAppendStream({ bucket: 'examplebucket', key: 'a.log', highWatermark: 1 })
createAppendStream({ bucket: 'examplebucket', key: 'a.log', stsToken: 'token' })
new OssAppendStream({ region: 'cn-hangzhou' })
new OssAppendStream('oss://examplebucket/a.log', { key: 'a.log' })
createRollingAppendStream({ key: '{yyyy}.log' })
createRollingAppendStream({ bucket: 'examplebucket' })
createRollingAppendStream({ bucket: 'examplebucket', key: '{yyyy}.log', position: 0 })
new RollingAppendStream({ key: '{yyyy}.log' })
