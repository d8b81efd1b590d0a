/**
 * How the server says no: a Refusal is thrown by whichever rule is broken, and rendered here, once,
 * in OSS's form: an XML body, `x-oss-ec`, and for HEAD, which has no body, the same XML as base64 in
 * `x-oss-err`. The finer code `EC` is given where OSS documents one, and left out where it does not.
 */

import type { ResponseSpec } from './response.ts'

/** What a refusal carries besides status, code and message. */
export interface OssRefusalDetails {
  readonly ec?: string | undefined
  /** Further children of `<Error>`, such as `ArgumentName`. */
  readonly children?: Readonly<Record<string, string>> | undefined
  readonly headers?: Readonly<Record<string, string | string[]>> | undefined
  /** The framing of the request cannot be trusted: nothing more is read from its connection. */
  readonly close?: boolean | undefined
}

/** A request that OSS's rules turn down. */
export class OssRefusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number
  readonly code: string
  readonly details: OssRefusalDetails

  constructor(status: number, code: string, message: string, details: OssRefusalDetails = {}) {
    super(message)
    this.status = status
    this.code = code
    this.details = details
  }
}

/** 400 InvalidArgument, naming the argument as OSS does. */
export function invalidArgument(name: string, value: string, message: string, ec?: string) {
  return new OssRefusal(400, 'InvalidArgument', message, {
    ec,
    children: { ArgumentName: name, ArgumentValue: value },
  })
}

/** 400 EntityTooLarge; with `close` when the rest of the body is not going to be read. */
export function entityTooLarge(maxBytes: number, close = false): OssRefusal {
  const message = 'Your proposed upload exceeds the maximum allowed size'
  const children = { MaxSizeAllowed: String(maxBytes) }
  return new OssRefusal(400, 'EntityTooLarge', message, { close, children })
}

/** 403 AccessDenied, as a RAM policy says it. */
export function accessDenied(): OssRefusal {
  const message = 'You have no right to access this object.'
  return new OssRefusal(403, 'AccessDenied', message, { ec: '0003-00000001' })
}

/** A request whose form is wrong: refused, and its connection closed. */
export function malformedRequest(message: string, code = 'BadRequest'): OssRefusal {
  return new OssRefusal(400, code, message, { close: true })
}

/** The reply to a refused request. */
export function errorResponse(
  refusal: OssRefusal,
  method: string,
  requestId: string,
  hostId: string,
): ResponseSpec {
  const { status, code, details } = refusal
  const xml = Buffer.from(toErrorXml(refusal, requestId, hostId))
  const headers: ResponseSpec['headers'] = { ...details.headers }
  if (details.ec !== undefined) headers['x-oss-ec'] = details.ec
  if (details.close === true) headers.Connection = 'close'
  if (method === 'HEAD') {
    headers['x-oss-err'] = xml.toString('base64')
    return { status, code, headers }
  }
  headers['Content-Type'] = 'application/xml'
  return { status, code, headers, body: xml }
}

function toErrorXml(refusal: OssRefusal, requestId: string, hostId: string): string {
  const { ec, children } = refusal.details
  const elements: [string, string][] = [
    ['Code', refusal.code],
    ['Message', refusal.message],
    ['RequestId', requestId],
    ['HostId', hostId],
    ...Object.entries(children ?? {}),
  ]
  if (ec !== undefined) {
    elements.push(['EC', ec], ['RecommendDoc', `https://api.aliyun.com/troubleshoot?q=${ec}`])
  }
  const lines = elements.map(([name, text]) => `  <${name}>${escapeXml(text)}</${name}>\n`)
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n${lines.join('')}</Error>\n`
}

/** XML 1.0 cannot hold most control characters in any spelling, and a key may contain them. */
function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[^\t\n\r -\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '?')
}
