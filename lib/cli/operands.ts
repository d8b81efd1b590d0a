/** The operands of a command: how many there are, which of them is the object, and which is a folder. */

import { basename } from 'node:path'
import { showValue, UsageError } from './usage-error.ts'

export const URL_NAME = 'oss://BUCKET/KEY'

/** `names` are those of the operands that must be given. `optional`: how many others may follow. */
export function checkOperands(
  operands: readonly string[],
  names: readonly string[],
  optional = 0,
): readonly string[] {
  if (operands.length < names.length) {
    const isMissing = (name: string) =>
      name === URL_NAME ? !operands.some(isUrl) : operands.every(isUrl)
    throw new UsageError(`${names.find(isMissing)} is missing`)
  }
  const extra = operands[names.length + optional]
  if (extra !== undefined) throw new UsageError(`unexpected argument ${showValue(extra)}`)
  return operands
}

export function isUrl(text: string): boolean {
  return text.startsWith('oss://')
}

export function checkUrl(url: string): string {
  if (isUrl(url)) return url
  throw new UsageError(`the object must be ${URL_NAME}, and not ${showValue(url)}`)
}

/** As `cp` does it: a URL that ends in a slash is a folder for the file. */
export function withFileName(url: string, file: string | undefined): string {
  if (!/^oss:\/\/[^/]+\/(.*\/)?$/s.test(url)) return url
  if (file !== undefined && file !== '-') return url + basename(file)
  throw new UsageError('the url ends in a slash: add a name, since standard input has none')
}

/** The folder of a journal. */
export function checkDir(dir: string): string {
  if (dir !== '' && !isUrl(dir)) return dir
  throw new UsageError('DIR is missing: name the folder of a journal')
}
