/** What a test has left behind at its server: faults that never struck, and requests that were refused. */

import type { ServerContext } from './context.ts'
import { targetOf } from './fault-queue.ts'
import type { RequestRecord } from './log.ts'

/** One line for each fault that waits, and for each request that the rules refused unexpectedly. */
export function findLeftovers(server: ServerContext, expected: readonly string[]): string[] {
  const faults = server.faults.list().map(({ fault, times, struck }) => {
    const { kind, name = kind, key } = fault
    const scope = `on ${targetOf(fault)}${key === undefined ? '' : `, key ${key}`}`
    const count = struck === 0 ? 'never struck' : `struck ${struck} of ${struck + times} times`
    return Number.isFinite(times) || struck === 0 ? `the fault ${name} (${scope}) ${count}` : ''
  })
  const struckKeys = new Set<string>()
  const requests = server.requests.map(record => {
    const path = `${record.bucket}/${record.key}`
    if (record.faults !== undefined) struckKeys.add(path)
    if (struckKeys.has(path) || !isRefused(record) || expected.includes(record.code ?? ''))
      return ''
    return `${record.method} ${record.target} was refused: ${record.status} ${record.code}`
  })
  return [...faults, ...requests].filter(line => line !== '')
}

/** A HEAD or GET of an absent object (404) is no mistake. */
function isRefused({ status = 0, code, operation }: RequestRecord): boolean {
  const isLook = ['head', 'meta', 'get'].includes(operation ?? '') && code === 'NoSuchKey'
  return status >= 400 && !isLook
}
