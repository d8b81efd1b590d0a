/** The targets, most of them ratios of contenders in one run. */

import {
  ALI,
  APPEND,
  AT_5_GIB,
  AT_START,
  BY_ITSELF,
  COPY,
  COPY_SUM,
  cases,
  DEPTH_2,
  DEPTH_4,
  DIRECT,
  FOUR_MIB,
  FS,
  MEMBERS_DEFAULT,
  NGINX,
  ONE_KIB,
  ONE_STREAM,
  OURS,
  OURS_MD5,
  OURS_TLS,
  PINO_DESTINATION,
  PINO_FILE,
  PYTHON,
  SERIAL,
  UNDICI,
  UNDICI_COPY,
  UNDICI_COPY_TLS,
  UNDICI_TLS,
  UNSUBSCRIBED,
  WINSTON_STREAM,
  WRITE,
} from './cases.js'
import { cpuPerByte, median, rate, ratio, speed } from './numbers.js'

const MIB = 1024 ** 2
/** Bytes. Four batches of 4 MiB, and 48 MiB for the rest of a busy process. */
const MEMORY = (4 * 4 + 48) * MIB

const ECMA = 'crc64-ecma182.js'
const HASH_WASM = 'hash-wasm'

/** Calls per second. */
const calls = label => turn => 1 / turn.calls[label]

/**
 * @typedef {object} Target
 * @property {string} case
 * @property {string} text
 * @property {boolean} isLeast
 * @property {number} limit
 * @property {(results: object) => number | undefined} value
 * @property {(results: object) => number | undefined} [bound] the same of a contender that does only what every client
 *   has to do. A limit that it misses is out of reach
 */

/** @returns {Target} a limit for the median ratio of two contenders, and of a bound to the second one */
function compare(name, text, [a, b, bound], measure, limit, isLeast = true) {
  const ratioOf = label => at => ratio(at[label], at[b], measure)?.median
  const target = { case: name, text, isLeast, limit, value: ratioOf(a) }
  return bound === undefined ? target : { ...target, bound: ratioOf(bound) }
}

const atMost = false

/** @type {Target[]} */
export const targets = [
  compare('crc64', 'CRC of 1 MiB: x crc64-ecma182.js', [OURS, ECMA], calls('1 MiB'), 10),
  ...['1 MiB', '4 KiB', '64 B'].map(size =>
    compare(
      'crc64',
      `CRC of ${size}: x hash-wasm`,
      [OURS, HASH_WASM],
      calls(size),
      size === '1 MiB' ? 3.5 : 1,
    ),
  ),
  {
    case: 'crc64',
    text: 'combine: part of the time of the CRC of 4 MiB',
    isLeast: false,
    limit: 1 / 50,
    value: at =>
      median(at[OURS].turns.map(({ calls }) => calls['combine 4 MiB'] / calls['4 MiB']))?.median,
  },
  ...[4, 8].map(mib =>
    compare(
      `append-${mib}MiB`,
      `${mib} MiB: x bare undici`,
      [OURS, UNDICI, UNDICI_COPY],
      speed,
      0.65,
    ),
  ),
  compare(
    'append-4MiB',
    '4 MiB over TLS: x bare undici over TLS',
    [OURS_TLS, UNDICI_TLS, UNDICI_COPY_TLS],
    speed,
    0.95,
  ),
  compare(
    'append-4MiB',
    '4 MiB over TLS: CPU per byte, x bare undici over TLS',
    [OURS_TLS, UNDICI_TLS, UNDICI_COPY_TLS],
    cpuPerByte,
    1.35,
    atMost,
  ),
  ...[1, 4, 8].map(mib =>
    compare(
      `append-${mib}MiB`,
      `${mib} MiB: x the bound, bare undici with copy and CRC`,
      [OURS, UNDICI_COPY],
      speed,
      0.8,
    ),
  ),
  ...[
    ['4 MiB', [OURS, UNDICI_COPY]],
    ['4 MiB over TLS', [OURS_TLS, UNDICI_COPY_TLS]],
  ].map(([text, labels]) =>
    compare(
      'append-4MiB',
      `${text}: CPU per byte, x the bound, bare undici with copy and CRC`,
      labels,
      cpuPerByte,
      1.35,
      atMost,
    ),
  ),
  ...[DIRECT, PYTHON, NGINX].map(label => ({
    case: 'connections',
    text: `new connections per stream after the first: ${label}`,
    isLeast: false,
    // undici 7.30 closes the connection after a HEAD without Connection and Content-Length.
    limit: label === PYTHON ? 1 : 0,
    value: at => Math.max(...at[label].turns.map(({ connections }) => connections)),
  })),
  ...[1, 4, 8].flatMap(mib => [
    {
      case: `append-${mib}MiB`,
      text: `${mib} MiB: new connections after the first turn`,
      isLeast: false,
      limit: 0,
      // Before the first turn the others warm up, for longer than an idle connection is kept.
      value: at => Math.max(...at[OURS].turns.slice(1).map(({ sink }) => sink.connections)),
    },
    compare(`append-${mib}MiB`, `${mib} MiB: x ali-oss`, [OURS, ALI, UNDICI_COPY], speed, 3.5),
    compare(
      `append-${mib}MiB`,
      `${mib} MiB: CPU per byte, x ali-oss`,
      [OURS, ALI, UNDICI_COPY],
      cpuPerByte,
      0.3,
      atMost,
    ),
    compare(`append-${mib}MiB`, `${mib} MiB, with MD5: x ali-oss`, [OURS_MD5, ALI], speed, 1.5),
  ]),
  ...cases
    .filter(({ name }) => name.startsWith('lines-'))
    .flatMap(({ name }) => [
      compare(name, `${name}: x fs.createWriteStream`, [OURS, FS, COPY_SUM], speed, 3),
      compare(
        name,
        `${name}: x a Writable that only copies`,
        [OURS, COPY, COPY_SUM],
        speed,
        name.startsWith('lines-strings') ? 0.6 : 0.5,
      ),
      compare(
        name,
        `${name}: x the bound, a Writable with two buffers and the CRC`,
        [OURS, COPY_SUM],
        speed,
        0.8,
      ),
    ]),
  ...['records-strings', 'records-buffers'].map(name => ({
    case: name,
    text: `${name}: ns of CPU of append() over write()`,
    isLeast: false,
    limit: 1000,
    value: at => {
      const [written, appended] = [WRITE, APPEND].map(label => at[label].turns.map(cpuPerByte))
      const perLine = appended.map((cpu, i) => (cpu - written[i]) * 100 * 1e9)
      return median(perLine)?.median
    },
  })),
  ...[
    ['pino-in-process', PINO_DESTINATION],
    ['pino-worker', PINO_FILE],
    ['winston', WINSTON_STREAM],
  ].map(([name, other]) => compare(name, `${name}: x ${other}`, [OURS, other], rate, 0.9)),
  {
    case: 'rtt-20ms',
    text: 'duty at a round trip of 20 ms',
    isLeast: true,
    limit: 0.98,
    value: at => median(at[OURS].turns.map(({ sink }) => sink.duty))?.median,
  },
  ...[
    [20, '1 MiB', DEPTH_2, 1.8],
    [60, '64 KiB', DEPTH_4, 2.3],
  ].map(([roundTrip, size, label, limit]) =>
    compare(
      `pipelining-${roundTrip}ms`,
      `${label}, ${size} at ${roundTrip} ms: x one at a time`,
      [label, SERIAL],
      ({ speeds }) => speeds[size],
      limit,
    ),
  ),
  compare(
    'position',
    'CPU per append at 5 GiB: x at 0',
    [AT_5_GIB, AT_START],
    cpuPerByte,
    1.1,
    atMost,
  ),
  compare(
    'gzip',
    'gzip members: ratio, x one long stream',
    [MEMBERS_DEFAULT, ONE_STREAM],
    turn => turn.bytes / turn.compressed,
    0.99,
  ),
  compare(
    'gzip',
    'gzip members: CPU per byte, x one long stream',
    [MEMBERS_DEFAULT, ONE_STREAM],
    cpuPerByte,
    1.1,
    atMost,
  ),
  ...[ONE_KIB, FOUR_MIB].map(label => ({
    case: 'idle',
    text: `KiB per idle stream, ${label}`,
    isLeast: false,
    limit: 64,
    value: at => {
      const turn = at[label].turns[0]
      return turn && Math.max(turn.idle['with their connections'], 0) / 1024
    },
  })),
  {
    case: 'append-4MiB',
    text: 'MiB of peak memory over the idle process, 4 MiB',
    isLeast: false,
    limit: MEMORY / MIB,
    value: at => median(at[OURS].turns.map(({ peak, idle }) => (peak - idle) / MIB))?.max,
  },
  {
    case: 'trace',
    text: 'ns of tracing per attempt, without a subscriber',
    isLeast: false,
    limit: 500,
    value: at => {
      const nanoseconds = ({ seconds, attempts }) => (seconds / attempts) * 1e9
      const [plain, traced] = [at[BY_ITSELF], at[UNSUBSCRIBED]].map(({ turns }) => turns)
      return median(traced.map((turn, i) => nanoseconds(turn) - nanoseconds(plain[i])))?.median
    },
  },
  {
    case: 'rss',
    text: 'MiB of peak memory over the idle process, 10 GiB',
    isLeast: false,
    limit: MEMORY / MIB,
    value: at => median(at[OURS].turns.map(({ peak, idle }) => (peak - idle) / MIB))?.max,
  },
  {
    case: 'rss',
    text: 'MiB of peak memory in the last of 10 GiB over the second',
    isLeast: false,
    limit: 4,
    value: at => median(at[OURS].turns.map(({ peaks }) => (peaks.at(-1) - peaks[1]) / MIB))?.median,
  },
]

/** @returns {boolean | undefined} undefined if the case has no result */
export function isMet({ isLeast, limit }, value) {
  if (value === undefined || Number.isNaN(value)) return undefined
  return isLeast ? value >= limit : value <= limit
}
