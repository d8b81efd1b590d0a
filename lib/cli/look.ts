/** `oss-append stat` and `oss-append verify`: properties of an object, and its comparison with a file. */

import { addAbortSignal } from 'node:stream'
import { parseUrl } from '../client/endpoint.ts'
import { header } from '../client/response.ts'
import { update } from '../crc64/index.ts'
import { withBackend } from './backend.ts'
import type { Backend, CommandIO, StatCommand, VerifyCommand } from './commands.ts'
import { MismatchError, noSuchObjectError } from './failure.ts'
import { printable } from './printable.ts'
import type { ObjectHead } from './reader.ts'
import { formatRows } from './report.ts'
import { stderrListener } from './reporter.ts'
import { RetryingReader } from './retrying-reader.ts'
import { openSource } from './source.ts'

/** Milliseconds of retrying. */
const HEAD_MAX_ELAPSED = 30_000

/** Headers that are printed, in this order, and the names of their values in JSON. */
const HEADER_PROPERTIES = {
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

const METADATA_PREFIX = 'x-oss-meta-'

export async function stat(
  command: StatCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { url, backend, isJson } = command
  const head = await headObject(url, backend, io, signal)
  const { type, length, position, crc64, sealedTime } = head
  const properties = headerProperties(head)
  const metadata = readMetadata(head)
  if (isJson) {
    const sealed = type === 'Appendable' ? sealedTime !== undefined : undefined
    const known = { url, type, length, position, crc64, sealed, sealedTime }
    const named = Object.fromEntries(properties)
    const tags = named.tags === undefined ? undefined : Number(named.tags)
    const text = JSON.stringify({ ...known, ...named, tags, metadata })
    io.stdout.write(`${text}\n`)
    return 0
  }
  const reported: [string, string | undefined][] = [
    ['type', type],
    ['length', formatInteger(length)],
    ['CRC-64', crc64],
    ['sealed', sealedTime ?? (type === 'Appendable' ? 'no' : undefined)],
    ...properties.map(([name, value]): [string, string] => [splitCamelCase(name), value]),
    ...Object.entries(metadata).map(([name, value]): [string, string] => [`meta ${name}`, value]),
  ]
  const rows = reported.map(([label, value]) => [label, value && printable(value)] as const)
  io.stdout.write(formatRows([['object', url], ...rows]))
  return 0
}

export async function verify(
  command: VerifyCommand,
  io: CommandIO,
  signal: AbortSignal,
): Promise<number> {
  const { file, url, backend, isJson } = command
  const source = await openSource(file, io)
  let head: ObjectHead
  try {
    head = await headObject(url, backend, io, signal)
  } catch (error) {
    source.stream.destroy()
    throw error
  }
  const { length, crc64 } = await readTail(addAbortSignal(signal, source.stream))
  const differences: string[] = []
  if (head.length !== length) {
    differences.push(
      `the object has ${formatInteger(head.length)} bytes, not ${formatInteger(length)}`,
    )
  } else if (head.crc64 !== crc64) {
    differences.push(`the object's CRC-64 is ${head.crc64 ?? 'unknown'}, not ${crc64}`)
  }
  const isVerified = differences.length === 0
  if (isJson) {
    const object = { length: head.length, crc64: head.crc64 }
    const text = JSON.stringify({ file, url, length, crc64, object, verified: isVerified })
    io.stdout.write(`${text}\n`)
  } else {
    const rows: [string, string][] = [
      ['file', source.name],
      ['', `${formatInteger(length)} bytes, CRC-64 ${crc64}`],
      ['object', url],
      ['', `${formatInteger(head.length)} bytes, CRC-64 ${head.crc64 ?? 'unknown'}`],
    ]
    io.stdout.write(formatRows(rows))
  }
  if (!isVerified) throw new MismatchError(differences)
  if (!isJson) io.stdout.write('verified\n')
  return 0
}

/** Length and CRC-64 of a file. */
async function readTail(chunks: AsyncIterable<Buffer>): Promise<{ length: number; crc64: string }> {
  let crc = 0n
  let length = 0
  for await (const chunk of chunks) {
    crc = update(crc, chunk)
    length += chunk.length
  }
  return { length, crc64: crc.toString() }
}

/** Rejects with `NoSuchKey` if the object does not exist. */
async function headObject(
  url: string,
  backend: Backend,
  io: CommandIO,
  signal: AbortSignal,
): Promise<ObjectHead> {
  const target = parseUrl(url)
  const listener = stderrListener(io.stderr)
  const { note } = listener
  return withBackend(backend, 'read', { env: io.env, note }, async ({ clientOptions }) => {
    const reader = new RetryingReader(clientOptions, {
      signal,
      maxElapsed: HEAD_MAX_ELAPSED,
      listener,
    })
    try {
      const head = await reader.head(target)
      if (head === null) throw noSuchObjectError()
      return head
    } finally {
      await reader.close()
    }
  })
}

function headerProperties({ headers }: ObjectHead): [string, string][] {
  return Object.entries(HEADER_PROPERTIES).flatMap(([name, property]): [string, string][] => {
    const value = header(headers, name)
    return value === undefined ? [] : [[property, value]]
  })
}

function readMetadata({ headers }: ObjectHead): Record<string, string> {
  const names = Object.keys(headers).filter(name => name.startsWith(METADATA_PREFIX))
  return Object.fromEntries(
    names.map(name => [name.slice(METADATA_PREFIX.length), header(headers, name) ?? '']),
  )
}

/** `last modified` for `lastModified`. */
function splitCamelCase(name: string): string {
  return name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

function formatInteger(number: number): string {
  return number.toLocaleString('en-US')
}
