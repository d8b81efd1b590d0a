/**
 * Sample data for a demo without input: readings of a small plant as CSV. The bytes are the same at each run
 * on each machine. They are generated as they are read, so any length takes the memory of one chunk.
 */

import { Readable } from 'node:stream'

const CHUNK_BYTES = 64 * 1024
const CSV_HEADER = 'time,sensor,quantity,value,unit\n'
const START_TIME = Date.UTC(2026, 0, 1)
/** Milliseconds between two rounds of readings. */
const READING_INTERVAL = 100

/** Name, quantity, unit, mean, and greatest deviation from the mean. */
const SENSORS = [
  ['boiler-1', 'temperature', '°C', 182, 9],
  ['boiler-2', 'temperature', '°C', 176, 7],
  ['turbine-1', 'speed', 'rpm', 3000, 15],
  ['turbine-1', 'vibration', 'µm', 41, 12],
  ['feed-pump', 'pressure', 'bar', 64, 3],
  ['transformer', 'load', 'kW', 812, 55],
  ['hall', 'humidity', '%', 38, 6],
  ['hall', 'temperature', '°C', 27, 4],
] as const

/** A stream of `length` bytes of readings. The last line may be incomplete. */
export function createSampleData(length: number): Readable {
  return Readable.from(generateChunks(length), { objectMode: false, highWaterMark: CHUNK_BYTES })
}

function* generateChunks(length: number): Generator<Buffer> {
  const random = createRandom(1)
  let text = CSV_HEADER
  let time = START_TIME
  for (let remaining = length; remaining > 0; ) {
    for (; text.length < CHUNK_BYTES; time += READING_INTERVAL) text += formatReadings(time, random)
    const chunk = Buffer.from(text).subarray(0, remaining)
    yield chunk
    remaining -= chunk.length
    text = ''
  }
}

/** One line for each sensor. */
function formatReadings(time: number, random: () => number): string {
  const timestamp = new Date(time).toISOString()
  let lines = ''
  for (const [name, quantity, unit, mean, spread] of SENSORS) {
    const value = mean + spread * (random() + random() - 1)
    lines += `${timestamp},${name},${quantity},${value.toFixed(2)},${unit}\n`
  }
  return lines
}

/** Uniform in [0, 1): the linear congruential generator of Numerical Recipes. `Math.random` takes no seed. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
