/**
 * How a command reaches its object: OSS, described by flags and environment, or with `--local` a server in
 * this process on a folder.
 */

import { statSync } from 'node:fs'
import { findEndpoint } from '../client/create-exchange.ts'
import { loadCredentialsModule } from '../client/credentials-module.ts'
import { CLIENT_DEFAULTS } from '../client/options.ts'
import { lockFolder } from '../folder-lock.ts'
import type { ClientOptions, Credentials } from '../index.ts'
import type { Backend, CommandIO } from './commands.ts'
import { makeFolder } from './make-folder.ts'
import { findProxies } from './proxies.ts'
import { createProxyDispatcher } from './proxy-dispatcher.ts'
import type { RetryListener } from './retry-notice.ts'
import { UsageError } from './usage-error.ts'

export interface OpenBackend {
  /** Complete: a client needs nothing from the environment. */
  readonly clientOptions: ClientOptions
  /** The server is in this process, so reading costs nothing. */
  readonly isLocal: boolean
  close(): Promise<void>
}

/** `append` creates the folder of `--local` and locks it; `read` does neither. */
export type OpenMode = 'append' | 'read'

/** What a backend reads, and where its notes go. */
export interface BackendIO extends Pick<CommandIO, 'env'>, Pick<RetryListener, 'note'> {}

/** Opens the backend, runs `work`, and closes it again. */
export async function withBackend<T>(
  backend: Backend,
  mode: OpenMode,
  io: BackendIO,
  work: (backend: OpenBackend) => Promise<T>,
): Promise<T> {
  const { local } = backend
  const opened = local === undefined ? await openOss(backend, io) : await openFolder(local, mode)
  try {
    return await work(opened)
  } finally {
    await opened.close()
  }
}

async function openFolder(dir: string, mode: OpenMode): Promise<OpenBackend> {
  const { createOssServer } = await import('../server/index.ts')
  if (mode === 'append') makeFolder(dir)
  else if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError('--local: there is no such folder')
  }
  const unlock = mode === 'append' ? lockFolder(dir) : () => {}
  try {
    const server = await createOssServer({ dir })
    const { url: endpoint, region, credentials } = server
    return {
      clientOptions: { endpoint, region, credentials },
      isLocal: true,
      close: () => server.close().finally(unlock),
    }
  } catch (error) {
    unlock()
    throw error
  }
}

async function openOss(
  { clientOptions, credentials: moduleName }: Backend,
  { env, note }: BackendIO,
): Promise<OpenBackend> {
  const credentials =
    moduleName === undefined
      ? readKeys(env)
      : await loadCredentialsModule(moduleName, credentialsError)
  const resolved = findEndpoint(clientOptions, {
    OSS_ENDPOINT: readVariable(env, 'OSS_ENDPOINT'),
    OSS_REGION: readVariable(env, 'OSS_REGION'),
  })
  const { connectTimeout = CLIENT_DEFAULTS.connectTimeout } = clientOptions
  const { proxyFor, unsupported } = findProxies(resolved.origin, name => readVariable(env, name))
  if (unsupported !== undefined) note(unsupported)
  const proxies = proxyFor && (await createProxyDispatcher(proxyFor, connectTimeout))
  return {
    clientOptions: {
      ...clientOptions,
      endpoint: resolved.origin,
      region: resolved.region,
      credentials,
      dispatcher: proxies?.dispatcher,
    },
    isLocal: false,
    close: async () => proxies?.close(),
  }
}

function credentialsError(problem: string): UsageError {
  return new UsageError(`--credentials: ${problem}`)
}

/** A variable of the environment. Empty is the same as absent. */
function readVariable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = env[name]?.trim() || undefined
  if (value !== undefined && /^(["']).*\1$/s.test(value)) {
    const remedy = 'leave them out (docker --env-file keeps them as a part of the value)'
    throw new UsageError(`${name}: its value has quotes around it: ${remedy}`)
  }
  return value
}

/** The credentials in the environment. They are checked before any input is read. */
function readKeys(env: NodeJS.ProcessEnv): Credentials {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET', 'OSS_SESSION_TOKEN'] as const
  const [accessKeyId, accessKeySecret, securityToken] = names.map(name => readVariable(env, name))
  if (!accessKeyId || !accessKeySecret) {
    const variables = names.slice(0, 2).join(' and ')
    throw new UsageError(
      `no credentials: set ${variables}, or pass --credentials MODULE or --local DIR`,
    )
  }
  const values = [accessKeyId, accessKeySecret, securityToken]
  const wrong = names.find((_, index) => /[^\x20-\x7e]/.test(values[index] ?? ''))
  if (wrong) throw new UsageError(`${wrong}: must hold printable ASCII characters only`)
  return { accessKeyId, accessKeySecret, securityToken }
}
