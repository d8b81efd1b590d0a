/**
 * Credentials by the name of a module, for whoever can't be given a function: a worker, a command. Loads it,
 * and leaves what it exports to be checked as `credentials`.
 */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type CredentialsOption, PROVIDER_METHODS } from './credentials.ts'
import { redactNamed } from './redact.ts'

/**
 * The default export of a module: keys, a function that gives them, an object with `getCredential()` or
 * `getCredentials()`, or a class of such objects that is made without arguments (`@alicloud/credentials`).
 * The name is a `file:` URL, a path from the working directory, or a package, there first and then beside
 * this one. A file goes before the latter.
 *
 * @param createError makes the error to throw, of words without a secret
 */
export async function loadCredentialsModule(
  name: string,
  createError: (problem: string) => Error,
): Promise<CredentialsOption> {
  const credentials = await importDefault(name).catch(cause => {
    // Node quotes what it looked for, which may be a key that was pasted here; a module may name its own.
    const [message = ''] = String(cause?.message ?? cause).split(' imported from ')
    const problem = redactNamed(message).replaceAll(/(['"]).*?\1/g, '...')
    throw createError(`cannot be loaded: ${problem}`)
  })
  if (credentials === undefined) throw createError('the module has no default export')
  return credentials as CredentialsOption
}

async function importDefault(name: string): Promise<unknown> {
  const url = resolveModule(name)
  const { default: exported }: { default?: unknown } = await import(url)
  // CommonJS compiled from ES modules has its default export one level further down.
  const value = (exported as { default?: unknown } | null | undefined)?.default ?? exported
  return isProviderClass(value) ? new value() : value
}

function resolveModule(name: string): string {
  if (/^file:/.test(name)) return name
  try {
    return pathToFileURL(createRequire(join(process.cwd(), 'x')).resolve(name)).href
  } catch {
    const isPath = /^\.{1,2}[/\\]/.test(name) || isAbsolute(name)
    const isFile = statSync(name, { throwIfNoEntry: false })?.isFile()
    // Else a package without a door for `require`, or one that is installed beside us.
    return isPath || isFile ? pathToFileURL(resolve(name)).href : name
  }
}

function isProviderClass(value: unknown): value is new () => unknown {
  const prototype = (value as { prototype?: Record<string, unknown> } | null | undefined)?.prototype
  return PROVIDER_METHODS.some(name => typeof prototype?.[name] === 'function')
}
