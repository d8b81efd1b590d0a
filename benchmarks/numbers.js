/** Medians of turns, and ratios of the turns of two contenders in the same round. */

/** Records per second. */
export function rate({ records, seconds }) {
  return records / seconds
}

/** Bytes per second. */
export const speed = turn => turn.bytes / turn.seconds

/** CPU seconds per byte. */
export const cpuPerByte = turn => turn.cpu / turn.bytes

/** @returns {{ median: number, min: number, max: number } | undefined} undefined without values */
export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return { median: (low + high) / 2, min: sorted[0], max: sorted.at(-1) }
}

/** `measure(a)` / `measure(b)` for the turns of each round. */
export function ratio(a, b, measure) {
  const rounds = Math.min(a.turns.length, b.turns.length)
  const ratios = Array.from({ length: rounds }, (_, i) => measure(a.turns[i]) / measure(b.turns[i]))
  return median(ratios)
}

/** A number with three significant digits. */
export function digits(value) {
  if (value === undefined || !Number.isFinite(value)) return '-'
  if (Number.isInteger(value)) return String(value)
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return Math.abs(value) < 0.1 && value !== 0
    ? String(Number(value.toPrecision(2)))
    : value.toFixed(places)
}

/** `1.23 (1.10-1.40)` */
export function spread(of, scale = 1) {
  if (of === undefined) return '-'
  const [middle, min, max] = [of.median, of.min, of.max].map(value => digits(value * scale))
  return `${middle} (${min}-${max})`
}
