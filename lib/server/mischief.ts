/**
 * What each fault does to a request. A fault becomes a Mischief: at most one act when the headers
 * are in, a way to read the body, and a wrapper around the rules. `run` judges the request by the
 * rules and may be called now, later, or never; what is returned in its place is what is sent.
 */

import type { Body, Reading } from './body.ts'
import { updateAll } from './crc64.ts'
import { accessDenied, Refusal } from './errors.ts'
import type { Fault, Unanswered } from './faults.ts'
import { clock, type House } from './house.ts'
import { appendRival, putFiller } from './interference.ts'
import { head } from './reading.ts'
import type { Answer, Reply } from './reply.ts'
import type { Call } from './request.ts'
import type { Identity } from './signature.ts'
import { noSuchKey } from './writing.ts'

/** How one request is dealt with. */
export interface Mischief {
  /** The headers are in. An answer here means that the body is not read. */
  readonly arrive?: () => Answer
  readonly reading?: Partial<Reading>
  readonly evaluate?: (run: () => Answer, body: Body) => Answer
  /** ms between judgement and answer. */
  readonly delay?: number
}

/** What a fault can lay hands on. */
export interface Stage {
  readonly house: House
  readonly call: Call
  readonly identity: Identity
  /** Checks the signature again. Throws a Refusal. */
  authenticate(): void
  toReply(error: unknown): Reply
}

/** Makes one mischief of all faults that strike a request; the first is outermost. */
export function plot(faults: readonly Fault[], stage: Stage): Mischief {
  return faults.map(fault => devise(fault, stage)).reduce(combine, {})
}

function combine(outer: Mischief, inner: Mischief): Mischief {
  const both = { ...inner, ...outer, reading: { ...inner.reading, ...outer.reading } }
  if (outer.evaluate === undefined || inner.evaluate === undefined) return both
  const { evaluate: wrap } = outer
  const { evaluate } = inner
  return { ...both, evaluate: (run, body) => wrap(() => evaluate(run, body), body) }
}

function devise(fault: Fault, stage: Stage): Mischief {
  const { house, call } = stage
  const { objects } = house
  const object = () => objects.get(call.bucket, call.key)
  switch (fault.kind) {
    case 'refused':
      return {
        arrive() {
          house.refuse(fault.duration)
          return 'reset'
        },
      }
    case 'reset':
      return reset(fault.when, call)
    case 'lost':
      return {
        evaluate(run) {
          run()
          return unanswered(fault.how, stage)
        },
      }
    case 'late':
      return {
        evaluate(run) {
          house.late.add(call, fault.lands, run)
          return unanswered(fault.how, stage)
        },
      }
    case 'status':
    case 'html':
    case 'garbage':
      return {
        evaluate(run) {
          if (fault.commits === true) run()
          return substitute(fault, stage)
        },
      }
    case 'mangled':
      return {
        evaluate: (run, body) =>
          mangle(fault, fault.commits === false ? pretend(stage, body) : run()),
      }
    case 'rival':
      return {
        evaluate(run, body) {
          if (fault.when === 'before') appendRival(house, call, body, fault.bytes)
          const reply = run()
          if (fault.when === 'before') return reply
          appendRival(house, call, body, fault.bytes)
          return 'reset'
        },
      }
    case 'deleted':
      return before(() => objects.remove(call.bucket, call.key))
    case 'replaced':
      return before(() => putFiller(house, call, fault.by, fault.length))
    case 'sealed':
      return before(() => {
        const found = object()
        if (found !== undefined) objects.seal(found, clock(house))
      })
    case 'corrupted':
      return { reading: { corruptAt: fault.at ?? Math.floor((call.contentLength ?? 0) / 2) } }
    case 'forbidden':
      return { evaluate: () => stage.toReply(accessDenied()) }
    case 'stale':
      return { evaluate: run => lookBack(stage) ?? run() }
    case 'skewed':
      return { evaluate: run => skew(fault, stage) ?? run() }
    case 'expired':
      return {
        evaluate(run) {
          stage.identity.isExpired = true
          return reauthenticate(stage) ?? run()
        },
      }
    case 'slowRead':
      return { reading: { rate: fault.rate } }
    case 'slowAnswer':
      return { delay: fault.delay }
    case 'early':
      return { arrive: () => early(fault.status ?? 503, fault.code, stage) }
    case 'closed':
      return {
        evaluate(run) {
          const reply = run()
          if (!isReply(reply)) return reply
          if (fault.how === 'header') reply.headers.Connection = 'close'
          else reply.closes = true
          return reply
        },
      }
  }
}

function isReply(answer: Answer): answer is Reply {
  return typeof answer === 'object' && 'status' in answer
}

function before(act: () => void): Mischief {
  return {
    evaluate(run) {
      act()
      return run()
    },
  }
}

function reset(when: 'before' | 'middle' | 'after', call: Call): Mischief {
  if (when === 'before') return { arrive: () => 'reset' }
  if (when === 'after') return { evaluate: () => 'reset' }
  return { reading: { stopAfter: Math.ceil((call.contentLength ?? 0) / 2) } }
}

function unanswered(how: Unanswered, stage: Stage): Answer {
  return typeof how === 'number' ? stage.toReply(serverError(how)) : how
}

function serverError(status: number, code?: string): Refusal {
  const usual = status === 503 ? 'ServiceUnavailable' : 'InternalError'
  return new Refusal(status, code ?? usual, 'Please try again later.')
}

function early(status: number, code: string | undefined, stage: Stage): Reply {
  const reply = stage.toReply(serverError(status, code))
  reply.headers.Connection = 'close'
  return reply
}

type Substitute = Extract<Fault, { kind: 'status' | 'html' | 'garbage' }>

function substitute(fault: Substitute, stage: Stage): Answer {
  if (fault.kind === 'garbage') {
    return { raw: fault.bytes ?? Buffer.from('\x16\x03\x01 this is no HTTP\r\n\r\n\xff\xfe') }
  }
  if (fault.kind === 'html') {
    const status = fault.status ?? 502
    const body = Buffer.from(`<html><body><h1>${status} Bad Gateway</h1></body></html>\n`)
    return { status, headers: { 'Content-Type': 'text/html' }, body, isForeign: true }
  }
  const { status, code = '', message = code, ec, children, headers = {} } = fault
  const reply = stage.toReply(new Refusal(status, code, message, { ec, children, headers }))
  if (fault.body !== undefined) return { ...reply, body: Buffer.from(fault.body) }
  return code === '' ? { status, headers: { ...headers } } : reply
}

/** Header name, and what to put when it is to be wrong and plausible. */
const PARTS = {
  requestId: ['x-oss-request-id', () => '000000000000000000000000'],
  position: ['x-oss-next-append-position', (right: string) => String(Number(right) + 1)],
  crc64: ['x-oss-hash-crc64ecma', (right: string) => String(BigInt(right) ^ 1n)],
} as const

function mangle(fault: Extract<Fault, { kind: 'mangled' }>, reply: Answer): Answer {
  if (!isReply(reply)) return reply
  const [name, spoil] = PARTS[fault.part]
  const { [name]: right, ...others } = reply.headers
  if (fault.how === 'wrong') {
    return { ...reply, headers: { ...others, [name]: fault.value ?? spoil(String(right ?? 0)) } }
  }
  return { ...reply, headers: others, isForeign: fault.part === 'requestId' }
}

/** The answer that an append would have had. */
function pretend({ house, call }: Stage, body: Body): Reply {
  const state = house.objects.get(call.bucket, call.key)?.state
  const position = (state?.length ?? 0) + body.length
  const headers = {
    ETag: state?.etag ?? '"00000000000000000000000000000000"',
    'x-oss-next-append-position': String(position),
    'x-oss-hash-crc64ecma': updateAll(body.chunks, state?.crc64 ?? '0'),
  }
  return { status: 200, headers }
}

function lookBack(stage: Stage): Reply | undefined {
  const { house, call } = stage
  const object = house.objects.get(call.bucket, call.key)
  if (object === undefined || call.operation !== 'head') return undefined
  if (object.previous === undefined) return stage.toReply(noSuchKey(call.key))
  return head(call, object.previous)
}

function skew(fault: Extract<Fault, { kind: 'skewed' }>, stage: Stage): Reply | undefined {
  stage.house.clockOffset = fault.offset
  return reauthenticate(stage, refusal => {
    if (fault.hidesServerTime !== true) return refusal
    const { ServerTime: _hidden, ...children } = refusal.details.children ?? {}
    return new Refusal(refusal.status, refusal.code, refusal.message, {
      ...refusal.details,
      children,
    })
  })
}

function reauthenticate(stage: Stage, alter = (refusal: Refusal) => refusal): Reply | undefined {
  try {
    stage.authenticate()
    return undefined
  } catch (error) {
    return stage.toReply(error instanceof Refusal ? alter(error) : error)
  }
}
