/**
 * ListObjectsV2: one page of the objects of a bucket. The list is parsed strictly, since it decides what a
 * reader sees: anything but the expected elements is a broken response.
 */

import type { Readable } from 'node:stream'
import { OssError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { XML_ENTITIES } from './response.ts'

export interface ListRequest {
  readonly bucket: string
  /** What the keys begin with. */
  readonly prefix: string
  /** The `next` of the page before. Undefined: the first page. */
  readonly token?: string | undefined
  readonly signal: AbortSignal
}

/** An object in a list. */
export interface ListedObject {
  readonly key: string
  /** Bytes. */
  readonly length: number
  /** `Appendable`, `Normal`, ... */
  readonly type: string
  /** When it was last written, in ISO 8601. */
  readonly lastModified: string
}

export interface ObjectPage {
  readonly objects: readonly ListedObject[]
  /** Token of the next page. Undefined: this page is the last. */
  readonly next?: string | undefined
}

/** Objects in a page. The maximum of OSS. */
const PAGE_SIZE = 1000
/** Bytes. 1,000 keys of 1,023 bytes, percent-encoded, have 3 MiB. */
const MAX_LIST_BYTES = 16 * 1024 * 1024

/** Rejects as every exchange does, with `AccessDenied` if the keys may not list the bucket. */
export async function listObjects(
  exchange: Exchange,
  { bucket, prefix, token, signal }: ListRequest,
): Promise<ObjectPage> {
  // XML cannot hold every character of a key, so keys are sent percent-encoded.
  const query = {
    'list-type': '2',
    'max-keys': String(PAGE_SIZE),
    'encoding-type': 'url',
    ...(prefix !== '' && { prefix }),
    ...(token !== undefined && { 'continuation-token': token }),
  }
  const { status, body } = await exchange.get({ bucket, key: '' }, { query, signal })
  return parseObjectPage(await readText(body, status))
}

async function readText(body: Readable, status: number): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > MAX_LIST_BYTES) {
      body.destroy()
      throw new OssError('OSS_ERR_NETWORK', 'a list of objects that is too long', { status })
    }
  }
  return Buffer.concat(chunks).toString()
}

/** @throws {OssError} `OSS_ERR_NETWORK` if the text is no list, or is not complete. */
export function parseObjectPage(xml: string): ObjectPage {
  const [, root] =
    /^\s*(?:<\?xml[^>]*\?>)?\s*<ListBucketResult(?: [^>]*)?>(.*)<\/ListBucketResult>\s*$/s.exec(
      xml,
    ) ?? []
  if (root === undefined) throw brokenList('it is not complete')
  const contents = root.matchAll(/<Contents>(.*?)<\/Contents>/gs)
  const objects = [...contents].map(([, text = '']) => parseObject(text))
  const outside = root.replace(/<Contents>.*?<\/Contents>/gs, '')
  const isTruncated = element(outside, 'IsTruncated')
  if (isTruncated === 'false') return { objects }
  const next = decodeText(element(outside, 'NextContinuationToken') ?? '')
  if (isTruncated !== 'true' || next === '') throw brokenList('its end is unknown')
  return { objects, next }
}

function parseObject(text: string): ListedObject {
  const length = element(text, 'Size') ?? ''
  const key = decodeKey(element(text, 'Key') ?? '')
  const type = element(text, 'Type') ?? ''
  const lastModified = element(text, 'LastModified') ?? ''
  if (key === '' || !/^\d{1,15}$/.test(length)) throw brokenList('an object has no key or no size')
  if (!/^[A-Za-z]{1,32}$/.test(type)) throw brokenList('an object has no type')
  if (!/^[\dT:.Z+-]{10,40}$/.test(lastModified)) throw brokenList('an object has no time')
  return { key, length: Number(length), type, lastModified }
}

/** The text of the only element with this name. Undefined: there is none, or it has elements of its own. */
function element(xml: string, name: string): string | undefined {
  const [first, ...others] = xml.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, 'g'))
  return others.length === 0 ? first?.[1] : undefined
}

function decodeKey(text: string): string {
  try {
    return decodeURIComponent(decodeText(text).replaceAll('+', '%20'))
  } catch {
    throw brokenList('a key is not percent-encoded UTF-8')
  }
}

function decodeText(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([\da-fA-F]{1,6})|(\w+));/g,
    (whole, decimal, hex, name) => {
      if (name !== undefined) return XML_ENTITIES[name] ?? whole
      const code = Number.parseInt(decimal ?? hex, decimal === undefined ? 16 : 10)
      return code <= 0x10_ff_ff ? String.fromCodePoint(code) : whole
    },
  )
}

function brokenList(problem: string): OssError {
  return new OssError('OSS_ERR_NETWORK', `a list of objects that cannot be read: ${problem}`)
}
