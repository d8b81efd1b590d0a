/**
 * A transport for pino: NDJSON lines to an appendable object. pino's worker runs the default export, as in
 * `pino.transport({ target: 'oss-append-stream/pino', options })`. `createTransport` makes one for the same
 * thread. It does not load pino.
 */

import { isMainThread, workerData } from 'node:worker_threads'
import type { Credentials } from '../client/credentials.ts'
import { loadCredentialsModule } from '../client/credentials-module.ts'
import { invalidOption } from '../errors.ts'
import { checkObject } from '../validate.ts'
import type { TransportOptions } from './outbox.ts'
import { PinoTransport } from './pino-transport.ts'
import { WorkerTransport } from './pino-worker.ts'

export {
  type DropInfo,
  type RollInfo,
  type TransportOptions,
  type TransportStats,
  UndeliveredError,
} from './outbox.ts'
export { PinoTransport }

/** The options of a transport in a worker. They must be plain data, because they are copied to the worker. */
export interface WorkerOptions extends Omit<TransportOptions, 'credentials'> {
  /**
   * The keys, or the name of a module whose default export is a provider, a class of providers, or keys. The
   * name is a path or a package as seen from the working directory, or a `file:` URL. Default: the environment
   * as it was when the worker started.
   */
  readonly credentials?: string | Credentials | undefined
}

/**
 * Makes a transport that runs in this thread: `pino(options, createTransport({ bucket, key }))`.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION` at once, naming the option.
 */
export function createTransport(options: TransportOptions): PinoTransport {
  return new PinoTransport(options)
}

/**
 * The function that pino calls in its worker. Does not wait for the network.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, as a rejection, naming the option.
 */
export default async function transport(options: WorkerOptions): Promise<PinoTransport> {
  // pino adds these two for its worker. The stream would refuse them as unknown options.
  const { $context, pinoWillSendConfig, ...transportOptions } = checkObject(
    'options',
    options as WorkerOptions & OptionsAddedByPino,
  )
  const credentials = await resolveCredentials(options)
  const isPinoWorker = !isMainThread && workerData?.stateBuf instanceof SharedArrayBuffer
  const TransportClass = isPinoWorker ? WorkerTransport : PinoTransport
  return new TransportClass({ ...transportOptions, credentials })
}

interface OptionsAddedByPino {
  readonly $context?: unknown
  readonly pinoWillSendConfig?: unknown
}

async function resolveCredentials({
  credentials,
}: WorkerOptions): Promise<TransportOptions['credentials']> {
  if (typeof credentials !== 'string') return credentials
  return loadCredentialsModule(credentials, problem => invalidOption('credentials', problem))
}
