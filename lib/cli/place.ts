/**
 * Where a command finds its object: OSS, by flags and environment, or a server in this process on a
 * folder. Whoever opens a place closes it.
 */

import { existsSync, mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Dispatcher } from 'undici'
import type { ClientOptions, CredentialsOption } from '../index.ts'
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
  else if (!existsSync(dir)) throw new UsageError('--local: there is no such folder')
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
  const credentials = name === undefined ? undefined : await loadCredentials(name)
  const dispatcher = await createProxy(network.connectTimeout)
  return {
    options: { ...network, credentials, dispatcher },
    isLocal: false,
    close: async () => dispatcher?.destroy(),
  }
}

/** Asked for before anything is read: without them every request would be in vain. */
function requireKeys(): void {
  const names = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET']
  if (names.every(name => process.env[name]?.trim())) return
  const others = '--credentials MODULE, or --local DIR'
  throw new UsageError(`no keys for OSS: set ${names.join(' and ')}, or use ${others}`)
}

/** Below the idle timeout of usual proxies, as the client has it for itself. */
const KEEP_ALIVE = 15_000

/** The proxy that the environment names. Without one the client's own Agent is better. */
async function createProxy(connectTimeout = 5_000): Promise<Dispatcher | undefined> {
  const names = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']
  const given = names.filter(name => process.env[name])
  if (given.length === 0) return undefined
  const wrong = given.find(name => !isUrl(process.env[name] ?? ''))
  if (wrong) throw new UsageError(`${wrong}: must be a URL, as in http://proxy.example:3128`)
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
  return /^\w+:\/\//.test(text) && URL.canParse(text)
}

/**
 * What `--credentials` names: the default export of a module, which is keys, a function that gives
 * them, an object with `getCredential()` or `getCredentials()`, or a class of such objects that is made
 * without arguments (`@alicloud/credentials`). A path is looked up from the working directory, a
 * package there first and then beside this one.
 */
async function loadCredentials(name: string): Promise<CredentialsOption> {
  const url = locateModule(name)
  const { default: given }: { default?: unknown } = await import(url).catch(cause => {
    throw useless('cannot be loaded', cause)
  })
  // CommonJS compiled from ES modules has its default export one level further down.
  const value = (given as { default?: unknown } | undefined)?.default ?? given
  if (value === undefined) throw new UsageError('--credentials: the module has no default export')
  if (!isProviderClass(value)) return value as CredentialsOption
  try {
    return new value() as CredentialsOption
  } catch (cause) {
    throw useless('its class cannot be made', cause)
  }
}

/** Node quotes what it looked for, which may be a key that was pasted here. */
function useless(how: string, cause: unknown): UsageError {
  const problem = String((cause as Error | undefined)?.message ?? cause)
  return new UsageError(`--credentials: ${how}: ${problem.replaceAll(/(['"]).*?\1/g, '...')}`)
}

function locateModule(name: string): string {
  if (/^\.{1,2}[/\\]/.test(name) || isAbsolute(name)) return pathToFileURL(resolve(name)).href
  try {
    return pathToFileURL(createRequire(join(process.cwd(), 'x')).resolve(name)).href
  } catch {
    // A package without a door for `require`, or one that is installed beside us.
    return name
  }
}

function isProviderClass(value: unknown): value is new () => unknown {
  const prototype = (value as { prototype?: Record<string, unknown> } | null)?.prototype
  return ['getCredential', 'getCredentials'].some(name => typeof prototype?.[name] === 'function')
}
