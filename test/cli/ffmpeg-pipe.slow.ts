/** The command behind ffmpeg: one short recording. Outages and other containers are in ffmpeg.slow.ts. */

import { join } from 'node:path'
import t from 'tap'
import { skip } from '../helpers/ffmpeg.ts'
import { runShell } from '../helpers/run-cli.ts'
import { countFrames, ffmpegInput, RATE } from './ffmpeg-recording.ts'

t.test('a recording is piped into an object and read back', { skip }, async t => {
  const dir = t.testdir({})
  const env = { LAB: join(dir, 'lab'), COPY: join(dir, 'copy.ts') }
  const record = `ffmpeg -v error -nostdin ${ffmpegInput(1)} -f mpegts -`
  const recorded = await runShell(`${record} | oss_append --local "$LAB" oss://lab/gate.ts`, env)
  t.match(recorded, { code: 0, stdout: /\nverified\n$/, stderr: '' })
  const copied = await runShell('oss_append cat --local "$LAB" oss://lab/gate.ts > "$COPY"', env)
  t.match(copied, { code: 0, stderr: '' })
  t.match(await countFrames(env.COPY), { video: RATE })
})
