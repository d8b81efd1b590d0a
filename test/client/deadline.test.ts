/**
 * The deadline of an exchange over the client's own connections: it measures silence, and so lets a slow
 * link have as long as it needs.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import t, { type Test } from 'tap'
import { Agent } from 'undici'
import { type Connection, OwnAgent } from '../../lib/client/agent.ts'
import { Deadline } from '../../lib/client/deadline.ts'
import { dispatch, type ExchangeFacts } from '../../lib/client/dispatch.ts'
import { OssError } from '../../lib/errors.ts'
import { firstLine, startModule } from '../helpers/child-process.ts'
import { cert, key } from '../helpers/tls.ts'

// The connections of a client trust the authorities of the machine alone.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'
const TOO_LARGE = 'HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n'
const SCHEMES = ['http', 'https'] as const
/** More than the buffers of the kernel hold. */
const BIG = 32 << 20
/** Bytes. Read slowly, they take 3 s. */
const SLOW = 2 * BIG

interface TestServer {
  readonly origin: string
  readonly sockets: Socket[]
}

async function startServer(
  t: Test,
  scheme: (typeof SCHEMES)[number],
  onSocket: (socket: Socket) => void,
): Promise<TestServer> {
  const sockets: Socket[] = []
  const accept = (socket: Socket) => {
    sockets.push(socket.on('error', () => {}))
    onSocket(socket)
  }
  const server: Server =
    scheme === 'https' ? createTlsServer({ key, cert }, accept) : createServer(accept)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { origin: `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

/** Answers with 200 when a whole request has arrived. Calls `onData` for each chunk. */
function answer(socket: Socket, onData: (chunk: Buffer) => void = () => {}): void {
  let text = ''
  let left = -1
  socket.on('data', chunk => {
    onData(chunk)
    if (left === -1) {
      text += chunk.toString('latin1')
      const end = text.indexOf('\r\n\r\n')
      if (end === -1) return
      left = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0) - (text.length - end - 4)
    } else left -= chunk.length
    if (left > 0) return
    text = ''
    left = -1
    socket.write(OK)
  })
}

interface Failure extends ExchangeFacts {
  readonly error: Error & { readonly code?: string }
}

/** Sends requests over connections as the client does, with a deadline of their own. */
function startSender(t: Test, { origin }: { readonly origin: string }, timeout: number) {
  const agent = new OwnAgent(10_000)
  t.teardown(() => agent.close(new Error('the test ends')))
  const { signal } = new AbortController()
  return async (body: Uint8Array): Promise<number | Failure> => {
    const request = { origin, path: '/a', method: 'POST', headers: {}, body } as const
    const toError = (error: unknown, facts: ExchangeFacts) => ({ error, ...facts })
    try {
      return (await dispatch(await agent.get(), request, { timeout, signal, toError })).status
    } catch (failure) {
      return failure as Failure
    }
  }
}

/**
 * Reads 16 MB/s, so that 8 MiB take half a second: the kernel takes the parts before those at once, and they double. The
 * last 16 MiB are read fast: they have left the client, but not the kernel.
 */
function readSlowly(socket: Socket): void {
  const startedAt = performance.now()
  let length = 0
  answer(socket, chunk => {
    length += chunk.length
    // Not a pause for each chunk: on a busy machine each would be longer.
    const ahead = length / 16_384 - (performance.now() - startedAt)
    if (length > SLOW - BIG / 2 || ahead <= 0) return
    socket.pause()
    setTimeout(() => socket.resume(), ahead)
  })
}

for (const scheme of SCHEMES) {
  t.test(`${scheme}: a body that takes longer than the deadline is sent if it moves`, async t => {
    const server = await startServer(t, scheme, readSlowly)
    // A busy machine may not run this process for half a second.
    const send = startSender(t, server, 1000)
    const startedAt = performance.now()
    t.equal(await send(Buffer.alloc(SLOW)), 200)
    t.ok(performance.now() - startedAt > 2000, 'it took longer than two deadlines')
  })

  t.test(`${scheme}: a body that does not move is given up`, async t => {
    const server = await startServer(t, scheme, socket => socket.pause())
    // A handshake on a busy machine takes some of it.
    const send = startSender(t, server, 500)
    const failure = await send(Buffer.alloc(BIG))
    t.match(failure, {
      error: {
        code: 'OSS_ERR_TIMEOUT',
        message: /^no byte of the request was taken within 500 ms from 127/,
      },
      isUnsent: false,
      isBodyCut: true,
    })
  })

  t.test(`${scheme}: a request that has left and is not answered is given up`, async t => {
    const server = await startServer(t, scheme, socket => socket.resume())
    const send = startSender(t, server, 100)
    const startedAt = performance.now()
    t.match(await send(Buffer.from('abc')), {
      error: { code: 'OSS_ERR_TIMEOUT', message: /^no answer within 100 ms from 127/ },
      isUnsent: false,
      isBodyCut: false,
    })
    t.ok(performance.now() - startedAt < 5000)
  })

  t.test(`${scheme}: an error says whether the body was cut`, async t => {
    const server = await startServer(t, scheme, socket => {
      socket.once('data', chunk => {
        socket.pause()
        if (/ \/a /.test(chunk.toString('latin1'))) setTimeout(() => socket.destroy(), 50)
      })
    })
    const send = startSender(t, server, 5000)
    t.match(await send(Buffer.alloc(BIG)), { isUnsent: false, isBodyCut: true }, 'leaving')
    t.match(await send(Buffer.from('abc')), { isUnsent: false, isBodyCut: false }, 'left')
  })

  t.test(`${scheme}: a part of a body that fails has not left`, async t => {
    const server = await startServer(t, scheme, socket => {
      socket.on('data', chunk => {
        if (/content-length: 3\r/.test(chunk.toString('latin1'))) socket.write(OK)
        else socket.destroy()
      })
    })
    const send = startSender(t, server, 5000)
    t.equal(await send(Buffer.from('abc')), 200)
    t.match(await send(Buffer.alloc(BIG)), { isUnsent: false, isBodyCut: true })
  })

  t.test(`${scheme}: no more of a body is sent after an early response`, async t => {
    let hasResumed = false
    const late: Buffer[] = []
    const server = await startServer(t, scheme, socket => {
      socket.once('data', () => {
        if (hasResumed) return socket.write(OK)
        socket.pause()
        socket.on('data', chunk => late.push(chunk))
        socket.pause()
        return socket.write(TOO_LARGE)
      })
    })
    const send = startSender(t, server, 5000)
    const body = Buffer.alloc(BIG, 'a')
    t.equal(await send(body), 413)
    body.fill('x')
    hasResumed = true
    const [first] = server.sockets
    first?.resume()
    if (!first?.closed) await once(first as Socket, 'close')
    const received = Buffer.concat(late)
    t.ok(received.length < BIG)
    t.notOk(received.includes('x'), 'memory that belongs to the caller again')
    t.equal(await send(Buffer.from('abc')), 200)
    t.equal(server.sockets.length, 2)
  })
}

t.test('a connection keeps nothing of an exchange', async t => {
  const server = await startServer(t, 'http', answer)
  const sockets: Socket[] = []
  const onConnected = (message: unknown) => {
    sockets.push((message as { socket: Socket }).socket)
  }
  subscribe('undici:client:connected', onConnected)
  t.teardown(() => unsubscribe('undici:client:connected', onConnected))
  const send = startSender(t, server, 5000)
  let counts: number[] | undefined
  for (let i = 0; i < 20; i++) {
    t.equal(await send(Buffer.alloc(i % 2 ? 1_000_000 : 3)), 200)
    await new Promise(setImmediate)
    const [socket] = sockets as [Socket]
    const now = socket.eventNames().map(name => socket.listenerCount(name))
    counts ??= now
    t.same(now, counts)
  }
  t.equal(sockets.length, 1)
})

/** A server in a process of its own, which answers `delay` milliseconds after a request. */
async function startDistantServer(t: Test, delay: number): Promise<string> {
  const child = startModule(
    t,
    `import { createServer } from 'node:http'
    const server = createServer((req, res) => {
      req.resume().on('end', () => setTimeout(() => res.end('ok'), ${delay}))
    })
    server.listen(0, '127.0.0.1', () => console.log(server.address().port))`,
  )
  return `http://127.0.0.1:${await firstLine(child)}`
}

t.test('a response that arrives while the event loop is blocked is no timeout', async t => {
  const origin = await startDistantServer(t, 50)
  let isBlocked = true
  // Other work of the program, right after the request has left.
  const block = () => {
    if (isBlocked) return
    isBlocked = true
    setImmediate(() => {
      const until = performance.now() + 800
      while (performance.now() < until);
    })
  }
  subscribe('undici:client:sendHeaders', block)
  t.teardown(() => unsubscribe('undici:client:sendHeaders', block))
  const send = startSender(t, { origin }, 400)
  t.equal(await send(Buffer.from('abc')), 200, 'the connection is open')
  await new Promise(setImmediate)
  isBlocked = false
  t.equal(await send(Buffer.from('abc')), 200)
  t.equal(isBlocked, true)
})

t.test('over a dispatcher that was passed in, the deadline covers the whole exchange', async t => {
  const server = await startServer(t, 'http', readSlowly)
  const agent = new Agent()
  t.teardown(() => agent.destroy())
  const request = {
    origin: server.origin,
    path: '/a',
    method: 'POST',
    headers: {},
    body: Buffer.alloc(BIG),
  } as const
  const { signal } = new AbortController()
  const toError = (error: unknown, facts: ExchangeFacts) =>
    error instanceof OssError ? new OssError(error.code, error.message, facts) : error
  await t.rejects(dispatch(agent, request, { timeout: 400, signal, toError }), {
    code: 'OSS_ERR_TIMEOUT',
    message: /^no answer within 400 ms/,
    isBodyCut: false,
  })
})

for (const { name, step, expected } of [
  { name: 'a fast link double, up to the whole body', step: 0, expected: [1, 2, 4, 1, 8] },
  { name: 'a slow link stay short', step: 100, expected: Array<number>(16).fill(1) },
]) {
  t.test(`the parts of a body on ${name}`, async t => {
    const { origin } = await startServer(t, 'http', socket => answer(socket))
    let time = 0
    t.intercept(performance, 'now', { value: () => (time += step) })
    const parts: number[] = []
    const { write } = Socket.prototype
    Socket.prototype.write = function (chunk: Uint8Array | string, ...rest: []) {
      if (typeof chunk !== 'string') parts.push(chunk.length / 131_072)
      return write.call(this, chunk, ...rest)
    }
    t.teardown(() => {
      Socket.prototype.write = write
    })
    const agent = new OwnAgent(5000)
    t.teardown(() => agent.close(new Error('closed')))
    const body = Buffer.alloc(8 * 131_072)
    const request = { origin, path: '/', method: 'POST', headers: {}, body } as const
    const { signal } = new AbortController()
    for (let i = 0; i < 2; i++) {
      const options = { timeout: 5000, signal, toError: (error: unknown) => error }
      await dispatch(await agent.get(), request, options)
      await new Promise(setImmediate)
    }
    t.same(parts, expected)
  })
}

t.test('what was given to a connection that closed is not being sent on the next one', async t => {
  const newConnection = (): Connection => ({ socket: undefined, onWrite: undefined, part: 0 })
  const deadline = new Deadline(60_000, () => {})
  const closed = newConnection()
  deadline.watch(closed)
  const onWritten = closed.onWrite?.()
  t.ok(deadline.isSending)
  const next = newConnection()
  deadline.watch(next)
  t.notOk(deadline.isSending)
  next.onWrite?.()
  onWritten?.(true)
  t.ok(deadline.isSending, 'the late end of a write to the first one says nothing of this one')
  deadline.stop()
})
