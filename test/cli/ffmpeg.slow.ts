/** The command behind ffmpeg: an outage during a recording, and the containers that docs/recipes.md names. */

import type { ChildProcess, StdioOptions } from 'node:child_process'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { cleanEnv, spawnClean } from '../helpers/child-process.ts'
import { skip } from '../helpers/ffmpeg.ts'
import { page } from '../helpers/readme.ts'
import { CLI, runCli, runShell, startProcess, waitFor, waitForExit } from '../helpers/run-cli.ts'
import { sha256 } from './check-report.ts'
import { countFrames, ffmpegInput, RATE } from './ffmpeg-recording.ts'

const OBJECT = 'oss://examplebucket/cam/gate.ts'
const SECONDS = 20

t.test('a recording survives an outage of OSS, while cat --follow reads it', { skip }, async t => {
  const dir = t.testdir({})
  const service = await startServeProcess(t, join(dir, 'objects'), '0')
  const { env } = service
  const { port } = new URL(env.OSS_ENDPOINT ?? '')

  const copy = openSync(join(dir, 'copy.ts'), 'w')
  t.teardown(() => closeSync(copy))
  const stdio = ['ignore', copy, 'pipe'] satisfies StdioOptions
  const readAlong = startProcess(['cat', '--follow', '--interval', '200ms', OBJECT], { env, stdio })
  t.teardown(() => readAlong.kill('SIGKILL'))
  const reading = waitForExit(readAlong)

  const line =
    `set -o pipefail; ffmpeg -v error -nostdin ${ffmpegInput(SECONDS, '-re')} -f mpegts - ` +
    '| tee "$DIR/own.ts" | "$NODE" "$CLI" --align 188 --flush-interval 200ms --max-delay 1s --seal "$OBJECT"'
  const names = { DIR: dir, NODE: process.execPath, CLI, OBJECT }
  const fullEnv = cleanEnv({ ...env, ...names })
  const recording = spawnClean(['bash', '-c', line], fullEnv, ['ignore', 'pipe', 'pipe'])
  t.teardown(() => recording.kill('SIGKILL'))
  const outcome = waitForExit(recording)

  await waitFor(() => fstatSync(copy).size > 0)
  await delay(6000)
  const before = fstatSync(copy).size
  service.child.kill('SIGKILL')
  await delay(5000)
  await startServeProcess(t, join(dir, 'objects'), port)

  const { code, stdout, stderr } = await outcome
  t.equal(code, 0, stderr)
  t.match(stdout, /\nverified\n$/)
  const [, outage] =
    /^oss-append: trying again: .*\noss-append: going on after ([\d.]+) s/.exec(stderr) ?? []
  t.ok(outage, stderr)
  const seen = await reading
  t.equal(seen.code, 0, 'cat ends when the object is sealed')
  t.match(seen.stderr, /trying again: .*\n.*going on after/)

  const own = readFileSync(join(dir, 'own.ts'))
  const read = readFileSync(join(dir, 'copy.ts'))
  t.ok(before > 0 && before < own.length / 2, 'cat has printed bytes before the outage')
  t.equal(sha256(read), sha256(own))
  t.match(stdout, `  source    ${sha256(own)}`)
  const verified = await runCli(['verify', join(dir, 'own.ts'), OBJECT], { env })
  t.match(verified, { code: 0, stdout: /\nverified\n$/ })
  const frames = await countFrames(join(dir, 'copy.ts'))
  t.equal(frames.video, SECONDS * RATE, 'every picture is there')
  t.ok(frames.audio && frames.audio >= SECONDS * 40, `audio frames: ${frames.audio}`)
  t.same(frames, await countFrames(join(dir, 'own.ts')))
})

t.test('MPEG-TS, fragmented MP4 and Matroska can be piped, plain MP4 cannot', { skip }, async t => {
  const dir = t.testdir({})
  const options: [string, string][] = [
    ['ts', '-f mpegts'],
    ['mp4', '-f mp4 -movflags frag_keyframe+empty_moov+default_base_moof'],
    ['mkv', '-f matroska'],
  ]
  const env = { LAB: join(dir, 'lab') }
  for (const [name, format] of options) {
    const object = `oss://lab/gate.${name}`
    const record = `ffmpeg -v error -nostdin ${ffmpegInput(2)} ${format} -`
    const recorded = await runShell(`${record} | oss_append --local "$LAB" ${object}`, env)
    t.match(recorded, { code: 0, stdout: /\nverified\n$/, stderr: '' }, name)
    const file = join(dir, `copy.${name}`)
    t.match(
      await runShell(`oss_append cat --local "$LAB" ${object} > "$COPY"`, { ...env, COPY: file }),
      { code: 0 },
    )
    t.match(await countFrames(file), { video: 2 * RATE }, name)
    t.match(page('docs/recipes.md'), format, 'docs/recipes.md has the format')
  }
  const plain = await runShell(`ffmpeg -v error -nostdin ${ffmpegInput(2)} -f mp4 - > /dev/null`)
  t.match(plain, { stderr: /does not support non.seekable output/ })
  t.not(plain.code, 0)
})

/** The test server as a process, on a folder. */
async function startServeProcess(t: Test, dir: string, port: string) {
  const child: ChildProcess = startProcess(['serve', '--dir', dir, '--port', port])
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', more => (text += more))
  await waitFor(() => /SECRET=.*\n/.test(text))
  const lines = text.matchAll(/^export (OSS_\w+)=(\S+)$/gm)
  const env: Record<string, string> = Object.fromEntries(
    [...lines].map(([, name, value]) => [name, value]),
  )
  return { child, env }
}
