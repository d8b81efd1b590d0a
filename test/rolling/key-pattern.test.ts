/** Keys from patterns: what stands in braces, in any time zone, and what is refused. */

import t from 'tap'
import { compileKeyPattern } from '../../lib/rolling/key-pattern.ts'

const ALL = '{yyyy} {MM} {dd} {HH} {mm} {index}'

t.test('what stands in braces', async t => {
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
    ['no braces $1 %d', 'UTC', '2026-11-23T00:00:00Z', 3, 'no braces $1 %d'],
    ['', 'UTC', '2026-11-23T00:00:00Z', 3, ''],
  ]
  for (const [pattern, timeZone, date, index, key] of rows) {
    const name = compileKeyPattern(pattern, timeZone)
    t.equal(name({ date: new Date(date), index }), key, `${pattern} of ${date} in ${timeZone}`)
  }
})

t.test('what is refused', async t => {
  const rows: [string, string, RegExp][] = [
    ['{day}', 'UTC', /^option key: \{day\} is unknown$/],
    ['{YYYY}', 'UTC', /^option key: \{YYYY\} is unknown: did you mean yyyy\?$/],
    ['{indx}', 'UTC', /^option key: \{indx\} is unknown: did you mean index\?$/],
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
    t.throws(() => compileKeyPattern(pattern, timeZone), expected, `${pattern} in ${timeZone}`)
  }
})
