/**
 * Where a command finds its object: OSS, by flags and environment, or a server in this process on a
 * folder. Whoever opens a place closes it.
 */

import { mkdirSync, statSync } from 'node:fs'
import type { Dispatcher } from 'undici'
import { KEEP_ALIVE } from '../client/agent.ts'
import { CLIENT_DEFAULTS } from '../client/client.ts'
import { loadCredentialsModule } from '../client/credentials-module.ts'
import { lockFolder } from '../folder-lock.ts'
import type { ClientOptions } from '../index.ts'
import type { Backend } from './commands.ts'
import { UsageError } from './usage-error.ts'

/** A place that can be talked to. */
export interface OpenBackend {
  /** How to reach it. */
  readonly clientOptions: ClientOptions
  /** It is this process, so a read costs nothing. */
  readonly isLocal: boolean
  close(): Promise<void>
}

/** What is to be done there. */
export type OpenMode = 'append' | 'read'

/** Runs `work` with a place that is open meanwhile. */
export async function withBackend<T>(
  backend: Backend,
  mode: OpenMode,
  work: (backend: OpenBackend) => Promise<T>,
): Promise<T> {
  const { local } = backend
  const opened = local === undefined ? await openOss(backend) : await openFolder(local, mode)
  try {
    return await work(opened)
  } finally {
    await opened.close()
  }
}

async function openFolder(dir: string, mode: OpenMode): Promise<OpenBackend> {
  const { createOssServer } = await import('../server/index.ts')
  if (mode === 'append') mkdirSync(dir, { recursive: true })
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

async function openOss({ clientOptions, credentials: name }: Backend): Promise<OpenBackend> {
  if (name === undefined) requireKeys()
  const credentials =
    name === undefined ? undefined : await loadCredentialsModule(name, credentialsError)
  const dispatcher = await createProxyAgent(clientOptions)
  return {
    clientOptions: { ...clientOptions, credentials, dispatcher },
    isLocal: false,
    close: async () => dispatcher?.destroy(),
  }
}

function credentialsError(problem: string): UsageError {
  return new UsageError(`--credentials: ${problem}`)
}

/** Asked for before anything is read: without them every request would be in vain. */
function requireKeys(): void {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET']
  if (names.every(name => process.env[name]?.trim())) return
  const alternatives = '--credentials MODULE, or --local DIR'
  throw new UsageError(`no keys for OSS: set ${names.join(' and ')}, or use ${alternatives}`)
}

/** The proxy that the environment names. Without one the client's own Agent is better. */
async function createProxyAgent({
  connectTimeout = CLIENT_DEFAULTS.connectTimeout,
}: ClientOptions): Promise<Dispatcher | undefined> {
  const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']
  const setNames = names.filter(name => process.env[name])
  if (setNames.length === 0) return undefined
  const invalid = setNames.find(name => !isProxyUrl(process.env[name] ?? ''))
  if (invalid) {
    const remedy = 'as in http://proxy.example:3128, user and password percent-encoded'
    throw new UsageError(`${invalid}: must be a URL, ${remedy}`)
  }
  const { EnvHttpProxyAgent } = await import('undici')
  const tls = { timeout: connectTimeout }
  return new EnvHttpProxyAgent({
    connect: tls,
    proxyTls: tls,
    requestTls: tls,
    keepAliveTimeout: KEEP_ALIVE,
    keepAliveMaxTimeout: KEEP_ALIVE,
  })
}

function isProxyUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    // undici does, and throws.
    decodeURIComponent(`${username}:${password}`)
    return /^https?:\/\//.test(text)
  } catch {
    return false
  }
}
