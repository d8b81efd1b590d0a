/** Keys from patterns: placeholders, time zones, and what is refused. */

import t from 'tap'
import { compileKeyPattern } from '../../lib/rolling/key-pattern.ts'

const WRITER = { host: 'web-1', pid: 4711 }
const ALL = '{yyyy} {MM} {dd} {HH} {mm} {index}'

t.test('placeholders are replaced by date and index', async t => {
  // pattern, time zone, date, index, key
  const rows: [string, string, string, number, string][] = [
    [ALL, 'UTC', '2026-11-23T01:02:03Z', 0, '2026 11 23 01 02 0'],
    [ALL, 'UTC', '2026-01-05T00:00:00Z', 7, '2026 01 05 00 00 7'],
    [ALL, 'UTC', '2026-12-31T23:59:59.999Z', 12345, '2026 12 31 23 59 12345'],
    [ALL, 'UTC', '0033-04-03T15:00:00Z', 0, '0033 04 03 15 00 0'],
    [ALL, 'Asia/Shanghai', '2026-12-31T16:00:00Z', 0, '2027 01 01 00 00 0'],
    [ALL, 'America/St_Johns', '2026-07-01T00:00:00Z', 0, '2026 06 30 21 30 0'],
    ['{HH}', 'Europe/Berlin', '2026-10-25T00:59:59Z', 0, '02'],
    ['{HH}', 'Europe/Berlin', '2026-10-25T01:00:00Z', 0, '02'],
    ['{HH}', 'Europe/Berlin', '2026-03-29T01:00:00Z', 0, '03'],
    [
      'a/{yyyy}{yyyy}/日志{index}{index}.log',
      'UTC',
      '2026-11-23T00:00:00Z',
      3,
      'a/20262026/日志33.log',
    ],
    ['{host}/{pid}-{index}', 'UTC', '2026-11-23T00:00:00Z', 3, 'web-1/4711-3'],
    ['no braces $1 %d', 'UTC', '2026-11-23T00:00:00Z', 3, 'no braces $1 %d'],
    ['', 'UTC', '2026-11-23T00:00:00Z', 3, ''],
  ]
  for (const [pattern, timeZone, date, index, key] of rows) {
    const name = compileKeyPattern(pattern, timeZone, WRITER)
    t.equal(name({ date: new Date(date), index }), key, `${pattern} of ${date} in ${timeZone}`)
  }
})

/** The keys of a pattern at every minute between two times. */
function keysOf(pattern: string, timeZone: string, from: string, to: string): string[] {
  const nameKey = compileKeyPattern(pattern, timeZone, WRITER)
  const keys: string[] = []
  for (let time = Date.parse(from); time < Date.parse(to); time += 60_000) {
    keys.push(nameKey({ date: new Date(time + 59_999), index: 0 }))
  }
  return keys
}

const HOUR = 3_600_000

t.test('keys do not go back where local time does', async t => {
  const pattern = '{yyyy}-{MM}-{dd} {HH}:{mm}'
  // time zone, a day with a change of the offset, the key that stays, and for how many minutes
  const rows: [string, string, string, number][] = [
    ['Europe/Berlin', '2026-10-25', '2026-10-25 02:59', 61],
    ['America/New_York', '2026-11-01', '2026-11-01 01:59', 61],
    ['Australia/Lord_Howe', '2026-04-04', '2026-04-05 01:59', 31],
    ['Antarctica/Troll', '2026-10-25', '2026-10-25 02:59', 121],
    // The line of date was moved: the 31st of August came twice.
    ['Pacific/Kwajalein', '1969-09-30', '1969-09-30 23:59', 1381],
  ]
  for (const [timeZone, day, key, minutes] of rows) {
    const from = new Date(Date.parse(day) - 6 * HOUR).toISOString()
    const to = new Date(Date.parse(day) + 48 * HOUR).toISOString()
    const keys = keysOf(pattern, timeZone, from, to)
    t.strictSame(keys, [...keys].sort(), `${timeZone}: in order`)
    t.equal(keys.filter(each => each === key).length, minutes, `${timeZone}: ${key}`)
    t.equal(new Set(keys).size, keys.length - minutes + 1, `${timeZone}: no other key repeats`)
  }
  const spring = keysOf(pattern, 'Europe/Berlin', '2026-03-29T00:58:00Z', '2026-03-29T01:02:00Z')
  t.strictSame(
    spring.map(key => key.slice(-5)),
    ['01:58', '01:59', '03:00', '03:01'],
    'nothing repeats when summer time begins',
  )
})

t.test('abbreviated time zones are refused, with the zones that are probably meant', async t => {
  const rows: [string, RegExp][] = [
    [
      'CST',
      /^option timeZone: CST is no IANA name: did you mean Asia\/Shanghai, or America\/Chicago\?$/,
    ],
    ['IST', /did you mean Asia\/Kolkata, /],
    ['JST', /did you mean Asia\/Tokyo\?$/],
    ['est', /^option timeZone: est is no IANA name: did you mean America\/New_York\?$/],
    ['CEST', /did you mean Europe\/Berlin\?$/],
    [
      'Asia/Beijing',
      /^option timeZone: Asia\/Beijing is no IANA name: did you mean Asia\/Shanghai\?$/,
    ],
  ]
  for (const [timeZone, message] of rows) {
    const expected = { code: 'OSS_ERR_INVALID_OPTION', message }
    t.throws(() => compileKeyPattern('{index}', timeZone, WRITER), expected, timeZone)
  }
  for (const timeZone of ['UTC', 'GMT', 'CET', 'PRC', 'Asia/Shanghai', 'Asia/Calcutta']) {
    t.doesNotThrow(() => compileKeyPattern('{index}', timeZone, WRITER), timeZone)
  }
})

t.test('{host} has only characters that are safe in a key', async t => {
  for (const [host, text] of [
    ['web-1.example.com', 'web-1.example.com'],
    ['DESKTOP_7', 'DESKTOP_7'],
    ["Ada's Mac/é{}", 'Ada-s-Mac----'],
    ['$&', '--'],
  ] as const) {
    const nameKey = compileKeyPattern('{host}', 'UTC', { host, pid: 1 })
    t.equal(nameKey({ date: new Date(), index: 0 }), text)
  }
})

t.test('wrong patterns and time zones are refused', async t => {
  const rows: [string, string, RegExp][] = [
    ['{day}', 'UTC', /^option key: \{day\} is unknown$/],
    ['{YYYY}', 'UTC', /^option key: \{YYYY\} is unknown: did you mean yyyy\?$/],
    ['{indx}', 'UTC', /^option key: \{indx\} is unknown: did you mean index\?$/],
    ['{hostname}', 'UTC', /^option key: \{hostname\} is unknown/],
    ['{ss}', 'UTC', /^option key: \{ss\} is unknown/],
    ['{}', 'UTC', /^option key: \{\} is unknown/],
    ['{toString}', 'UTC', /^option key: \{toString\} is unknown$/],
    ['{yyyy', 'UTC', /^option key: has a brace without its other half/],
    ['{yyyy}}', 'UTC', /^option key: has a brace without its other half/],
    ['{{index}}', 'UTC', /^option key: has a brace without its other half/],
    ['{index}', 'Mars/Olympus', /^option timeZone: Mars\/Olympus is unknown$/],
    [
      '{index}',
      'Asia/Shangai',
      /^option timeZone: Asia\/Shangai is unknown: did you mean Asia\/Shanghai\?$/,
    ],
    ['{index}', '', /^option timeZone: {2}is unknown$/],
  ]
  for (const [pattern, timeZone, message] of rows) {
    const expected = { code: 'OSS_ERR_INVALID_OPTION', message }
    t.throws(
      () => compileKeyPattern(pattern, timeZone, WRITER),
      expected,
      `${pattern} in ${timeZone}`,
    )
  }
})
