/** The cases and their contenders. Sizes are in bytes. */

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

/**
 * @typedef {object} Contender
 * @property {string} label
 * @property {string} file in `contenders/`
 * @property {object} [params]
 * @property {string[]} [flags] of Node
 * @property {string} [worker] URL of another checkout's `worker.js`
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {string} title
 * @property {string} about
 * @property {'appends' | 'lines' | 'records' | 'engines' | 'compression' | 'attempts' | 'starts' | 'connections' | 'idle' | 'growth' | 'links'} shape of its table
 * @property {Contender[]} contenders
 * @property {string} [reference] the contender that the others are compared with
 * @property {number} rounds
 * @property {number} [latency] milliseconds by which the sink delays each response
 * @property {number} [warmUp] turns before the first that counts. Default 1
 * @property {boolean} [isLong] runs only by name
 */

export const OURS = 'ours'
export const OURS_MD5 = 'ours, default options (with MD5)'
export const OURS_TLS = 'ours over TLS'
export const OURS_ECMA = 'ours, crc64-ecma182.js as engine'
export const OURS_NULL = 'ours, no network'
export const UNDICI = 'bare undici loop'
export const UNDICI_SINGLE = 'bare undici loop, one connection'
export const UNDICI_COPY = 'bare undici loop with copy and CRC'
export const UNDICI_TLS = 'bare undici loop over TLS'
export const UNDICI_COPY_TLS = 'bare undici loop with copy and CRC, over TLS'
export const ALI = 'ali-oss'
export const DIRECT = 'the sink'
export const PYTHON = 'a sink in Python, without Connection, HEAD without length'
export const NGINX = 'the sink behind nginx'
export const FS = "fs.createWriteStream('/dev/null')"
export const SONIC = "sonic-boom to '/dev/null'"
export const COPY = 'a Writable that only copies'
export const COPY_SUM = 'a Writable with two buffers and the CRC'
export const OURS_200 = 'ours, 200 streams'
export const UNDICI_200 = '200 bare undici loops'
export const PINO_DESTINATION = "pino.destination('/dev/null')"
export const PINO_FILE = 'pino/file'
export const WRITE = 'write()'
export const APPEND = 'append()'
export const EMPTY = 'an empty process'
export const WINSTON_STREAM = 'transports.Stream'
export const AT_START = 'at position 0'
export const AT_5_GIB = 'at position 5 GiB'
export const ONE_KIB = '1 KiB each, all at once'
export const FOUR_MIB = '4 MiB each, one after another'
export const ONE_STREAM = 'one long stream (zlib.createGzip)'
export const MEMBERS_DEFAULT = 'members of 1 MiB (the default)'
export const BY_ITSELF = 'by itself'
export const UNSUBSCRIBED = 'traced, without a subscriber'
export const SERIAL = 'one append at a time'
export const DEPTH_2 = 'pipelining: 2'
export const DEPTH_4 = 'pipelining: 4'
export const MEMORY_2 = 'one at a time, memory of pipelining: 2'
export const MEMORY_4 = 'one at a time, memory of pipelining: 4'
export const FOUR_MIB_BY_EIGHT = '4 MiB each, eight at a time'

const withoutMd5 = { contentMd5: false }

/** @returns {Contender} */
function append(label, contender, params, flags) {
  return { label, file: 'append', params: { contender, ...params }, flags }
}

function appendCase(mib) {
  // V8 compiles a client for about 1,700 appends, whatever their size.
  const params = { batch: mib * MIB, total: 512 * MIB, warmUp: 2048 }
  return {
    name: `append-${mib}MiB`,
    title: `Appends of ${mib} MiB`,
    about: `512 MiB per turn to a new object, as appends of one buffer of ${mib} MiB. \`ali-oss\` sends an MD5 and checks no CRC. Ours checks the CRC of every append, and sends an MD5 only where the label says so. A loop over undici's Agent alternates between two connections, since undici releases a connection one turn of the event loop after the response. The second loop uses one connection. Each contender makes 2,048 appends of 1 MiB before, since V8 compiles its code meanwhile.`,
    shape: 'appends',
    reference: UNDICI,
    rounds: 5,
    contenders: [
      append(UNDICI, 'undici', params),
      append(UNDICI_SINGLE, 'undici', { ...params, isSingle: true }),
      append(UNDICI_COPY, 'undici-copy', params),
      append(OURS, 'ours', { ...params, options: withoutMd5 }),
      append(OURS_MD5, 'ours', params),
      // Without SIMD the fallback engine runs. V8 also compiles its own code without SSE 4.1, at little cost.
      append(OURS_ECMA, 'ours', { ...params, options: withoutMd5 }, ['--no-enable-sse4-1']),
      append(ALI, 'ali-oss', params),
      append(UNDICI_TLS, 'undici', { ...params, tls: true }),
      append(UNDICI_COPY_TLS, 'undici-copy', { ...params, tls: true }),
      append(OURS_TLS, 'ours', { ...params, tls: true }),
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
    about: `A million lines per turn, with one \`write()\` each. Ours sends them to the sink in batches of 4 MiB. With "no network" a client in memory takes the place of the sink. The Writable that only copies has the same \`highWaterMark\` and discards its bytes. The one with two buffers is the bound of what the contract asks: it computes the CRC of each full buffer, and frees the buffer in a later turn of the event loop, so writes wait as in ours.`,
    shape: 'lines',
    reference: COPY,
    rounds: 7,
    contenders: [
      line(OURS, 'ours'),
      line(OURS_NULL, 'ours-null'),
      line(COPY, 'copy'),
      line(COPY_SUM, 'copy-sum'),
      line(FS, 'fs'),
      // sonic-boom has no `cork()`.
      ...(isCorked ? [] : [line(SONIC, 'sonic-boom')]),
    ],
  }
}

function loggerCase(name, title, about, contenders, reference) {
  return {
    name,
    title,
    about: `500,000 records per turn, a thousand in each turn of the event loop. A turn ends when all records are delivered. ${about} Ours sends no Content-MD5, as by default over https.`,
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
  const params = { batch: 4 * MIB, total }
  return {
    name: `rtt-${latency}ms`,
    title: `Appends of 4 MiB at a round trip of ${latency} ms`,
    about: `${total / MIB} MiB per turn. The sink delays each response by ${latency} ms. Duty is the part of the time in which the connection does not wait for the client: 1 - (time from the end of a response to the first byte of the next request, measured in the sink) / time.`,
    shape: 'appends',
    reference: UNDICI,
    rounds: 3,
    latency,
    contenders: [
      append(UNDICI, 'undici', params),
      append(OURS, 'ours', { ...params, options: withoutMd5 }),
      append(OURS_MD5, 'ours', params),
      append(ALI, 'ali-oss', params),
    ],
  }
}

/** `appends`: how many of each size make a turn of some seconds. */
function pipeliningCase({ roundTrip, megabytes, commit, appends }) {
  const params = { link: { roundTrip, rate: megabytes * 1e6 }, appends }
  return {
    name: `pipelining-${roundTrip}ms`,
    title: `Pipelined appends at a round trip of ${roundTrip} ms and ${megabytes} MB/s`,
    about: `MB/s by \`highWaterMark\`, through a relay with this round trip and bandwidth. The sink takes ${commit} ms for each append, and serves a connection's requests one after another. One append at a time needs two buffers, and N in flight N + 1. So the loops with as much memory have a \`highWaterMark\` 1.5 and 2.5 times as large.`,
    shape: 'links',
    reference: SERIAL,
    rounds: 3,
    latency: commit,
    contenders: [
      [SERIAL, {}],
      [DEPTH_2, { depth: 2 }],
      [MEMORY_2, { memory: 1.5 }],
      [DEPTH_4, { depth: 4 }],
      [MEMORY_4, { memory: 2.5 }],
    ].map(([label, own]) => ({ label, file: 'pipelining', params: { ...params, ...own } })),
  }
}

/** @type {Case[]} */
export const cases = [
  {
    name: 'crc64',
    title: 'CRC-64 engines by size',
    about: 'GB/s of one call on bytes in the cache of the processor.',
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
  ...[true, false].map(isText => ({
    name: `records-${isText ? 'strings' : 'buffers'}`,
    title: `Records of 100 bytes, ${isText ? 'strings' : 'Buffers'}: append() and write()`,
    about:
      "A million records per turn, to a stream with `align: '\\n'`. `append()` resolves with the address of each. A client in memory takes the place of the sink.",
    shape: 'lines',
    reference: WRITE,
    rounds: 7,
    contenders: [WRITE, APPEND].map(label => ({
      label,
      file: 'lines',
      params: {
        contender: 'ours-null',
        count: 1_000_000,
        isText,
        isCorked: false,
        isAppend: label === APPEND,
        align: '\n',
      },
    })),
  })),
  loggerCase(
    'pino-in-process',
    'pino in-process',
    'Ours delivers to the sink, and the other discards its records.',
    [
      [OURS, 'pino-ours'],
      [PINO_DESTINATION, 'pino-destination'],
    ],
    PINO_DESTINATION,
  ),
  loggerCase(
    'pino-worker',
    'pino with a worker',
    "Ours delivers to the sink, and `pino/file` writes to '/dev/null'.",
    [
      [OURS, 'worker-ours'],
      [PINO_FILE, 'worker-file'],
    ],
    PINO_FILE,
  ),
  loggerCase(
    'winston',
    'winston',
    "Ours delivers to the sink, and the Stream transport writes to '/dev/null'.",
    [
      [OURS, 'winston-ours'],
      [WINSTON_STREAM, 'winston-stream'],
    ],
    WINSTON_STREAM,
  ),
  roundTripCase(20, 128 * MIB),
  roundTripCase(100, 64 * MIB),
  ...[
    {
      roundTrip: 20,
      megabytes: 60,
      commit: 10,
      appends: { '64 KiB': 60, '1 MiB': 30, '4 MiB': 15 },
    },
    {
      roundTrip: 60,
      megabytes: 25,
      commit: 15,
      appends: { '64 KiB': 30, '1 MiB': 15, '4 MiB': 10 },
    },
    {
      roundTrip: 2,
      megabytes: 300,
      commit: 8,
      appends: { '64 KiB': 150, '1 MiB': 60, '4 MiB': 30 },
    },
  ].map(pipeliningCase),
  {
    name: 'streams',
    title: '1 stream and 200',
    about:
      'Appends of 128 KiB, 250 MiB in all. The 200 streams share a client. "Slowest" is the part of its bytes that the slowest stream had appended when the first one ended.',
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
    about: '1,000 appends per turn, from a known position and CRC.',
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
      '32 MiB of log lines per turn, in chunks of 64 KiB, through `gzipMembers()` and through one `zlib.createGzip()`, both at level 6. The lines are JSON of about 190 bytes, a third of it digits that hardly compress. The ratio is input bytes / output bytes. Small members reach OSS sooner, and each begins with an empty dictionary.',
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
    title: 'The cost of tracing an attempt',
    about:
      'A million attempts per turn that settle at once. A real attempt takes some hundred microseconds.',
    shape: 'attempts',
    reference: BY_ITSELF,
    rounds: 7,
    contenders: [
      [BY_ITSELF, 'plain'],
      [UNSUBSCRIBED, 'unsubscribed'],
      ['traced, with a subscriber', 'subscribed'],
    ].map(([label, contender]) => ({
      label,
      file: 'trace',
      params: { contender, count: 1_000_000 },
    })),
  },
  {
    name: 'start',
    title: 'A cold process: import and first append',
    about:
      'Each turn starts a process, which imports the package and appends 1 KiB over http. The first append includes what is loaded for it: ours loads undici then. CPU and memory are those of the process from its start to the response.',
    shape: 'starts',
    reference: ALI,
    rounds: 7,
    contenders: [
      [EMPTY, 'nothing'],
      [OURS, 'ours'],
      [ALI, 'ali-oss'],
    ].map(([label, contender]) => ({ label, file: 'start', params: { contender } })),
  },
  {
    name: 'connections',
    title: 'Connections after the first',
    about:
      '100 appends of 1 KiB and a HEAD per turn, a new stream in each turn. The first connection is opened before the turns that count.',
    shape: 'connections',
    rounds: 3,
    contenders: [
      [DIRECT, 'sink'],
      [PYTHON, 'python'],
      [NGINX, 'nginx'],
    ].map(([label, server]) => ({ label, file: 'connections', params: { server, appends: 100 } })),
  },
  {
    name: 'idle',
    title: '1,000 idle streams',
    about:
      'KiB of resident memory per stream, over the same process before the streams. They share a client, are flushed and stay open. An unused connection closes after 15 s. When several streams send large batches at a time, malloc keeps some of that memory, once and not per stream.',
    shape: 'idle',
    rounds: 1,
    warmUp: 0,
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
      'One stream with batches of 4 MiB, written in chunks of 64 KiB. The table has the highest resident memory within each GiB.',
    shape: 'growth',
    rounds: 1,
    warmUp: 0,
    isLong: true,
    contenders: [
      { label: OURS, file: 'rss', params: { total: 10 * GIB, options: withoutMd5 } },
      { label: OURS_MD5, file: 'rss', params: { total: 10 * GIB } },
    ],
  },
]
