/**
 * Credentials by the name of a module, for whoever can't be given a function: a worker, a command. Loads it,
 * and leaves what it exports to be checked as `credentials`.
 */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { concealNamed } from './conceal.ts'
import { type CredentialsOption, PROVIDER_METHODS } from './credentials.ts'

/**
 * The default export of a module: keys, a function that gives them, an object with `getCredential()` or
 * `getCredentials()`, or a class of such objects that is made without arguments (`@alicloud/credentials`).
 * The name is a `file:` URL, a path from the working directory, or a package, there first and then beside
 * this one. A file goes before the latter.
 *
 * @param refuse makes the error to throw, of words without a secret
 */
export async function loadProvider(
  name: string,
  refuse: (problem: string) => Error,
): Promise<CredentialsOption> {
  const provider = await load(name).catch(cause => {
    // Node quotes what it looked for, which may be a key that was pasted here; a module may name its own.
    const [words = ''] = String(cause?.message ?? cause).split(' imported from ')
    const problem = concealNamed(words).replaceAll(/(['"]).*?\1/g, '...')
    throw refuse(`cannot be loaded: ${problem}`)
  })
  if (provider === undefined) throw refuse('the module has no default export')
  return provider as CredentialsOption
}

async function load(name: string): Promise<unknown> {
  const url = locate(name)
  const { default: given }: { default?: unknown } = await import(url)
  // CommonJS compiled from ES modules has its default export one level further down.
  const value = (given as { default?: unknown } | null | undefined)?.default ?? given
  return isProviderClass(value) ? new value() : value
}

function locate(name: string): string {
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
