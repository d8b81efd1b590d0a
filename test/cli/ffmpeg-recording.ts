/** A short recording by ffmpeg, and the frames in one. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)
/** Pictures per second. */
export const RATE = 25

/** Input arguments for a changing picture and a tone: in real time with `-re`, else as fast as possible. */
export const ffmpegInput = (seconds: number, pace = '') =>
  `${pace} -f lavfi -i testsrc=size=320x180:rate=${RATE} ` +
  `${pace} -f lavfi -i sine=frequency=440:sample_rate=48000 ` +
  `-t ${seconds} -c:v mpeg2video -b:v 1M -c:a mp2`

/** Number of frames that decode, for `video` and `audio`. */
export async function countFrames(file: string): Promise<Record<string, number>> {
  const entries = ['-count_frames', '-show_entries', 'stream=codec_type,nb_read_frames']
  const { stdout } = await execute('ffprobe', ['-v', 'error', ...entries, '-of', 'json', file])
  const { streams } = JSON.parse(stdout) as {
    streams: { codec_type: string; nb_read_frames: string }[]
  }
  return Object.fromEntries(
    streams.map(({ codec_type: kind, nb_read_frames: count }) => [kind, Number(count)]),
  )
}
