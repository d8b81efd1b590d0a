/**
 * Where a command finds its object: OSS, by flags and environment, or a server in this process on a
 * folder. Whoever opens a place closes it.
 */

import { mkdirSync, statSync } from 'node:fs'
import type { Dispatcher } from 'undici'
import { KEEP_ALIVE } from '../client/agent.ts'
import { CLIENT_DEFAULTS } from '../client.ts'
import type { ClientOptions } from '../index.ts'
import { loadProvider } from '../provider-module.ts'
import type { Place } from './commands.ts'
import { lockFolder } from './lock.ts'
import { UsageError } from './usage.ts'

/** A place that can be talked to. */
export interface OpenPlace {
  /** How to reach it. */
  readonly options: ClientOptions
  /** It is this process, so a read costs nothing. */
  readonly isLocal: boolean
  close(): Promise<void>
}

/** What is to be done there. */
export type Purpose = 'append' | 'read'

/** Runs `work` with a place that is open meanwhile. */
export async function at<T>(
  place: Place,
  purpose: Purpose,
  work: (place: OpenPlace) => Promise<T>,
): Promise<T> {
  const { local } = place
  const open = local === undefined ? await openOss(place) : await openFolder(local, purpose)
  try {
    return await work(open)
  } finally {
    await open.close()
  }
}

async function openFolder(dir: string, purpose: Purpose): Promise<OpenPlace> {
  const { createOssServer } = await import('../server/index.ts')
  if (purpose === 'append') mkdirSync(dir, { recursive: true })
  else if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    throw new UsageError('--local: there is no such folder')
  }
  const unlock = purpose === 'append' ? lockFolder(dir) : () => {}
  try {
    const server = await createOssServer({ dir })
    const { url: endpoint, region, credentials } = server
    return {
      options: { endpoint, region, credentials },
      isLocal: true,
      close: () => server.close().finally(unlock),
    }
  } catch (error) {
    unlock()
    throw error
  }
}

async function openOss({ network, credentials: name }: Place): Promise<OpenPlace> {
  if (name === undefined) requireKeys()
  const credentials = name === undefined ? undefined : await loadProvider(name, refuse)
  const dispatcher = await createProxy(network)
  return {
    options: { ...network, credentials, dispatcher },
    isLocal: false,
    close: async () => dispatcher?.destroy(),
  }
}

function refuse(problem: string): UsageError {
  return new UsageError(`--credentials: ${problem}`)
}

/** Asked for before anything is read: without them every request would be in vain. */
function requireKeys(): void {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET']
  if (names.every(name => process.env[name]?.trim())) return
  const others = '--credentials MODULE, or --local DIR'
  throw new UsageError(`no keys for OSS: set ${names.join(' and ')}, or use ${others}`)
}

/** The proxy that the environment names. Without one the client's own Agent is better. */
async function createProxy({
  connectTimeout = CLIENT_DEFAULTS.connectTimeout,
}: ClientOptions): Promise<Dispatcher | undefined> {
  const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']
  const given = names.filter(name => process.env[name])
  if (given.length === 0) return undefined
  const wrong = given.find(name => !isUrl(process.env[name] ?? ''))
  if (wrong) {
    const mend = 'as in http://proxy.example:3128, user and password percent-encoded'
    throw new UsageError(`${wrong}: must be a URL, ${mend}`)
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

function isUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    // undici does, and throws.
    decodeURIComponent(`${username}:${password}`)
    return /^https?:\/\//.test(text)
  } catch {
    return false
  }
}
