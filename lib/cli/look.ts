/** `oss-append stat` and `oss-append verify`: what an object is, and whether it is a file's copy. */

import { addAbortSignal } from 'node:stream'
import { parseUrl } from '../address.ts'
import { header } from '../client/reply.ts'
import { update } from '../crc64/index.ts'
import type { Place, StatCommand, VerifyCommand } from './commands.ts'
import { MismatchError, noSuchObject } from './failure.ts'
import { PatientReader } from './patience.ts'
import { at } from './place.ts'
import type { Facts } from './reader.ts'
import { formatRows } from './report.ts'
import { openSource } from './source.ts'

/** Milliseconds: somebody waits for the answer. */
const PATIENCE = 30_000

/** Headers that say something of an object, by their names here, in the order of the report. */
const PROPERTIES = {
  'last-modified': 'lastModified',
  etag: 'etag',
  'content-type': 'contentType',
  'content-encoding': 'contentEncoding',
  'content-disposition': 'contentDisposition',
  'cache-control': 'cacheControl',
  expires: 'expires',
  'x-oss-storage-class': 'storageClass',
  'x-oss-server-side-encryption': 'serverSideEncryption',
  'x-oss-server-side-data-encryption': 'serverSideDataEncryption',
  'x-oss-tagging-count': 'tags',
  'x-oss-version-id': 'versionId',
} as const

const METADATA = 'x-oss-meta-'

export async function stat(command: StatCommand, signal: AbortSignal): Promise<number> {
  const { url, place, isJson } = command
  const facts = await look(url, place, signal)
  const { type, length, position, crc64, sealedTime } = facts
  const properties = describe(facts)
  const metadata = readMetadata(facts)
  if (isJson) {
    const sealed = type === 'Appendable' ? sealedTime !== undefined : undefined
    const known = { url, type, length, position, crc64, sealed, sealedTime }
    const named = Object.fromEntries(properties)
    const tags = named.tags === undefined ? undefined : Number(named.tags)
    const text = JSON.stringify({ ...known, ...named, tags, metadata })
    process.stdout.write(`${text}\n`)
    return 0
  }
  const rows: [string, string | undefined][] = [
    ['object', url],
    ['type', type],
    ['length', exact(length)],
    ['CRC-64', crc64],
    ['sealed', sealedTime ?? (type === 'Appendable' ? 'no' : undefined)],
    ...properties.map(([name, value]): [string, string] => [toWords(name), value]),
    ...Object.entries(metadata).map(([name, value]): [string, string] => [`meta ${name}`, value]),
  ]
  process.stdout.write(formatRows(rows))
  return 0
}

export async function verify(command: VerifyCommand, signal: AbortSignal): Promise<number> {
  const { file, url, place, isJson } = command
  const source = await openSource(file)
  const facts = await look(url, place, signal)
  let crc = 0n
  let length = 0
  for await (const chunk of addAbortSignal(signal, source.stream) as AsyncIterable<Buffer>) {
    crc = update(crc, chunk)
    length += chunk.length
  }
  const crc64 = crc.toString()
  const differences: string[] = []
  if (facts.length !== length) {
    differences.push(`the object has ${exact(facts.length)} bytes, not ${exact(length)}`)
  } else if (facts.crc64 !== crc64) {
    differences.push(`the object's CRC-64 is ${facts.crc64 ?? 'unknown'}, not ${crc64}`)
  }
  const isVerified = differences.length === 0
  if (isJson) {
    const object = { length: facts.length, crc64: facts.crc64 }
    const text = JSON.stringify({ file, url, length, crc64, object, verified: isVerified })
    process.stdout.write(`${text}\n`)
  } else {
    const rows: [string, string][] = [
      ['file', source.name],
      ['', `${exact(length)} bytes, CRC-64 ${crc64}`],
      ['object', url],
      ['', `${exact(facts.length)} bytes, CRC-64 ${facts.crc64 ?? 'unknown'}`],
    ]
    process.stdout.write(formatRows(rows))
  }
  if (!isVerified) throw new MismatchError(differences)
  if (!isJson) process.stdout.write('verified\n')
  return 0
}

/** HEAD, which must find something. */
async function look(url: string, place: Place, signal: AbortSignal): Promise<Facts> {
  const target = parseUrl(url)
  return at(place, 'read', async ({ options }) => {
    const reader = new PatientReader(options, { signal, maxElapsed: PATIENCE })
    try {
      const facts = await reader.head(target)
      if (facts === null) throw noSuchObject()
      return facts
    } finally {
      await reader.close()
    }
  })
}

function describe({ headers }: Facts): [string, string][] {
  return Object.entries(PROPERTIES).flatMap(([name, word]): [string, string][] => {
    const value = header(headers, name)
    return value === undefined ? [] : [[word, value]]
  })
}

function readMetadata({ headers }: Facts): Record<string, string> {
  const names = Object.keys(headers).filter(name => name.startsWith(METADATA))
  return Object.fromEntries(
    names.map(name => [name.slice(METADATA.length), header(headers, name) ?? '']),
  )
}

/** `lastModified` as a person reads it. */
function toWords(name: string): string {
  return name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

function exact(number: number): string {
  return number.toLocaleString('en-US')
}
