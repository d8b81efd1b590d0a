/**
 * Compresses log lines: in gzip members, or in one stream of zlib if `memberBytes` is not set.
 * Parameters: `{ memberBytes, total }`.
 */

import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { gzipMembers } from '../../dist/index.js'

/** Bytes. As `fs.createReadStream()` reads. */
const CHUNK = 65_536

export async function open({ memberBytes, total }) {
  const lines = logLines(total)
  return async () => {
    let compressed = 0
    const sink = new Writable({
      write(chunk, _encoding, callback) {
        compressed += chunk.length
        callback()
      },
    })
    const gzip = memberBytes ? gzipMembers({ memberBytes, flushInterval: 0 }) : createGzip()
    await pipeline(Readable.from(chunks(lines), { objectMode: false }), gzip, sink)
    return { bytes: lines.length, compressed }
  }
}

function* chunks(bytes) {
  for (let at = 0; at < bytes.length; at += CHUNK) yield bytes.subarray(at, at + CHUNK)
}

/** Log lines of a web service, about 190 bytes each: fixed words, and numbers that are hard to compress. */
function logLines(total) {
  let state = 42
  const below = limit => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  const pick = words => words[below(words.length)]
  const lines = []
  let [length, time] = [0, Date.UTC(2026, 0, 1)]
  while (length < total) {
    time += below(40)
    const line = `${JSON.stringify({
      time: new Date(time).toISOString(),
      level: pick(['INFO', 'INFO', 'INFO', 'WARN', 'ERROR']),
      host: `web-${below(8)}`,
      request: below(2 ** 32).toString(16) + below(2 ** 32).toString(16),
      method: pick(['GET', 'GET', 'GET', 'POST']),
      url: `${pick(['/api/v1/users', '/api/v1/orders', '/login', '/static/app'])}/${below(100_000)}`,
      status: below(20) ? 200 : 500,
      ms: below(90_000) / 100,
      message: 'request completed',
    })}\n`
    lines.push(line)
    length += line.length
  }
  return Buffer.from(lines.join(''), 'latin1')
}
