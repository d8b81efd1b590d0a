/**
 * Loads credentials from a module, for a worker or a command, which cannot be given a function. The
 * caller checks the export as it checks the option `credentials`.
 */

import { statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { nameAndCode } from '../errors.ts'
import { type CredentialsOption, PROVIDER_METHODS } from './credentials.ts'

/**
 * The default export of a module: keys, a function that returns keys, an object with `getCredential()` or
 * `getCredentials()`, or a class of such objects whose constructor needs no argument
 * (`@alicloud/credentials`).
 * `name` is a `file:` URL, a path from the working directory, or a package. A package is looked up from
 * the working directory, then from this package; a file of that name goes before the second lookup.
 *
 * @param createError makes the error to throw, from a text without secrets
 */
export async function loadCredentialsModule(
  name: string,
  createError: (problem: string) => Error,
): Promise<CredentialsOption> {
  const credentials = await importDefault(name).catch(cause => {
    // A module may quote its own secrets.
    const { code, message } = nameAndCode(cause)
    const isMissing = code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND'
    const problem = isMissing ? missingModule(cause) : `${message}. Run it with node to see more`
    throw createError(`cannot be loaded: ${problem}`)
  })
  if (credentials === undefined) throw createError('the module has no default export')
  return credentials as CredentialsOption
}

/** Node's message without the name, which may be a key pasted by mistake. */
function missingModule(error: unknown): string {
  const [, what = 'module'] = /^Cannot find (module|package) /.exec((error as Error).message) ?? []
  return `Cannot find ${what} ...`
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
    // Otherwise a package that `require` cannot load, or one that is installed beside this package.
    return isPath || isFile ? pathToFileURL(resolve(name)).href : name
  }
}

function isProviderClass(value: unknown): value is new () => unknown {
  const prototype = (value as { prototype?: Record<string, unknown> } | null | undefined)?.prototype
  return PROVIDER_METHODS.some(name => typeof prototype?.[name] === 'function')
}
