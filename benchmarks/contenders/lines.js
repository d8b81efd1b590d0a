/**
 * Lines of 100 bytes with one `write()` each, or one `append()`; in corks of a hundred or without cork.
 * Parameters: `{ contender, count, isText, isCorked, isAppend, align, sink }`.
 */

import { createWriteStream } from 'node:fs'
import { Writable } from 'node:stream'
import SonicBoom from 'sonic-boom'
import { update } from '../../dist/crc64/index.js'
import { Body, Tails } from '../tails.js'
import { feed } from './feed.js'
import { createClient, createStream } from './ours.js'

const LINE = `2026-01-02T03:04:05.678Z INFO sensor=17 temperature=21.5 humidity=0.43 message="all is well" ${'.'.repeat(6)}\n`
const CORKED = 100
const MIB = 1024 * 1024
/** Bytes. What the CRC is computed of at once. */
const STEP = 524_288

const contenders = {
  ours: ({ sink }) => {
    const client = createClient(sink)
    return () => createStream(client, { contentMd5: false })
  },
  'ours-null':
    ({ align }) =>
    () =>
      createStream(nullClient(), { contentMd5: false, align }),
  fs: () => () => createWriteStream('/dev/null'),
  'sonic-boom': ({ isText }) => {
    const contentMode = isText ? 'utf8' : 'buffer'
    return () => new SonicBoom({ dest: '/dev/null', sync: false, minLength: 4096, contentMode })
  },
  copy: () => () => new Copy(),
  'copy-sum': () => () => new CopyAndSum(),
}

export async function open(params) {
  const { contender, count, isText, isCorked, isAppend } = params
  const create = contenders[contender](params)
  const line = isText ? LINE : Buffer.from(LINE)
  const single = stream => stream.write(line)
  const appended = stream => {
    stream.append(line)
    return !stream.writableNeedDrain
  }
  const corked = stream => {
    stream.cork()
    let hasRoom = true
    for (let i = 0; i < CORKED; i++) hasRoom = stream.write(line)
    stream.uncork()
    return hasRoom || !stream.writableNeedDrain
  }
  return async () => {
    if (isCorked) await feed(create(), count / CORKED, corked)
    else await feed(create(), count, isAppend ? appended : single)
    return { bytes: count * LINE.length }
  }
}

/** A stream that copies its input, as every stream must that accepts bytes before they are sent. */
class Copy extends Writable {
  #buffer = Buffer.allocUnsafeSlow(4 * MIB)
  #length = 0

  constructor() {
    super({ highWaterMark: 4 * MIB, decodeStrings: false })
  }

  _write(chunk, _encoding, callback) {
    this.#copy(chunk)
    callback()
  }

  _writev(chunks, callback) {
    for (const { chunk } of chunks) this.#copy(chunk)
    callback()
  }

  #copy(chunk) {
    if (this.#length + chunk.length > this.#buffer.length) this.#length = 0
    if (typeof chunk === 'string') this.#length += this.#buffer.utf8Write(chunk, this.#length)
    else {
      this.#buffer.set(chunk, this.#length)
      this.#length += chunk.length
    }
  }
}

/** Also computes the CRC, and holds a write while one buffer is full and the other is not free yet. */
class CopyAndSum extends Writable {
  #filling = Buffer.allocUnsafeSlow(4 * MIB)
  #spare = Buffer.allocUnsafeSlow(4 * MIB)
  #length = 0
  #crc = 0n
  #held

  constructor() {
    super({ highWaterMark: 4 * MIB, decodeStrings: false })
  }

  _write(chunk, _encoding, callback) {
    if (this.#copy(chunk)) callback()
    else this.#held = () => this._write(chunk, _encoding, callback)
  }

  _writev(chunks, callback) {
    const next = chunks.findIndex(({ chunk }) => !this.#copy(chunk))
    if (next === -1) callback()
    else this.#held = () => this._writev(chunks.slice(next), callback)
  }

  #copy(chunk) {
    if (this.#length + chunk.length > this.#filling.length && !this.#rotate()) return false
    if (typeof chunk === 'string') {
      this.#length += this.#filling.utf8Write(chunk, this.#length, chunk.length)
    } else {
      this.#filling.set(chunk, this.#length)
      this.#length += chunk.length
    }
    return true
  }

  #rotate() {
    const full = this.#filling
    if (!this.#spare) return false
    for (let at = 0; at < this.#length; at += STEP) {
      this.#crc = update(this.#crc, full.subarray(at, Math.min(this.#length, at + STEP)))
    }
    this.#filling = this.#spare
    this.#spare = undefined
    this.#length = 0
    setImmediate(() => {
      this.#spare = full
      const held = this.#held
      this.#held = undefined
      held?.()
    })
    return true
  }
}

/** The sink in memory. Without the network only the stream and the CRC take time. */
function nullClient() {
  const tails = new Tails()
  return {
    isSecure: true,
    head: async () => null,
    append: async (_target, { position, body }) => {
      const summed = new Body(body.length)
      summed.add(body)
      const tail = tails.append('', position, { crc: summed.end(), length: body.length })
      return { position: tail.position, crc64: String(tail.crc), requestId: '0' }
    },
    close: async () => {},
  }
}
