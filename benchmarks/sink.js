/**
 * The sink: a process that implements appends of OSS at the least CPU. A HEAD finds no object, and the response
 * to an append has the next position and the CRC-64. It checks no signature and keeps no bytes.
 *
 * `latency` delays each response by a whole round trip. So the time between the end of a response and the
 * first byte of the next request, as the sink measures it, is the time of the client alone. As with nginx, a
 * pipelined request is read after the response to the one before it.
 */

import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { Body, Tails } from './tails.js'

const tails = new Tails()
/** Time of the last response, by object: the next request may use another connection. */
const respondedAt = new Map()
let latency = 0
let stats = emptyStats()

function emptyStats() {
  return { appends: 0, bytes: 0, gaps: 0, from: 0, to: 0, connections: 0, cpu: process.cpuUsage() }
}

class Connection {
  #socket
  #head = ''
  #request
  #missing = 0
  #body
  /** Time of the first byte of the current request. */
  #startedAt = 0

  constructor(socket) {
    this.#socket = socket
    stats.connections += 1
    socket.setNoDelay(true)
    socket.on('data', chunk => this.#onData(chunk))
    socket.on('error', () => socket.destroy())
  }

  #onData(chunk) {
    while (chunk.length > 0) {
      if (!this.#request) {
        chunk = this.#readHead(chunk)
        if (!this.#request) return
      }
      const part = chunk.length > this.#missing ? chunk.subarray(0, this.#missing) : chunk
      if (part.length > 0) this.#body.add(part)
      this.#missing -= part.length
      chunk = chunk.subarray(part.length)
      if (this.#missing > 0) return
      const request = this.#request
      this.#request = undefined
      if (latency > 0) return this.#respondLater(request, chunk)
      this.#respond(request)
    }
  }

  /** `rest`: bytes of the next request. */
  #respondLater(request, rest) {
    this.#socket.pause()
    setTimeout(() => {
      this.#respond(request)
      this.#socket.resume()
      this.#onData(rest)
    }, latency)
  }

  /** Reads the head of a request. Returns the bytes after it. */
  #readHead(chunk) {
    if (this.#head === '') this.#startedAt = performance.now()
    const before = this.#head.length
    this.#head += chunk.latin1Slice()
    const end = this.#head.indexOf('\r\n\r\n')
    if (end === -1) return chunk.subarray(chunk.length)
    const text = this.#head.slice(0, end + 2)
    this.#head = ''
    const [, method, path, query = ''] = /^([A-Z]+) ([^ ?]+)\??(\S*) /.exec(text)
    const host = /\r\nhost: *(\S+)/i.exec(text)?.[1]
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0)
    const position = Number(/\bposition=(\d+)/.exec(query)?.[1] ?? 0)
    if (method === 'POST') this.#recordGap(`${host}${path}`)
    this.#request = { method, name: `${host}${path}`, position, length, body: new Body(length) }
    this.#body = this.#request.body
    this.#missing = length
    return chunk.subarray(end + 4 - before)
  }

  #recordGap(name) {
    stats.from ||= this.#startedAt
    stats.gaps += this.#startedAt - (respondedAt.get(name) ?? this.#startedAt)
  }

  #respond({ method, name, position, length, body }) {
    if (method === 'HEAD') return this.#send('404 Not Found', 'x-oss-err: none\r\n')
    const tail = tails.append(name, position, { length, crc: body.end() })
    if (!tail) {
      const end = tails.find(name, position).position
      return this.#send('409 Conflict', `x-oss-next-append-position: ${end}\r\n`)
    }
    stats.appends += 1
    stats.bytes += length
    const headers = `x-oss-next-append-position: ${tail.position}\r\nx-oss-hash-crc64ecma: ${tail.crc}\r\n`
    this.#send('200 OK', headers)
    stats.to = performance.now()
    respondedAt.set(name, stats.to)
  }

  #send(status, headers) {
    this.#socket.write(
      `HTTP/1.1 ${status}\r\nx-oss-request-id: 0123456789ABCDEF01234567\r\n${headers}content-length: 0\r\nconnection: keep-alive\r\n\r\n`,
    )
  }
}

/** The self-signed key and certificate of the tests. */
function certificate() {
  const text = readFileSync(new URL('../test/helpers/tls.ts', import.meta.url), 'utf8')
  const [key, cert] = text.match(/-----BEGIN [^`]+/g)
  return { key, cert }
}

function listen(server) {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(server.address().port))
  })
}

const onConnection = socket => new Connection(socket)
const { key, cert } = certificate()
const port = await listen(net.createServer(onConnection))
const tlsPort = await listen(tls.createServer({ key, cert }, onConnection))

// `{ latency }` begins a turn. Any other message ends it and gets its figures.
process.on('message', message => {
  if (message.latency !== undefined) {
    latency = message.latency
    stats = emptyStats()
    respondedAt.clear()
    return process.send({ result: {} })
  }
  const { user, system } = process.cpuUsage(stats.cpu)
  const { appends, bytes, gaps, from, to, connections } = stats
  const duty = to > from ? 1 - gaps / (to - from) : undefined
  process.send({ result: { appends, bytes, duty, connections, cpu: (user + system) / 1e6 } })
})
process.on('disconnect', () => process.exit())
process.send({ ready: { port, tlsPort, ca: cert } })
