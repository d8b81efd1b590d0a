/**
 * Which bytes of an object a Range header asks for. By default OSS answers a range that is not wholly inside
 * the object with 200 and the whole object. With `x-oss-range-behavior: standard` it follows HTTP: the range
 * is cut to the end, or refused with 416. Of several ranges OSS serves the first. (Alibaba Cloud, "HTTP
 * Range requests".)
 */

/** Bytes [start, end), the whole object, or a range that does not exist. */
export type ByteRange = { readonly start: number; readonly end: number } | 'whole' | 'unsatisfiable'

/** Reads a Range header for an object of `length` bytes. */
export function parseRange(
  header: string | undefined,
  length: number,
  isStandard: boolean,
): ByteRange {
  const match = /^bytes=(\d{0,15})-(\d{0,15})(?:,[\d, -]*)?$/.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (first === '' && last === '') return 'whole'
  if (first === '') return parseSuffix(Number(last), length, isStandard)
  const start = Number(first)
  const end = last === '' ? length : Number(last) + 1
  if (end <= start && last !== '') return 'whole'
  if (start >= length) return isStandard ? 'unsatisfiable' : 'whole'
  if (end > length) return isStandard ? { start, end: length } : 'whole'
  return { start, end }
}

/** The last `count` bytes. */
function parseSuffix(count: number, length: number, isStandard: boolean): ByteRange {
  if (count === 0 || length === 0) return isStandard ? 'unsatisfiable' : 'whole'
  if (count > length) return isStandard ? { start: 0, end: length } : 'whole'
  return { start: length - count, end: length }
}
