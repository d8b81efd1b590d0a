/** Writes the results as Markdown: the targets, then a table for each case. */

import { cpus, totalmem } from 'node:os'
import { cases } from './cases.js'
import { LENGTHS, SIZES } from './contenders/sizes.js'
import { cpuPerByte, digits, median, rate, ratio, speed, spread } from './numbers.js'
import { isMet, targets } from './targets.js'

const GB = 1e9
const MIB = 1024 ** 2

/** The date, the machine and the command, without names and paths of the machine. */
export function describeRun(command, rounds) {
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} x ${cpus()[0]?.model.trim() ?? process.arch}, ${Math.round(totalmem() / 1024 ** 3)} GiB, ${process.platform} ${process.arch}`,
    node: process.version,
    command,
    rounds,
  }
}

/** @param {Record<string, { run: object, results: object }>} measured results by name of the case */
export function readme(measured) {
  const shown = cases.filter(({ name }) => measured[name])
  const parts = shown.map(benchmark => section(benchmark, measured[benchmark.name]))
  return `<!-- Written by \`npm run bench\`. -->

# Benchmarks

\`npm run bench\` runs all cases but the long ones. \`npm run bench -- NAME...\` runs the cases whose names begin
with NAME:

${cases.map(({ name }) => `\`${name}\``).join(', ')}

The contenders run in turn, A B C A B C, each in its own process, against a sink in another process over
loopback. The tables show the median of the turns, with minimum and maximum. Ratios compare the turns of one
round. \`npm run bench -- --rounds 1 NAME\` prints the results and writes no file.

![The main cases as bars](chart.svg)

## Targets

${targetTable(measured)}

*Out of reach*: the bound misses the target too. The bound is a loop that does only what every such client has to do, and
has rows of its own. [PROFILE.md](PROFILE.md) says why some targets are not met, and what the next steps are.

${parts.join('\n\n')}
`
}

/** The targets of the cases that were measured. */
export function targetTable(measured) {
  const rows = targets
    .filter(target => measured[target.case])
    .map(target => {
      const { results } = measured[target.case]
      const value = safely(() => target.value(results))
      const limit = `${target.isLeast ? 'at least' : 'at most'} ${digits(target.limit)}`
      return [target.text, limit, digits(value), verdict(target, value, results)]
    })
  return table(['target', '', 'measured', ''], rows)
}

function verdict(target, value, results) {
  const met = isMet(target, value)
  if (met === undefined) return 'no result'
  if (met) return 'met'
  const bound = safely(() => target.bound?.(results))
  if (isMet(target, bound) === false) return `out of reach: the bound has ${digits(bound)}`
  return '**not met**'
}

/** A case: its title, its description and its table. */
export function section({ name, title, about, shape, reference, latency }, { run, results }) {
  const complete = Object.fromEntries(
    Object.entries(results).filter(([, { turns }]) => turns.length > 0),
  )
  const failures = Object.entries(results)
    .filter(([, { error }]) => error !== undefined)
    .map(([label, { error }]) => `\n\n**${label} failed:** ${error.split('\n')[0]}`)
  const body = safely(() => shapes[shape](complete, reference, latency)) ?? 'No result.'
  return `## ${title}

${about}

${body}${failures.join('')}

<sub>\`${run.command}\` (\`${name}\`), ${run.date}, ${run.machine}, Node ${run.node}, ${run.rounds} ${run.rounds === 1 ? 'turn' : 'turns'} each.</sub>`
}

const shapes = {
  appends(results, reference, latency) {
    const hasSlowest = Object.values(results).some(({ turns }) => turns[0].slowest !== undefined)
    const head = [
      'contender',
      'GB/s',
      `x ${reference}`,
      'CPU s per GB',
      'peak RSS, MiB',
      'µs per append',
      'new connections per turn',
    ]
    if (latency) head.push('duty')
    if (hasSlowest) head.push('slowest')
    const rows = Object.entries(results).map(([label, result]) => {
      const of = measure => median(result.turns.map(measure))
      const row = [...common(label, result, results[reference])]
      row.push(digits(of(turn => (turn.seconds / turn.appends) * 1e6).median))
      row.push(digits(of(({ sink }) => sink.connections).median))
      if (latency) row.push(spread(of(({ sink }) => sink.duty)))
      if (hasSlowest) row.push(spread(of(({ slowest }) => slowest)))
      return row
    })
    const { turns } = Object.values(results)[0]
    const sink = median(turns.map(turn => turn.sink.cpu / turn.sink.bytes))
    return `${table(head, rows)}\n\nThe sink itself took ${spread(sink, GB)} CPU s per GB with the first contender.`
  },

  lines(results, reference) {
    const head = [
      'contender',
      'GB/s',
      `x ${reference}`,
      'CPU s per GB',
      'peak RSS, MiB',
      'ns per line',
    ]
    const rows = Object.entries(results).map(([label, result]) => [
      ...common(label, result, results[reference]),
      digits(median(result.turns.map(turn => 1e11 / speed(turn))).median),
    ])
    return table(head, rows)
  },

  records(results, reference) {
    const head = [
      'contender',
      'thousand records per second',
      `x ${reference}`,
      'CPU µs per record',
      'peak RSS, MiB',
    ]
    const rows = Object.entries(results).map(([label, result]) => [
      label,
      spread(median(result.turns.map(rate)), 1 / 1000),
      spread(ratio(result, results[reference], rate)),
      spread(median(result.turns.map(({ cpu, records }) => cpu / records)), 1e6),
      digits(Math.max(...result.turns.map(({ peak }) => peak)) / MIB),
    ])
    return table(head, rows)
  },

  engines(results, reference) {
    const labels = Object.keys(results)
    const others = labels.filter(label => label !== reference)
    const gbps = (label, size) =>
      spread(median(results[label].turns.map(turn => SIZES[size] / turn.calls[size])))
    const times = (other, size) =>
      spread(ratio(results[reference], results[other], turn => 1 / turn.calls[size]))
    const rows = Object.keys(SIZES).map(size => [
      size,
      ...labels.map(label => gbps(label, size)),
      ...others.map(other => times(other, size)),
    ])
    const combine = Object.keys(LENGTHS).map(label => {
      const { turns } = results[reference]
      const part = median(turns.map(({ calls }) => calls['4 MiB'] / calls[label]))
      return [
        label,
        spread(median(turns.map(({ calls }) => calls[label] / 1000))),
        `1/${Math.round(part.median)}`,
      ]
    })
    return [
      table(['size', ...labels, ...others.map(other => `${reference} / ${other}`)], rows),
      table(['length of the second part', 'µs', 'of the time for 4 MiB'], combine),
    ].join('\n\n')
  },

  compression(results, reference) {
    const factor = turn => turn.bytes / turn.compressed
    const head = ['contender', 'ratio', 'of the stream', 'CPU s per GB', 'x the stream']
    const rows = Object.entries(results).map(([label, result]) => [
      label,
      // The ratio is the same in every turn, and contenders differ in its third digit.
      median(result.turns.map(factor)).median.toFixed(3),
      `${(ratio(result, results[reference], factor).median * 100).toFixed(1)} %`,
      spread(median(result.turns.map(cpuPerByte)), GB),
      spread(ratio(result, results[reference], cpuPerByte)),
    ])
    return table(head, rows)
  },

  links(results, reference) {
    const sizes = Object.keys(results[reference].turns[0].speeds)
    const rows = Object.entries(results).map(([label, result]) => [
      label,
      ...sizes.flatMap(size => [
        spread(median(result.turns.map(({ speeds }) => speeds[size])), 1e-6),
        spread(ratio(result, results[reference], ({ speeds }) => speeds[size])),
      ]),
    ])
    return table(['contender', ...sizes.flatMap(size => [`${size}, MB/s`, 'x'])], rows)
  },

  attempts(results, reference) {
    const { turns } = results[reference]
    const nanoseconds = ({ seconds, attempts }) => (seconds / attempts) * 1e9
    const more = result => result.turns.map((turn, i) => nanoseconds(turn) - nanoseconds(turns[i]))
    const rows = Object.entries(results).map(([label, result]) => [
      label,
      spread(median(result.turns.map(nanoseconds))),
      spread(median(more(result))),
    ])
    return table(['an attempt', 'ns', `more than ${reference}`], rows)
  },

  starts(results, reference) {
    const head = [
      'contender',
      'import, ms',
      'first append, ms',
      'CPU, ms',
      `CPU, x ${reference}`,
      'RSS, MiB',
    ]
    const rows = Object.entries(results).map(([label, result]) => {
      const of = measure => median(result.turns.map(({ start }) => measure(start)))
      return [
        label,
        spread(of(start => start.import)),
        spread(of(start => start.append)),
        spread(of(({ cpu }) => cpu)),
        spread(ratio(result, results[reference], ({ start }) => start.cpu)),
        digits(of(({ rss }) => rss / 1024 ** 2).median),
      ]
    })
    return table(head, rows)
  },

  connections(results) {
    const rows = Object.entries(results).map(([label, { turns }]) => [
      label,
      turns[0].skipped ? 'not installed' : String(turns[0].appends),
      turns[0].skipped ? '-' : String(Math.max(...turns.map(({ connections }) => connections))),
    ])
    return table(['server', 'appends per turn', 'new connections, most of a turn'], rows)
  },

  idle(results) {
    const columns = Object.keys(Object.values(results)[0].turns[0].idle)
    const rows = Object.entries(results).map(([label, { turns }]) => [
      label,
      ...columns.map(column => digits(turns[0].idle[column] / 1024)),
    ])
    return table(['bytes sent', ...columns], rows)
  },

  growth(results) {
    const rows = Object.entries(results).map(([label, { turns }]) => {
      const { idle, peak, peaks } = turns[0]
      return [label, ...[idle, peak, ...peaks].map(bytes => digits(bytes / MIB))]
    })
    const { length } = Object.values(results)[0].turns[0].peaks
    const head = ['MiB', 'before', 'highest', ...Array.from({ length }, (_, i) => `GiB ${i + 1}`)]
    return table(head, rows)
  },
}

function common(label, result, reference) {
  return [
    label,
    spread(median(result.turns.map(speed)), 1 / GB),
    reference ? spread(ratio(result, reference, speed)) : '-',
    spread(median(result.turns.map(cpuPerByte)), GB),
    digits(Math.max(...result.turns.map(({ peak }) => peak)) / MIB),
  ]
}

function table(head, rows) {
  const lines = [head, head.map(() => '---'), ...rows]
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

/** Undefined if the results of a failed contender are missing: the other rows are written. */
function safely(run) {
  try {
    return run()
  } catch {
    return undefined
  }
}
