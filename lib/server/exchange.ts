/**
 * One request from its first header to the end of its answer, in the order in which OSS decides:
 * is it well formed, who signed it, has all of its body come, may it, do the rules allow it. Faults
 * step in at three places: when the headers are in, while the body is read, and around the rules.
 * The rules themselves (reading.ts, writing.ts) run in one turn of the event loop.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkHeaders } from './attributes.ts'
import { type Body, receive } from './body.ts'
import { accessDenied, Refusal, refuse, tooLarge } from './errors.ts'
import { clock, type House } from './house.ts'
import { type RequestRecord, record } from './log.ts'
import { type Mischief, plot } from './mischief.ts'
import { get, head, meta, toHttpDate } from './reading.ts'
import type { Answer, Reply } from './reply.ts'
import { type Call, isEmptyAppend, readCall } from './request.ts'
import { authenticate, type Identity } from './signature.ts'
import { append, noSuchKey, put, remove, seal } from './writing.ts'

interface Line {
  readonly req: IncomingMessage
  readonly served: Promise<void>
}

/**
 * What is being served on each connection. Node's parser hands over a request that was sent along
 * with the one before it while that one is still undecided; if that one is refused as untrustworthy
 * then what follows it is not a request but part of it, and must never be served.
 */
const lines = new WeakMap<Socket, Line>()
/** Connections on which nothing more is served. */
const ended = new WeakSet<Socket>()

/** Serves one request, after those that came before it on its connection. Never rejects. */
export function serve(house: House, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { socket } = req
  const served = (lines.get(socket)?.served ?? Promise.resolve()).then(async () => {
    if (ended.has(socket)) return
    const exchange = new Exchange(house, req, res)
    res.once('close', () => {
      exchange.entry.answered = performance.now()
    })
    try {
      await exchange.run()
    } catch {
      // The connection broke off, or the server is closing: nobody is left to answer.
      socket.destroy()
    }
  })
  lines.set(socket, { req, served })
  return served
}

/**
 * Resolves when nothing that arrived whole on a connection is waiting to be served, to whether another
 * answer may follow: not after one that was the last, or whoever is in between would take it for the
 * answer to somebody else's request.
 */
export async function settle(socket: Socket): Promise<boolean> {
  const line = lines.get(socket)
  if (line?.req.complete === true) await line.served
  return !ended.has(socket)
}

class Exchange {
  readonly entry: RequestRecord
  readonly #house: House
  readonly #req: IncomingMessage
  readonly #res: ServerResponse

  constructor(house: House, req: IncomingMessage, res: ServerResponse) {
    this.#house = house
    this.#req = req
    this.#res = res
    this.entry = record(house.requests, req, house.newRequestId())
  }

  async run(): Promise<void> {
    let answer: Answer
    try {
      answer = await this.#decide()
    } catch (error) {
      if (this.#req.errored !== null || this.#house.signal.aborted) throw error
      answer = await this.#turnAway(error)
    }
    if (this.#house.latency > 0) await this.#sleep(this.#house.latency)
    await this.#send(answer)
  }

  async #decide(): Promise<Answer> {
    const call = readCall(this.#req, this.#house)
    this.#note(call)
    const identity = this.#authenticate(call)
    this.entry.accessKeyId = identity.accessKeyId
    const { maxObjectBytes } = this.#house
    if ((call.contentLength ?? 0) > maxObjectBytes) throw tooLarge(maxObjectBytes, true)
    const mischief = this.#plot(call, identity)
    const early = mischief.arrive?.()
    if (early !== undefined) return early
    const body = await this.#receive(call, mischief)
    if (mischief.reading?.stopAfter !== undefined) return 'reset'
    const run = () => this.#evaluate(call, body)
    const answer = mischief.evaluate === undefined ? run() : mischief.evaluate(run, body)
    if (mischief.delay !== undefined) await this.#sleep(mischief.delay)
    return answer
  }

  /**
   * A body that is not wanted is still read, so that the answer arrives in order on a connection
   * that can be used again; unless the request cannot be trusted to say where its body ends.
   */
  async #turnAway(error: unknown): Promise<Reply> {
    const reply = this.#toReply(error)
    if (reply.headers.Connection === 'close' || this.#req.readableEnded) return reply
    for await (const chunk of this.#req as AsyncIterable<Buffer>) this.entry.length += chunk.length
    return reply
  }

  #note(call: Call): void {
    const { entry } = this
    entry.operation = call.operation
    entry.bucket = call.bucket
    entry.key = call.key
    const secret = ['x-oss-security-token', 'security-token', 'x-oss-signature', 'Signature']
    entry.query = Object.fromEntries([...call.query].filter(([name]) => !secret.includes(name)))
    const position = call.query.get('position')
    if (position !== undefined) entry.position = position === '' ? Number.NaN : Number(position)
  }

  #authenticate(call: Call): Identity {
    const { identities, region } = this.#house
    return authenticate(call, { identities, region, now: clock(this.#house) })
  }

  #plot(call: Call, identity: Identity): Mischief {
    const object = this.#house.objects.get(call.bucket, call.key)
    const isProbe =
      isEmptyAppend(call) && !(call.query.get('position') === '0' && object === undefined)
    const faults = this.#house.faults.take(call, isProbe)
    if (faults.length > 0) this.entry.faults = faults.map(fault => fault.name ?? fault.kind)
    return plot(faults, {
      house: this.#house,
      call,
      identity,
      authenticate: () => this.#authenticate(call),
      toReply: error => this.#toReply(error),
    })
  }

  async #receive(call: Call, mischief: Mischief): Promise<Body> {
    const { objects, maxObjectBytes, readRate, signal } = this.#house
    const tail = call.operation === 'append' ? objects.get(call.bucket, call.key)?.state : undefined
    const body = await receive(this.#req, {
      seed: tail?.crc64 ?? '0',
      wantsMd5: call.operation === 'put' || call.headers.has('content-md5'),
      maxBytes: maxObjectBytes,
      rate: readRate,
      signal,
      ...mischief.reading,
    })
    this.entry.length = body.length
    this.entry.bodyRead = performance.now()
    return body
  }

  #evaluate(call: Call, body: Body): Reply {
    const { late } = this.#house
    late.landBefore(call)
    const reply = this.#operate(call, body)
    this.entry.outcome = reply.status
    late.landAfter(call)
    return reply
  }

  #operate(call: Call, body: Body): Reply {
    try {
      return operate(this.#house, call, body)
    } catch (error) {
      return this.#toReply(error)
    }
  }

  #toReply(error: unknown): Reply {
    const refusal =
      error instanceof Refusal
        ? error
        : new Refusal(500, 'InternalError', 'We encountered an internal error. Please try again.')
    const host = this.#req.headers.host ?? ''
    return refuse(refusal, this.#req.method ?? '', this.entry.requestId, host)
  }

  async #send(answer: Answer): Promise<void> {
    const { socket } = this.#req
    if (answer === 'hang') return
    if (answer === 'reset' || 'raw' in answer) {
      ended.add(socket)
      if (answer === 'reset') reset(socket)
      else socket.end(answer.raw)
      return
    }
    const isLast = answer.closes === true || answer.headers.Connection === 'close'
    if (isLast || !this.#res.shouldKeepAlive) ended.add(socket)
    this.entry.status = answer.status
    if (answer.code !== undefined) this.entry.code = answer.code
    this.#res.sendDate = false
    this.#res.writeHead(answer.status, this.#dress(answer))
    const { body } = answer
    if (answer.closes === true) this.#res.once('finish', () => socket.destroySoon())
    if (body === undefined || this.#req.method === 'HEAD') this.#res.end()
    else if (body instanceof Uint8Array) this.#res.end(body)
    else await pipeline(Readable.from(body.chunks()), this.#res)
  }

  /** The headers that every answer of OSS has. */
  #dress({ status, headers, body, isForeign }: Reply): Reply['headers'] {
    const dressed = { ...headers }
    if (status !== 204 && status !== 304) dressed['Content-Length'] ??= String(body?.length ?? 0)
    if (isForeign === true) return dressed
    return {
      Server: 'AliyunOSS',
      Date: toHttpDate(clock(this.#house)),
      'x-oss-request-id': this.entry.requestId,
      'x-oss-server-time': String(Math.ceil(performance.now() - this.entry.received)),
      ...dressed,
    }
  }

  #sleep(duration: number): Promise<void> {
    return sleep(duration, undefined, { signal: this.#house.signal })
  }
}

/** What the caller may is asked for before what there is: a forbidden HEAD tells nothing. */
const ACTIONS = {
  append: 'oss:PutObject',
  put: 'oss:PutObject',
  delete: 'oss:DeleteObject',
  seal: 'oss:SealAppendObject',
  head: 'oss:GetObject',
  meta: 'oss:GetObject',
  get: 'oss:GetObject',
} as const

function operate(house: House, call: Call, body: Body): Reply {
  checkHeaders(call)
  if (house.buckets?.has(call.bucket) === false) {
    throw new Refusal(404, 'NoSuchBucket', 'The specified bucket does not exist.', {
      ec: '0015-00000101',
      children: { BucketName: call.bucket },
    })
  }
  const actions: string[] = [ACTIONS[call.operation]]
  if (call.headers.has('x-oss-tagging')) actions.push('oss:PutObjectTagging')
  if (!actions.every(action => house.permissions.has(action))) throw accessDenied()
  const { objects, maxObjectBytes, canSeal } = house
  const premises = { objects, maxObjectBytes, canSeal, now: clock(house) }
  switch (call.operation) {
    case 'append':
      return append(call, body, premises)
    case 'put':
      return put(call, body, premises)
    case 'delete':
      return remove(call, premises)
    case 'seal':
      return seal(call, body, premises)
  }
  const object = objects.get(call.bucket, call.key)
  if (object === undefined) throw noSuchKey(call.key)
  if (call.operation === 'get') return get(call, object)
  return call.operation === 'head' ? head(call, object.state) : meta(call, object.state)
}

/** A TLS socket has no RST of its own; the plain one below it is not ours to reach for. */
function reset(socket: IncomingMessage['socket']): void {
  if ('encrypted' in socket) socket.destroy()
  else socket.resetAndDestroy()
}
