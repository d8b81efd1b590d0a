/** Errors of the file system as `OSS_ERR_JOURNAL`. */

import { journalError, nameAndCode, OssError } from '../errors.ts'

/** By the code of Node. */
const REMEDIES: Readonly<Record<string, string>> = {
  EACCES: 'the process may not read or write there',
  EPERM: 'the process may not read or write there',
  ENOTDIR: 'it is no folder',
  EEXIST: 'a file is in its place',
  ENOENT: 'it is gone, or a file in it is',
  ENAMETOOLONG: 'the path is too long',
  EMFILE: 'the process has too many open files',
  ENFILE: 'the machine has too many open files',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the disk is used up',
}

/** `folder`: where the file system was asked for something. */
export function asJournalError(error: unknown, folder: string): Error {
  const cause = nameAndCode(error)
  // Anything else is a defect of this package, so its stack matters.
  if (error instanceof OssError || !/^E[A-Z0-9]+$/.test(cause.code ?? '')) return error as Error
  const reason = REMEDIES[cause.code ?? ''] ?? 'the disk may be failing'
  return journalError(`the journal cannot be used: ${cause.code}, ${reason}`, {
    file: folder,
    cause,
  })
}

export function diskFull(): Error {
  return Object.assign(new Error('the disk is full'), { code: 'ENOSPC' })
}
