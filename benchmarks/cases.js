/**
 * What is measured: every case, its contenders, and the targets that it is held to. Sizes in bytes.
 */

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/**
 * @typedef {object} Contender
 * @property {string} label
 * @property {string} file in `contenders/`
 * @property {object} [params]
 * @property {string[]} [flags] of Node
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {string} title
 * @property {string} about
 * @property {'appends' | 'lines' | 'records' | 'engines' | 'compression' | 'attempts' | 'idle' | 'growth'} shape of its table
 * @property {Contender[]} contenders
 * @property {string} [reference] the contender that the others are compared with
 * @property {number} rounds
 * @property {number} [latency] milliseconds by which every answer is held back
 * @property {boolean} [isCold] no turn to warm up
 * @property {boolean} [isLong] runs only when named
 */

export const OURS = 'ours'
export const OURS_MD5 = 'ours, default options (with MD5)'
export const OURS_TLS = 'ours over TLS'
export const OURS_ECMA = 'ours, crc64-ecma182.js as engine'
export const OURS_NULL = 'ours, no network'
export const UNDICI = 'bare undici loop'
export const UNDICI_SINGLE = 'bare undici loop, one connection'
export const UNDICI_TLS = 'bare undici loop over TLS'
export const ALI = 'ali-oss'
export const FS = "fs.createWriteStream('/dev/null')"
export const SONIC = "sonic-boom to '/dev/null'"
export const COPY = 'a Writable that only copies'
export const OURS_200 = 'ours, 200 streams'
export const UNDICI_200 = '200 bare undici loops'
export const PINO_DESTINATION = "pino.destination('/dev/null')"
export const PINO_FILE = 'pino/file'
export const WINSTON_STREAM = 'transports.Stream'
export const AT_START = 'at position 0'
export const AT_5_GIB = 'at position 5 GiB'
export const ONE_KIB = '1 KiB each, all at once'
export const FOUR_MIB = '4 MiB each, one after another'
export const ONE_STREAM = 'one long stream (zlib.createGzip)'
export const MEMBERS_DEFAULT = 'members of 1 MiB (the default)'
export const BY_ITSELF = 'by itself'
export const UNHEARD = 'traced, without a subscriber'
export const FOUR_MIB_BY_EIGHT = '4 MiB each, eight at a time'

const withoutMd5 = { contentMd5: false }

/** @returns {Contender} */
function append(label, contender, params, flags) {
  return { label, file: 'append', params: { contender, ...params }, flags }
}

function appendCase(mib) {
  const given = { batch: mib * MIB, total: 256 * MIB }
  return {
    name: `append-${mib}MiB`,
    title: `Appends of ${mib} MiB`,
    about: `256 MiB a turn, as appends of one buffer of ${mib} MiB. \`ali-oss\` sends an MD5 and checks no CRC; ours checks the CRC of every append, and sends an MD5 where said. A loop over undici's Agent uses two connections by turns, since undici frees one only after another turn of the event loop; hence the loop with one.`,
    shape: 'appends',
    reference: UNDICI,
    rounds: 5,
    contenders: [
      append(UNDICI, 'undici', given),
      append(UNDICI_SINGLE, 'undici', { ...given, isSingle: true }),
      append(OURS, 'ours', { ...given, options: withoutMd5 }),
      append(OURS_MD5, 'ours', given),
      // No SIMD, so the package is taken; V8 does without SSE 4.1 elsewhere too, which hardly shows.
      append(OURS_ECMA, 'ours', { ...given, options: withoutMd5 }, ['--no-enable-sse4-1']),
      append(ALI, 'ali-oss', given),
      append(UNDICI_TLS, 'undici', { ...given, tls: true }),
      append(OURS_TLS, 'ours', { ...given, tls: true }),
    ],
  }
}

function linesCase(isText, isCorked) {
  const kind = isText ? 'strings' : 'Buffers'
  const params = { count: 1_000_000, isText, isCorked }
  const line = (label, contender) => ({ label, file: 'lines', params: { contender, ...params } })
  return {
    name: `lines-${kind.toLowerCase()}${isCorked ? '-corked' : ''}`,
    title: `Lines of 100 bytes, ${kind}, ${isCorked ? 'corked by the hundred' : 'uncorked'}`,
    about: `A million lines a turn, one \`write\` each. Ours sends them to the sink in batches of 4 MiB; "no network" has a client in its place that answers at once. The Writable that only copies has the same \`highWaterMark\`, and throws its bytes away.`,
    shape: 'lines',
    reference: COPY,
    rounds: 7,
    contenders: [
      line(OURS, 'ours'),
      line(OURS_NULL, 'ours-null'),
      line(COPY, 'copy'),
      line(FS, 'fs'),
      // It has no cork.
      ...(isCorked ? [] : [line(SONIC, 'sonic-boom')]),
    ],
  }
}

function loggerCase(name, title, about, contenders, reference) {
  return {
    name,
    title,
    about: `500,000 records a turn, a thousand for each turn of the event loop; it is over when all are where they go to. ${about} It sends no Content-MD5, as is the default over https.`,
    shape: 'records',
    reference,
    rounds: 7,
    contenders: contenders.map(([label, contender]) => ({
      label,
      file: 'loggers',
      params: { contender, count: 500_000 },
    })),
  }
}

function roundTripCase(latency, total) {
  const given = { batch: 4 * MIB, total }
  return {
    name: `rtt-${latency}ms`,
    title: `Appends of 4 MiB at a round trip of ${latency} ms`,
    about: `${total / MIB} MiB a turn; the sink holds every answer back by ${latency} ms. Duty is the part of the time in which the line is not waiting for the client: 1 - (time from the end of an answer to the next request's first byte, as the sink sees it) / time.`,
    shape: 'appends',
    reference: UNDICI,
    rounds: 3,
    latency,
    contenders: [
      append(UNDICI, 'undici', given),
      append(OURS, 'ours', { ...given, options: withoutMd5 }),
      append(OURS_MD5, 'ours', given),
      append(ALI, 'ali-oss', given),
    ],
  }
}

/** @type {Case[]} */
export const cases = [
  {
    name: 'crc64',
    title: 'CRC-64 engines by size',
    about: 'GB/s of one call on bytes that are in the cache.',
    shape: 'engines',
    reference: OURS,
    rounds: 5,
    contenders: ['ours', 'hash-wasm', 'crc64-ecma182.js'].map(contender => ({
      label: contender,
      file: 'crc64',
      params: { contender },
    })),
  },
  appendCase(1),
  appendCase(4),
  appendCase(8),
  linesCase(true, false),
  linesCase(false, false),
  linesCase(true, true),
  linesCase(false, true),
  loggerCase(
    'pino-in-process',
    'pino in-process',
    'Ours delivers to the sink what the others throw away.',
    [
      [OURS, 'pino-ours'],
      [PINO_DESTINATION, 'pino-destination'],
    ],
    PINO_DESTINATION,
  ),
  loggerCase(
    'pino-worker',
    'pino with a worker',
    "Ours delivers to the sink; `pino/file` writes to '/dev/null'.",
    [
      [OURS, 'worker-ours'],
      [PINO_FILE, 'worker-file'],
    ],
    PINO_FILE,
  ),
  loggerCase(
    'winston',
    'winston',
    "Ours delivers to the sink; the Stream transport has a stream to '/dev/null'.",
    [
      [OURS, 'winston-ours'],
      [WINSTON_STREAM, 'winston-stream'],
    ],
    WINSTON_STREAM,
  ),
  roundTripCase(20, 128 * MIB),
  roundTripCase(100, 64 * MIB),
  {
    name: 'streams',
    title: '1 stream and 200',
    about:
      'Appends of 128 KiB, 250 MiB in all; the 200 share a client. "Slowest" is how far the slowest of them was when the first was done.',
    shape: 'appends',
    reference: UNDICI,
    rounds: 5,
    contenders: [
      append(UNDICI, 'undici', { batch: 128 * KIB, total: 250 * MIB }),
      append(OURS, 'ours', { batch: 128 * KIB, total: 250 * MIB, options: withoutMd5 }),
      append(UNDICI_200, 'undici', { batch: 128 * KIB, total: 250 * MIB, streams: 200 }),
      append(OURS_200, 'ours', {
        batch: 128 * KIB,
        total: 250 * MIB,
        streams: 200,
        options: withoutMd5,
      }),
    ],
  },
  {
    name: 'position',
    title: 'Appends of 64 KiB at position 0 and at 5 GiB',
    about: '1,000 appends a turn, from a known position and CRC.',
    shape: 'appends',
    reference: AT_START,
    rounds: 7,
    contenders: [
      [AT_START, 0],
      [AT_5_GIB, 5 * GIB],
    ].map(([label, position]) =>
      append(label, 'ours', {
        batch: 64 * KIB,
        total: 1000 * 64 * KIB,
        options: { ...withoutMd5, position, maxObjectBytes: 10 * GIB },
      }),
    ),
  },
  {
    name: 'gzip',
    title: 'gzip members by size',
    about:
      '32 MiB of log lines a turn (JSON, about 190 bytes each, a third of it digits that hardly compress), in chunks of 64 KiB, through `gzipMembers()` and through one `zlib.createGzip()`, both at level 6. The ratio is bytes in by bytes out. Smaller members reach OSS sooner; each begins with an empty dictionary.',
    shape: 'compression',
    reference: ONE_STREAM,
    rounds: 5,
    contenders: [
      [ONE_STREAM, undefined],
      ['members of 16 KiB', 16 * KIB],
      ['members of 64 KiB', 64 * KIB],
      ['members of 256 KiB', 256 * KIB],
      [MEMBERS_DEFAULT, MIB],
      ['members of 4 MiB', 4 * MIB],
      ['members of 16 MiB', 16 * MIB],
    ].map(([label, memberBytes]) => ({
      label,
      file: 'gzip',
      params: { memberBytes, total: 32 * MIB },
    })),
  },
  {
    name: 'trace',
    title: 'What tracing costs an attempt',
    about:
      'A million attempts a turn that settle at once; a real one takes some hundred microseconds.',
    shape: 'attempts',
    reference: BY_ITSELF,
    rounds: 7,
    contenders: [
      [BY_ITSELF, 'plain'],
      [UNHEARD, 'unheard'],
      ['traced, with a subscriber', 'heard'],
    ].map(([label, contender]) => ({
      label,
      file: 'trace',
      params: { contender, count: 1_000_000 },
    })),
  },
  {
    name: 'idle',
    title: '1,000 idle streams',
    about:
      'KiB of resident memory a stream, over the same process before them. All share a client, have been flushed, and stay open; an unused connection is closed after 15 s. Where several send large batches at a time, malloc keeps some of that memory, once and not per stream.',
    shape: 'idle',
    rounds: 1,
    isCold: true,
    contenders: [
      [ONE_KIB, KIB, 1000],
      [FOUR_MIB, 4 * MIB, 1],
      [FOUR_MIB_BY_EIGHT, 4 * MIB, 8],
    ].map(([label, bytes, atOnce]) => ({
      label,
      file: 'idle',
      params: { bytes, atOnce },
      flags: ['--expose-gc'],
    })),
  },
  {
    name: 'rss',
    title: 'Memory over 10 GiB',
    about:
      'One stream with batches of 4 MiB, fed in chunks of 64 KiB: the highest resident memory within each gibibyte.',
    shape: 'growth',
    rounds: 1,
    isCold: true,
    isLong: true,
    contenders: [
      { label: OURS, file: 'rss', params: { total: 10 * GIB, options: withoutMd5 } },
      { label: OURS_MD5, file: 'rss', params: { total: 10 * GIB } },
    ],
  },
]
