/**
 * A link between a contender and the sink, as a process of its own: a round trip, and a bandwidth to the sink.
 * Bytes to the sink leave one after another at the bandwidth, and arrive half a round trip later. Responses
 * are as late. A link holds as many bytes as fit on it, and the socket buffers of the system.
 *
 * `node relay.js '{ "port": ..., "roundTrip": ms, "rate": bytes per second }'`
 */

import net from 'node:net'

/** Bytes that a link holds besides those on their way. */
const BUFFER = 262_144

const { port, roundTrip, rate } = JSON.parse(process.argv[2])
const capacity = (rate * roundTrip) / 1000 + BUFFER

/** One direction of a connection. */
function join(from, to, bytesPerSecond) {
  const queue = []
  let held = 0
  let freeAt = 0
  let isScheduled = false
  let isBlocked = false
  const deliver = () => {
    isScheduled = false
    while (queue.length > 0 && !isBlocked && queue[0].at <= performance.now()) {
      const { chunk } = queue.shift()
      held -= chunk.length
      isBlocked = !to.write(chunk)
    }
    if (held < capacity) from.resume()
    if (queue.length > 0 && !isBlocked) schedule()
  }
  const schedule = () => {
    if (isScheduled) return
    isScheduled = true
    setTimeout(deliver, Math.max(0, queue[0].at - performance.now()))
  }
  to.on('drain', () => {
    isBlocked = false
    deliver()
  })
  from.on('data', chunk => {
    freeAt = Math.max(freeAt, performance.now()) + (chunk.length / bytesPerSecond) * 1000
    queue.push({ at: freeAt + roundTrip / 2, chunk })
    held += chunk.length
    if (held >= capacity) from.pause()
    if (!isBlocked) schedule()
  })
  from.on('error', () => from.destroy())
  from.on('close', () => to.destroy())
}

const server = net.createServer({ noDelay: true }, client => {
  const sink = net.connect({ port, host: '127.0.0.1', noDelay: true })
  join(client, sink, rate)
  join(sink, client, Infinity)
})
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('disconnect', () => process.exit())
