/**
 * What each fault does to a request. A fault becomes an `Injection`: an action when the headers have arrived,
 * options for reading the body, and a wrapper around the rules. The wrapper calls `next()`, which serves the
 * request by the rules, now, later or never. Its result is what is sent.
 */

import type { ReadBodyOptions, RequestBody } from './body.ts'
import type { ServerContext } from './context.ts'
import { crc64OfChunks } from './crc64.ts'
import { appendRivalBytes, replaceObject } from './direct-writes.ts'
import { accessDenied, noSuchKey, OssRefusal } from './errors.ts'
import type { Fault, Unanswered } from './faults.ts'
import { headState } from './reading.ts'
import type { OssRequest } from './request.ts'
import type { ResponseOrFailure, ResponseSpec } from './response.ts'
import type { Identity } from './signature.ts'

/** The changes to the course of one request. */
export interface Injection {
  /** Called when the headers have arrived. With a response the body is not read. */
  readonly onHeaders?: () => ResponseOrFailure
  readonly bodyOptions?: Partial<ReadBodyOptions>
  readonly intercept?: (next: () => ResponseOrFailure, body: RequestBody) => ResponseOrFailure
  /** Milliseconds between serving the request and sending the response. */
  readonly delay?: number
  /** Added to the response. */
  readonly headers?: ResponseSpec['headers']
}

/** What a fault can read and change. */
export interface FaultContext {
  readonly server: ServerContext
  readonly request: OssRequest
  readonly identity: Identity
  /** Checks the signature again. Throws an OssRefusal. */
  authenticate(): void
  toResponse(error: unknown): ResponseSpec
}

/** Combines all faults that strike a request. The first is the outermost. */
export function inject(faults: readonly Fault[], context: FaultContext): Injection {
  return faults
    .map(fault => ({ headers: { ...fault.headers }, ...injectionOf(fault, context) }))
    .reduce(combineInjections, {})
}

function combineInjections(outer: Injection, inner: Injection): Injection {
  const combined = {
    ...inner,
    ...outer,
    bodyOptions: { ...inner.bodyOptions, ...outer.bodyOptions },
    headers: { ...inner.headers, ...outer.headers },
  }
  if (outer.intercept === undefined || inner.intercept === undefined) return combined
  const { intercept: interceptOuter } = outer
  const { intercept: interceptInner } = inner
  return {
    ...combined,
    intercept: (next, body) => interceptOuter(() => interceptInner(next, body), body),
  }
}

function injectionOf(fault: Fault, context: FaultContext): Injection {
  const { server, request } = context
  const { objects } = server
  const object = () => objects.get(request.bucket, request.key)
  switch (fault.kind) {
    case 'refused':
      return {
        onHeaders() {
          server.refuse(fault.duration)
          return 'reset'
        },
      }
    case 'reset':
      return resetInjection(fault.when, request)
    case 'lost':
      return {
        intercept(next) {
          next()
          return unansweredResponse(fault.how, context)
        },
      }
    case 'late':
      return {
        intercept(next) {
          server.delayedAppends.add(request, fault.lands, next)
          return unansweredResponse(fault.how, context)
        },
      }
    case 'status':
    case 'html':
    case 'garbage':
      return {
        intercept(next) {
          if (fault.commits === true) next()
          return substituteResponse(fault, context)
        },
      }
    case 'mangled':
      return {
        intercept: (next, body) =>
          mangleResponse(fault, fault.commits === false ? pretendedAppend(context, body) : next()),
      }
    case 'rival':
      return {
        intercept(next, body) {
          if (fault.when === 'before') appendRivalBytes(server, request, body, fault.bytes)
          const response = next()
          if (fault.when === 'before') return response
          appendRivalBytes(server, request, body, fault.bytes)
          return fault.lost === false ? response : 'reset'
        },
      }
    case 'deleted':
      return beforeExecution(() => objects.remove(request.bucket, request.key))
    case 'replaced':
      return beforeExecution(() => replaceObject(server, request, fault.by, fault.length))
    case 'sealed':
      return beforeExecution(() => {
        const target = object()
        if (target !== undefined) objects.seal(target, server.now())
      })
    case 'corrupted':
      return {
        bodyOptions: { corruptAt: fault.at ?? Math.floor((request.contentLength ?? 0) / 2) },
      }
    case 'forbidden':
      return { intercept: () => context.toResponse(accessDenied()) }
    case 'stale':
      return { intercept: next => staleHead(context) ?? next() }
    case 'skewed':
      return { intercept: next => skewClock(fault, context) ?? next() }
    case 'expired':
      return {
        intercept(next) {
          context.identity.isExpired = true
          return reauthenticate(context) ?? next()
        },
      }
    case 'slowRead':
      return { bodyOptions: { rate: fault.rate } }
    case 'slowAnswer':
      return { delay: fault.delay }
    case 'early':
      return { onHeaders: () => earlyResponse(fault.status ?? 503, fault.code, context) }
    case 'tooLarge':
      return request.contentLength === undefined
        ? { intercept: (next, body) => (body.length > fault.maxBytes ? tooLarge() : next()) }
        : { onHeaders: tooLarge }
    case 'closed':
      return {
        intercept(next) {
          const response = next()
          if (!isResponse(response)) return response
          if (fault.how === 'header') response.headers.Connection = 'close'
          else response.closesSilently = true
          return response
        },
      }
  }
}

function isResponse(response: ResponseOrFailure): response is ResponseSpec {
  return typeof response === 'object' && 'status' in response
}

function beforeExecution(change: () => void): Injection {
  return {
    intercept(next) {
      change()
      return next()
    },
  }
}

function resetInjection(when: 'before' | 'middle' | 'after', request: OssRequest): Injection {
  if (when === 'before') return { onHeaders: () => 'reset' }
  if (when === 'after') return { intercept: () => 'reset' }
  return { bodyOptions: { stopAfter: Math.ceil((request.contentLength ?? 0) / 2) } }
}

function unansweredResponse(how: Unanswered, context: FaultContext): ResponseOrFailure {
  return typeof how === 'number' ? context.toResponse(serverError(how)) : how
}

function serverError(status: number, code?: string): OssRefusal {
  const defaultCode = status === 503 ? 'ServiceUnavailable' : 'InternalError'
  return new OssRefusal(status, code ?? defaultCode, 'Please try again later.')
}

function earlyResponse(
  status: number,
  code: string | undefined,
  context: FaultContext,
): ResponseSpec {
  const response = context.toResponse(serverError(status, code))
  response.headers.Connection = 'close'
  return response
}

type SubstituteFault = Extract<Fault, { kind: 'status' | 'html' | 'garbage' }>

function substituteResponse(fault: SubstituteFault, context: FaultContext): ResponseOrFailure {
  if (fault.kind === 'garbage') {
    return { raw: Buffer.from(fault.bytes ?? '\x16\x03\x01 this is not HTTP\r\n\r\n\xff\xfe') }
  }
  if (fault.kind === 'html') {
    return proxyResponse(fault.status ?? 502, 'Bad Gateway')
  }
  const { status, code = '', message = code, ec, children } = fault
  const response = context.toResponse(new OssRefusal(status, code, message, { ec, children }))
  if (fault.body !== undefined) return { ...response, body: Buffer.from(fault.body) }
  return code === '' ? { status, headers: {} } : response
}

/** HTML without any header of OSS. */
function proxyResponse(status: number, reason: string): ResponseSpec {
  const body = Buffer.from(`<html><body><h1>${status} ${reason}</h1></body></html>\n`)
  return { status, headers: { 'Content-Type': 'text/html' }, body, omitsOssHeaders: true }
}

/** As nginx: it drops the rest of the body, so that the response is not lost by a reset. */
function tooLarge(): ResponseSpec {
  const response = proxyResponse(413, 'Request Entity Too Large')
  response.headers.Connection = 'close'
  return { ...response, dropsBody: true }
}

/** The header, and how a wrong but plausible value is made from the correct one. */
const MANGLED_HEADERS = {
  requestId: ['x-oss-request-id', () => '000000000000000000000000'],
  position: ['x-oss-next-append-position', (correct: string) => String(Number(correct) + 1)],
  crc64: ['x-oss-hash-crc64ecma', (correct: string) => String(BigInt(correct) ^ 1n)],
} as const

function mangleResponse(
  fault: Extract<Fault, { kind: 'mangled' }>,
  response: ResponseOrFailure,
): ResponseOrFailure {
  if (!isResponse(response)) return response
  const [name, makeWrong] = MANGLED_HEADERS[fault.part]
  const { [name]: correct, ...others } = response.headers
  if (fault.how === 'wrong') {
    return {
      ...response,
      headers: { ...others, [name]: fault.value ?? makeWrong(String(correct ?? 0)) },
    }
  }
  return { ...response, headers: others, omitsOssHeaders: fault.part === 'requestId' }
}

/** The response that an append would have had. */
function pretendedAppend({ server, request }: FaultContext, body: RequestBody): ResponseSpec {
  const state = server.objects.get(request.bucket, request.key)?.state
  const position = (state?.length ?? 0) + body.length
  const headers = {
    ETag: state?.etag ?? '"00000000000000000000000000000000"',
    'x-oss-next-append-position': String(position),
    'x-oss-hash-crc64ecma': crc64OfChunks(body.chunks, state?.crc64 ?? '0'),
  }
  return { status: 200, headers }
}

function staleHead(context: FaultContext): ResponseSpec | undefined {
  const { server, request } = context
  const object = server.objects.get(request.bucket, request.key)
  if (object === undefined || request.operation !== 'head') return undefined
  if (object.previous === undefined) return context.toResponse(noSuchKey(request.key))
  return headState(request, object.previous)
}

function skewClock(
  fault: Extract<Fault, { kind: 'skewed' }>,
  context: FaultContext,
): ResponseSpec | undefined {
  context.server.clockOffset = fault.offset
  return reauthenticate(context, refusal => {
    if (fault.hidesServerTime !== true) return refusal
    const { ServerTime: _hidden, ...children } = refusal.details.children ?? {}
    return new OssRefusal(refusal.status, refusal.code, refusal.message, {
      ...refusal.details,
      children,
    })
  })
}

function reauthenticate(
  context: FaultContext,
  alter = (refusal: OssRefusal) => refusal,
): ResponseSpec | undefined {
  try {
    context.authenticate()
    return undefined
  } catch (error) {
    return context.toResponse(error instanceof OssRefusal ? alter(error) : error)
  }
}
