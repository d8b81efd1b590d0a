/** Medians of turns, and ratios of two contenders' turns, taken within each round. */

/** Records a second. */
export function rate({ records, seconds }) {
  return records / seconds
}

/** Bytes a second. */
export const speed = turn => turn.bytes / turn.seconds

/** CPU seconds a byte. */
export const cpuPerByte = turn => turn.cpu / turn.bytes

/** @returns {{ median: number, min: number, max: number } | undefined} undefined of nothing */
export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return { median: (low + high) / 2, min: sorted[0], max: sorted.at(-1) }
}

/** `measure` of a's turns over that of b's turns of the same rounds. */
export function ratio(a, b, measure) {
  const rounds = Math.min(a.turns.length, b.turns.length)
  const ratios = Array.from({ length: rounds }, (_, i) => measure(a.turns[i]) / measure(b.turns[i]))
  return median(ratios)
}

/** Three digits that count. */
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
