/**
 * A program that uses everything public, as its author would write it. It is compiled, never run: from
 * the packed package, as an ES module and as CommonJS, by every TypeScript that is supported.
 */

import { pipeline } from 'node:stream/promises'
import {
  type Align,
  type AppendInfo,
  type AppendRequest,
  type AppendResult,
  type AppendStreamOptions,
  type AttemptTrace,
  type Client,
  type ClientOptions,
  type Credentials,
  type CredentialsLike,
  type CredentialsOption,
  crc64,
  crc64Combine,
  createAppendStream,
  createRollingAppendStream,
  type Damage,
  type GzipMembersOptions,
  gzipMembers,
  type Head,
  type JournalOptions,
  type KeyFunction,
  type KeyParts,
  type ObjectAcl,
  type ObjectRange,
  type ObservedTail,
  OssAppendStream,
  type OssAppendStreamEvents,
  OssClient,
  type OssConflictDetails,
  OssConflictError,
  OssError,
  type OssErrorCode,
  type OssErrorDetails,
  OssServiceError,
  type OssServiceErrorDetails,
  type RangeRequest,
  type ReadyInfo,
  type RecordAddress,
  type RecoverInfo,
  type RetryInfo,
  type RetryPolicy,
  type RollInfo,
  RollingAppendStream,
  type RollingAppendStreamEvents,
  type RollingAppendStreamOptions,
  type ServerSideEncryption,
  type StorageClass,
  skipExisting,
  type Tail,
  type Target,
  type UrlOptions,
} from 'oss-append-stream'
import transport, {
  createTransport,
  type PinoTransport,
  type DropInfo as SameDropInfo,
  type RollInfo as SameRollInfo,
  type TransportOptions as SameTransportOptions,
  type TransportStats as SameTransportStats,
  type UndeliveredError as SameUndeliveredError,
  type WorkerOptions,
} from 'oss-append-stream/pino'
import {
  type Attributes,
  type Buckets,
  type ControlOptions,
  createOssServer,
  type Fault,
  type FaultKind,
  type FaultQueue,
  type FaultScope,
  type FaultTarget,
  type LandingEvent,
  type ObjectState,
  type Operation,
  type OssServer,
  type OssServerOptions,
  type RequestRecord,
  type ServerCredentials,
  type Unanswered,
  type WaitingFault,
} from 'oss-append-stream/server'
import {
  type DropInfo,
  type RollInfo as OneRollInfo,
  OssTransport,
  type OssTransportOptions,
  type TransportOptions,
  type TransportStats,
  type UndeliveredError,
} from 'oss-append-stream/winston'
import { pino } from 'pino'
import { createLogger } from 'winston'

/** True if both types are the same; `any` is the same as no other type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

/** Compiles only if `A` is `B`, and not just assignable to it. */
function same<A, B>(..._proof: Same<A, B> extends true ? [] : [never]): void {}

/** As the environment has it: a string or undefined. */
const { OSS_REGION: region } = process.env

export const retry: RetryPolicy = { maxRetries: 5, maxElapsed: 1000, minDelay: 1, maxDelay: 2 }
export const credentials: CredentialsOption = async (): Promise<Credentials> => ({
  accessKeyId: 'id',
  accessKeySecret: 'secret',
})
export const lends: CredentialsOption = {
  getCredentials: async (): Promise<CredentialsLike> => ({
    accessKeyId: 'id',
    accessKeySecret: 'secret',
  }),
}
export const network: ClientOptions = { region, endpoint: undefined, pathStyle: true, credentials }
export const creation: {
  acl: ObjectAcl
  storageClass: StorageClass
  serverSideEncryption: ServerSideEncryption
} = { acl: 'private', storageClass: 'IA', serverSideEncryption: 'AES256' }
const options: AppendStreamOptions = {
  ...network,
  ...creation,
  bucket: 'examplebucket',
  key: 'a.log',
  position: 'end',
  align: '\n' satisfies Align,
  retry,
  expires: new Date(),
  tagging: { team: 'logs' },
  signal: new AbortController().signal,
}

export async function plainStream(source: AsyncIterable<string>): Promise<Tail> {
  const stream = createAppendStream(options)
  same<typeof stream, OssAppendStream>()
  createAppendStream('oss://examplebucket/a.log')
  const behindUrl: UrlOptions = { region, align: 'chunk' }
  createAppendStream('oss://examplebucket/a.log', behindUrl)
  const fromEnvironment: string | AppendStreamOptions = process.argv[2] ?? options
  createAppendStream(fromEnvironment)
  same<
    typeof createAppendStream,
    (first: string | AppendStreamOptions, options?: UrlOptions) => OssAppendStream
  >()
  const constructed: OssAppendStream[] = [
    new OssAppendStream(options),
    new OssAppendStream('oss://examplebucket/a.log', behindUrl),
  ]
  for (const each of constructed) each.destroy()

  stream
    .on('ready', info => same<typeof info, ReadyInfo>())
    .once('append', info => same<typeof info, AppendInfo>())
    .prependListener('retry', ({ error, delay }) => {
      same<typeof error, OssError>()
      same<typeof error.code, OssErrorCode | (string & {})>()
      same<typeof delay, number>()
    })
    .on('error', error => same<typeof error, Error>())
    .on('pipe', readable => readable.pause())
    .once('close', () => {})
    .on('a name of my own', (count: number) => count)
  const same2 = stream.off('append', () => {}).addListener('finish', () => {})
  same<typeof same2, OssAppendStream>()
  stream.emit('a name of my own', 1)
  await new Promise(resolve => stream.once('close', resolve))
  await new Promise<AppendInfo>(resolve => stream.once('append', resolve))

  // @ts-expect-error: no such member
  stream.on('append', info => info.offset)
  // @ts-expect-error: what comes is an object
  stream.on('append', (bytes: number) => bytes)
  // @ts-expect-error: the plain stream does not roll, so this is any name, and its listener not known
  stream.on('roll', info => same<typeof info, RollInfo>())
  // @ts-expect-error: it carries something
  stream.emit('ready')
  same<typeof stream.key, string | undefined>()
  same<typeof stream.position, number | undefined>()
  same<typeof stream.crc64, string | undefined>()
  same<typeof stream.pending, boolean>()
  stream.write(new Uint8Array(3), error => error?.message)
  stream.write('text', 'latin1')
  stream.flush((error, tail) => error?.message ?? tail?.crc64)
  const address = stream.append('a record\n')
  same<typeof address, Promise<RecordAddress>>()
  stream.append(new Uint8Array(3)).then(({ key, position, length }) => [key, position + length])
  // @ts-expect-error: a string or bytes
  stream.append({ n: 1 })
  stream.close(error => error?.message)
  await pipeline(source, skipExisting(stream), stream)
  await pipeline(source, gzipMembers(), stream, { signal: new AbortController().signal })
  await stream[Symbol.asyncDispose]()
  // @ts-expect-error: it is the stream's to say
  stream.position = 3
  return stream.flush()
}

export async function journal(): Promise<void> {
  const kept: JournalOptions = { dir: '/var/lib/app/oss', maxBytes: 1e9, sync: 'always' }
  const stream = createAppendStream({ ...options, journal: kept })
  stream.once('recover', info => {
    same<typeof info, RecoverInfo>()
    const damaged: readonly Damage[] = info.damaged
    return damaged.map(({ file, bytes, reason }) => `${file} ${bytes} ${reason}`)
  })
  same<ReturnType<typeof stream.journaled>, Promise<void>>()
  await stream.journaled()
  await stream.suspend()
  createAppendStream({ ...options, journal: '/var/lib/app/oss' })
  // @ts-expect-error: a number of milliseconds, or one of two words
  createAppendStream({ ...options, journal: { dir: '/var/lib/app/oss', sync: 'sometimes' } })
}

/** Counts listeners: a subclass may override `on()` as it may override that of any Writable. */
export class Counting extends OssAppendStream {
  readonly counts = new Map<string | symbol, number>()

  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  override on(event: string | symbol, listener: (...args: any[]) => void): this {
    this.counts.set(event, (this.counts.get(event) ?? 0) + 1)
    return super.on(event, listener)
  }

  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  override emit(event: string | symbol, ...args: any[]): boolean {
    return super.emit(event, ...args)
  }
}
new Counting(options).on('append', ({ length }) => length).destroy()

export class Careful extends RollingAppendStream {
  override once<E extends keyof RollingAppendStreamEvents>(
    event: E,
    listener: (...args: RollingAppendStreamEvents[E]) => void,
  ): this
  override once(event: string | symbol, listener: () => void): this
  override once(event: string | symbol, listener: () => void): this {
    return super.once(event, listener)
  }
}
export const eventNames: readonly (keyof OssAppendStreamEvents)[] = ['ready', 'append', 'retry']

export function rollingStream(): RollingAppendStream {
  const key: KeyFunction = ({ date, index }: KeyParts) => `${date.getUTCFullYear()}-${index}.log`
  const rolling: RollingAppendStreamOptions = { bucket: 'examplebucket', key, maxBytes: 1e9 }
  const stream = createRollingAppendStream(rolling)
  stream
    .on('roll', info => same<typeof info, RollInfo>())
    .once('retry', info => same<typeof info, RetryInfo>())
    .on('append', info => same<typeof info, AppendInfo>())
    .on('error', error => same<typeof error, Error>())
  same<RollingAppendStreamEvents['roll'], [info: RollInfo]>()
  new RollingAppendStream(rolling).once('roll', info => same<typeof info, RollInfo>()).destroy()
  // @ts-expect-error: a date, not a text
  stream.on('roll', ({ endedAt }) => endedAt.slice(10))
  // @ts-expect-error: it begins where the object ends
  createRollingAppendStream({ ...rolling, position: 0 })
  // @ts-expect-error: a key is needed
  createRollingAppendStream({ bucket: 'examplebucket' })
  const plain: OssAppendStream = stream
  return plain instanceof RollingAppendStream ? plain : stream
}

export const members: GzipMembersOptions = { level: 9, memberBytes: 65_536, flushInterval: 0 }

export function misuse(): void {
  // @ts-expect-error: highWaterMark
  createAppendStream({ ...options, highWatermark: 1 })
  // @ts-expect-error: 'start' is not a position
  createAppendStream({ ...options, position: 'start' })
  // @ts-expect-error: a checksum is a text, since a number can't hold it
  createAppendStream({ ...options, crc64: 1234 })
  // @ts-expect-error: half of a key
  createAppendStream({ ...options, credentials: { accessKeyId: 'id' } })
  // @ts-expect-error: no object is named
  createAppendStream()
  // @ts-expect-error: no object is named
  createAppendStream({ region })
  // @ts-expect-error: the url names the bucket
  createAppendStream('oss://examplebucket/a.log', { bucket: 'examplebucket' })
  // @ts-expect-error: the url names the key
  createAppendStream('oss://examplebucket/a.log', { key: 'a.log' })
  // @ts-expect-error: no bucket is named
  createRollingAppendStream({ key: '{yyyy}.log' })
  // @ts-expect-error: internals are not injected by the constructor
  new OssAppendStream(options, () => options.client)
  // @ts-expect-error: nor the clock
  new RollingAppendStream({ bucket: 'examplebucket', key: 'a.log' }, () => new Date())
  // @ts-expect-error: no object is named
  new OssAppendStream({ region })
  // @ts-expect-error: a compression level is a number
  gzipMembers({ level: '9' })
  // @ts-expect-error: a Writable in general has no tail
  skipExisting(process.stdout)
  // @ts-expect-error: the checksum of a number
  crc64(1)
}

export function tell(error: unknown): string {
  if (error instanceof OssConflictError) {
    same<typeof error.seen, ObservedTail>()
    return `${error.before.position} ${error.after.position} ${error.seen.crc64}`
  }
  if (error instanceof OssServiceError) {
    same<typeof error.requestId, string>()
    return `${error.status} ${error.code} ${error.requestId} ${error.ec ?? ''}`
  }
  if (error instanceof OssError) {
    const code: OssErrorCode = 'OSS_ERR_INTEGRITY'
    return error.code === code ? 'broken' : `${error.unresolved?.position} ${error.tail?.position}`
  }
  return String(error)
}

export function fail(): never {
  const details: OssErrorDetails = { bucket: 'examplebucket', isRefreshable: true }
  const refused: OssServiceErrorDetails = { ...details, status: 403, requestId: '' }
  const tail: ObservedTail = { position: 1, crc64: '1' }
  const conflict: OssConflictDetails = { ...details, before: tail, after: tail, seen: tail }
  const cause = new OssConflictError('a rival', conflict)
  throw new OssServiceError('AccessDenied', 'no', { ...refused, cause })
}

export const checksum: string = crc64Combine(crc64('a'), crc64(new Uint8Array(1), '0'), 1)

/** A custom client. */
export class Nowhere implements Client {
  async head(target: Target, { signal }: { signal: AbortSignal }): Promise<Head | null> {
    signal.throwIfAborted()
    return target.key === '' ? { type: 'Appendable', length: 0, requestId: '' } : null
  }
  async read(_target: Target, { start, end, signal }: RangeRequest): Promise<ObjectRange> {
    signal.throwIfAborted()
    async function* body() {
      yield Buffer.alloc(end - start)
    }
    return { length: end, crc64: '0', requestId: '', body: body() }
  }
  async append(_target: Target, { position, body }: AppendRequest): Promise<AppendResult> {
    return { position: position + body.length, requestId: '' }
  }
  async close(): Promise<void> {}
}
export const clients: Client[] = [new Nowhere(), new OssClient(network)]
createAppendStream({ bucket: 'examplebucket', key: 'a.log', client: new Nowhere() })

export function traced(trace: AttemptTrace): string {
  return `${trace.bucket}/${trace.key} ${trace.attempt} ${trace.position ?? ''}`
}

export async function serve(): Promise<Buffer | undefined> {
  const control: ControlOptions = { port: 0 }
  const serving: OssServerOptions = { port: 0, region: 'cn-hangzhou', seal: true, control }
  const server: OssServer = await createOssServer(serving)
  const faults: FaultQueue = server.faults
  const how: Unanswered = 'reset'
  const on: FaultTarget = 'append'
  const kind: FaultKind = { kind: 'lost', how }
  const scope: FaultScope = { on, times: 2 }
  const lands: LandingEvent = 'beforeNext'
  const fault: Fault = { ...scope, ...kind }
  faults.push(fault, { kind: 'late', how, lands })
  const waiting: readonly Readonly<WaitingFault>[] = faults.list()
  // @ts-expect-error: no such fault
  faults.push({ kind: 'flood' })
  // Members that only the handling of requests needs are not declared.
  type Inner = 'objects' | 'identities' | 'late' | 'canSeal' | 'newRequestId' | 'cnames' | 'host'
  same<Extract<keyof OssServer, Inner | 'signal'>, never>()
  const buckets: Buckets = server.buckets
  const keys: ServerCredentials = server.credentials
  const request: RequestRecord | undefined = server.requests[0]
  const operation: Operation | undefined = request?.operation
  const state: ObjectState | undefined = server.stat('examplebucket', 'a.log')
  const attributes: Attributes | undefined = state?.attributes
  createAppendStream({ ...options, endpoint: server.url, credentials: keys })
  await server.close()
  return operation && attributes && buckets && waiting.length
    ? server.read('examplebucket', 'a.log')
    : undefined
}

export async function loggers(): Promise<void> {
  const logging: TransportOptions = { bucket: 'examplebucket', key: '{yyyy}.log', maxBuffered: 1e6 }
  const inProcess = createTransport(logging)
  same<typeof inProcess, PinoTransport>()
  same<
    [SameDropInfo, SameRollInfo, SameTransportOptions, SameTransportStats, SameUndeliveredError],
    [DropInfo, RollInfo, TransportOptions, TransportStats, UndeliveredError]
  >()
  same<OneRollInfo, RollInfo>()
  const logger = pino({ level: 'info' }, inProcess)
  logger.info('hello')
  const stats = inProcess.stats()
  same<typeof stats, TransportStats>()
  inProcess
    .on('drop', ({ records }: DropInfo) => logger.warn(`${records} dropped`))
    .once('warn', error => same<typeof error, OssError>())
    .on('retry', ({ error }) => same<typeof error, OssError>())
    .on('roll', info => same<typeof info, RollInfo>())
    .off('close', () => {})
  // @ts-expect-error: what comes is an error
  inProcess.on('warn', (text: string) => text)
  const worker: WorkerOptions = { ...logging, credentials: './keys.js' }
  await (await transport(worker)).flush()

  const winston: OssTransportOptions = { ...logging, level: 'info', eol: '\n' }
  const oss = new OssTransport(winston)
  createLogger({ transports: [oss] }).info('hello')
  oss.on('warn', error => same<typeof error, OssError>()).once('drop', info => info.records)
  // @ts-expect-error: no such member
  oss.on('drop', info => info.lines)
  await oss.flush()
  same<typeof oss.failed, UndeliveredError | undefined>()
  // @ts-expect-error: records are whole by themselves
  createTransport({ ...logging, align: '\n' })
  // @ts-expect-error: a level is a name
  new OssTransport({ ...logging, level: 30 })
}
