/**
 * How the server refuses a request. The rule that is broken throws an `OssRefusal`. It is rendered here,
 * in OSS's form: an XML body and `x-oss-ec`. A response to HEAD has no body, so it carries the same XML as
 * base64 in `x-oss-err`. The finer code `EC` is given where OSS documents one, and left out otherwise.
 */

import type { ResponseSpec } from './response.ts'
import { renderXml, type XmlElement } from './xml.ts'

/** What a refusal carries besides status, code and message. */
export interface OssRefusalDetails {
  readonly ec?: string | undefined
  /** Further children of `<Error>`, such as `ArgumentName`. */
  readonly children?: Readonly<Record<string, string>> | undefined
  readonly headers?: Readonly<Record<string, string | string[]>> | undefined
  /** The end of the request is not known: nothing more is read from its connection. */
  readonly close?: boolean | undefined
}

/** A request that OSS's rules refuse. */
export class OssRefusal extends Error {
  override readonly name = 'OssRefusal'
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
export function invalidArgument(
  name: string,
  value: string,
  message: string,
  ec?: string,
  children: Readonly<Record<string, string>> = {},
): OssRefusal {
  return new OssRefusal(400, 'InvalidArgument', message, {
    ec,
    children: { ArgumentName: name, ArgumentValue: value, ...children },
  })
}

/** 400 EntityTooLarge. `close`: the rest of the body is not read. */
export function entityTooLarge(maxBytes: number, close = false): OssRefusal {
  const message = 'Your proposed upload exceeds the maximum allowed size'
  const children = { MaxSizeAllowed: String(maxBytes) }
  return new OssRefusal(400, 'EntityTooLarge', message, { close, children })
}

/** 403 AccessDenied, as for a RAM policy that does not allow the action. */
export function accessDenied(): OssRefusal {
  const message = 'You have no right to access this object.'
  return new OssRefusal(403, 'AccessDenied', message, { ec: '0003-00000001' })
}

/** 404 NoSuchBucket. */
export function noSuchBucket(bucket: string): OssRefusal {
  return new OssRefusal(404, 'NoSuchBucket', 'The specified bucket does not exist.', {
    ec: '0015-00000101',
    children: { BucketName: bucket },
  })
}

/** 507: the disk of the server's folder is full. `code` is the system's: ENOSPC, EDQUOT. */
export function insufficientStorage(code: string): OssRefusal {
  const message = `${code}: the disk of the server's folder is full. Nothing was stored.`
  return new OssRefusal(507, 'InsufficientStorage', message)
}

/** 404 NoSuchKey. */
export function noSuchKey(key: string): OssRefusal {
  const message = 'The specified key does not exist.'
  return new OssRefusal(404, 'NoSuchKey', message, { ec: '0026-00000001', children: { Key: key } })
}

/** An operation of OSS that this server does not have. 400, because SDKs retry 501. */
export function unsupportedOperation(message: string): OssRefusal {
  return new OssRefusal(400, 'NotImplemented', message)
}

/** A header of OSS that this operation does not have. */
export function unsupportedHeader(header: string): OssRefusal {
  const message = 'A header you provided implies functionality that is not implemented.'
  return new OssRefusal(400, 'NotImplemented', message, { children: { Header: header } })
}

/** A request whose form is wrong. Its connection is closed. Not `BadRequest`, because SDKs retry that. */
export function malformedRequest(message: string): OssRefusal {
  return new OssRefusal(400, 'InvalidArgument', message, { close: true })
}

/** The response to a refused request. */
export function errorResponse(
  refusal: OssRefusal,
  method: string,
  requestId: string,
  hostId: string,
): ResponseSpec {
  const { status, code, details } = refusal
  const xml = toErrorXml(refusal, requestId, hostId)
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

function toErrorXml(refusal: OssRefusal, requestId: string, hostId: string): Buffer {
  const { ec, children } = refusal.details
  const elements: XmlElement[] = [
    ['Code', refusal.code],
    ['Message', refusal.message],
    ['RequestId', requestId],
    ['HostId', hostId],
    ...Object.entries(children ?? {}),
  ]
  if (ec !== undefined) {
    elements.push(['EC', ec], ['RecommendDoc', `https://api.aliyun.com/troubleshoot?q=${ec}`])
  }
  return renderXml(['Error', elements])
}
