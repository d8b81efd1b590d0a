/** The command line: flags, units, help, messages, exit codes. Pure: no process is started. */

import t from 'tap'
import { parseArguments } from '../../lib/cli/arguments.ts'
import type { Command } from '../../lib/cli/commands.ts'
import {
  describeError,
  errorFields,
  exitCodeOf,
  InterruptedError,
  MismatchError,
  SourceError,
} from '../../lib/cli/failure.ts'
import { COMMANDS, FLAGS, flagOf } from '../../lib/cli/flags.ts'
import { formatHelp, HELP } from '../../lib/cli/help.ts'
import {
  type Parser,
  parseCount,
  parseCountOrInfinity,
  parseDuration,
  parseDurationOrInfinity,
  parsePair,
  parseSize,
} from '../../lib/cli/parse-units.ts'
import { showValue, UsageError } from '../../lib/cli/usage-error.ts'
import { OssConflictError, OssError, OssServiceError } from '../../lib/index.ts'
import { OPTIONS } from '../../lib/options.ts'
import { ROLLING_OPTIONS } from '../../lib/rolling/options.ts'

const OBJECT = 'oss://examplebucket/logs/run 7.csv'

t.test('sizes, durations, counts and pairs are parsed', async t => {
  const table: [Parser<unknown>, string, unknown][] = [
    [parseSize, '0', 0],
    [parseSize, '500000', 500_000],
    [parseSize, '188B', 188],
    [parseSize, '64KiB', 65_536],
    [parseSize, '1.5MiB', 1_572_864],
    [parseSize, '4 MiB', 4_194_304],
    [parseSize, '5GiB', 5_368_709_120],
    [parseSize, '999999999999999', 999_999_999_999_999],
    [parseDuration, '0', 0],
    [parseDuration, '500ms', 500],
    [parseDuration, '10s', 10_000],
    [parseDuration, '0.5s', 500],
    [parseDuration, '0.57s', 570],
    [parseDuration, '5m', 300_000],
    [parseDuration, '1.5h', 5_400_000],
    [parseDuration, '1d', 86_400_000],
    [parseDurationOrInfinity, '5m', 300_000],
    [parseDurationOrInfinity, 'Infinity', Number.POSITIVE_INFINITY],
    [parseDurationOrInfinity, 'infinity', Number.POSITIVE_INFINITY],
    [parseCount, '0', 0],
    [parseCount, '9000', 9000],
    [parseCountOrInfinity, '3', 3],
    [parseCountOrInfinity, 'Infinity', Number.POSITIVE_INFINITY],
    [parsePair, 'a=b', ['a', 'b']],
    [parsePair, 'a=b=c', ['a', 'b=c']],
    [parsePair, 'a=', ['a', '']],
  ]
  for (const [parse, text, value] of table) t.same(parse('--x', text), value, text)
  const wrong: [Parser<unknown>, string[], RegExp][] = [
    [
      parseSize,
      [
        '',
        'x',
        '-1',
        '1e3',
        '1MB',
        '1 M',
        '4mib',
        '1.MiB',
        '.5MiB',
        '99999999GiB',
        ' 1',
        '1toString',
      ],
      /bytes/,
    ],
    [
      parseDuration,
      ['', '5', '250', '10 sec', '10S', '-1s', '1:30', 'Infinity', '1\ns'],
      /time with its unit/,
    ],
    [parseDurationOrInfinity, ['', 'never', '10x', '10'], /time with its unit.*Infinity/],
    [parseCount, ['', '1.5', '-1', '1s', 'Infinity', '1e3'], /whole number/],
    [parseCountOrInfinity, ['', '1.5', 'never'], /whole number, or Infinity/],
    [parsePair, ['', 'a', '=b', '='], /NAME=VALUE/],
  ]
  for (const [parse, texts, message] of wrong) {
    for (const text of texts) {
      const error = caught(() => parse('--x', text))
      t.ok(error instanceof UsageError, text)
      t.match(error?.message, message, text)
      t.match(error?.message, /^--x: /, 'it names the flag')
      if (/^\S+$/.test(text)) t.match(error?.message, `, and not ${text}`, 'it shows the value')
    }
  }
})

t.test('arguments become a command', async t => {
  const backend = { clientOptions: {} }
  const outputMode = { isJson: false, isQuiet: false }
  const noRolling = { roll: undefined, isGzip: false, isResumed: false, journal: undefined }
  const rest = { file: undefined, backend, options: {}, outputMode, grace: 7_000, ...noRolling }
  const append = { name: 'append', url: OBJECT, ...rest } as const
  const cat = { name: 'cat', url: OBJECT, backend, isFollowed: false, interval: 1000 } as const
  const ls = {
    name: 'ls',
    url: OBJECT,
    bucket: 'examplebucket',
    prefix: 'logs/run 7.csv',
    backend,
    isJson: false,
  } as const
  const serve = {
    name: 'serve',
    dir: undefined,
    port: undefined,
    host: undefined,
    buckets: undefined,
    region: undefined,
    credentials: undefined,
    permissions: undefined,
    tls: undefined,
    latency: 0,
    isLogged: false,
    faults: undefined,
    control: undefined,
  } as const
  const table: [string[], Command][] = [
    [[OBJECT], append],
    [
      [OBJECT, '-', '--region=a'],
      { ...append, file: '-', backend: { clientOptions: { region: 'a' } } },
    ],
    [['--local', 'd', OBJECT], { ...append, backend: { local: 'd', clientOptions: {} } }],
    [
      ['--credentials', 'm', OBJECT],
      { ...append, backend: { credentials: 'm', clientOptions: {} } },
    ],
    [['--json', '--quiet', OBJECT], { ...append, outputMode: { isJson: true, isQuiet: true } }],
    [['--grace', '1m', OBJECT], { ...append, grace: 60_000 }],
    [['a.csv', OBJECT], { ...append, file: 'a.csv' }],
    [['-', OBJECT], { ...append, file: '-' }],
    [[OBJECT, 'stat'], { ...append, file: 'stat' }],
    [['dir/a.csv', 'oss://logs/x/'], { ...append, file: 'dir/a.csv', url: 'oss://logs/x/a.csv' }],
    [['oss://logs/', 'a.csv'], { ...append, file: 'a.csv', url: 'oss://logs/a.csv' }],
    [
      ['--resume', 'd/f', 'oss://logs/'],
      { ...append, file: 'd/f', url: 'oss://logs/f', isResumed: true },
    ],
    [['--gzip', OBJECT], { ...append, isGzip: true, options: { align: 'chunk' } }],
    [['--resume', 'f', OBJECT], { ...append, file: 'f', isResumed: true }],
    [
      ['--roll-key', 'a-{index}', '--time-zone=Asia/Shanghai', '--seal-on-roll', 'oss://logs/'],
      {
        ...append,
        url: 'oss://logs/',
        roll: { key: 'a-{index}', timeZone: 'Asia/Shanghai', sealOnRoll: true },
      },
    ],
    [
      ['--roll-bytes=1GiB', 'oss://logs/a-{index}'],
      { ...append, url: 'oss://logs/a-{index}', roll: { maxBytes: 2 ** 30 } },
    ],
    [['demo', '--', '-x'], { name: 'demo', file: '-x', bytes: undefined }],
    [['demo', '--bytes', '0'], { name: 'demo', file: undefined, bytes: 0 }],
    [['demo', '--bytes', '3KiB'], { name: 'demo', file: undefined, bytes: 3072 }],
    [['demo'], { name: 'demo', file: undefined, bytes: undefined }],
    [['stat', OBJECT], { name: 'stat', url: OBJECT, backend, isJson: false }],
    [['stat', '--json', OBJECT], { name: 'stat', url: OBJECT, backend, isJson: true }],
    [['cat', OBJECT], cat],
    [['cat', '-f', '--interval', '50ms', OBJECT], { ...cat, isFollowed: true, interval: 50 }],
    [
      ['verify', 'd/a', 'oss://logs/'],
      { name: 'verify', file: 'd/a', url: 'oss://logs/a', backend, isJson: false },
    ],
    [['stat', 'oss://logs/d/'], { name: 'stat', url: 'oss://logs/d/', backend, isJson: false }],
    [['verify', 'a', OBJECT], { name: 'verify', file: 'a', url: OBJECT, backend, isJson: false }],
    [['ls', 'oss://examplebucket'], { ...ls, url: 'oss://examplebucket', prefix: '' }],
    [['ls', 'oss://examplebucket/'], { ...ls, url: 'oss://examplebucket/', prefix: '' }],
    [['ls', '--json', OBJECT], { ...ls, isJson: true }],
    [['serve'], serve],
    [
      ['serve', '--port=80', '--dir', 'd', '--host', '::'],
      { ...serve, dir: 'd', port: 80, host: '::' },
    ],
    [
      ['serve', '--bucket=a,b', '--region=c', '--credentials=id:secret', '--log'],
      {
        ...serve,
        buckets: ['a', 'b'],
        region: 'c',
        credentials: { accessKeyId: 'id', accessKeySecret: 'secret' },
        isLogged: true,
      },
    ],
    [
      ['serve', '--tls', 'c.pem', 'k.pem', '--latency=20ms', '--fault={}', '--control=0'],
      {
        ...serve,
        tls: { cert: 'c.pem', key: 'k.pem' },
        latency: 20,
        faults: '{}',
        control: 0,
      },
    ],
    [
      ['serve', '--credentials=id:secret:token', '--permissions', 'oss:PutObject, oss:GetObject'],
      {
        ...serve,
        credentials: { accessKeyId: 'id', accessKeySecret: 'secret', securityToken: 'token' },
        permissions: ['oss:PutObject', 'oss:GetObject'],
      },
    ],
    [['cat', '-fh'], { name: 'help', topic: 'cat' }],
    [['--help', 'x'], { name: 'help' }],
    [['help', 'stat'], { name: 'help', topic: 'stat' }],
    [['help'], { name: 'help' }],
    [['help', 'options'], { name: 'help', topic: 'options' }],
  ]
  for (const [args, command] of table) t.same(parseArguments(args), command, args.join(' '))
})

t.test('every option that can be written as text has a flag', async t => {
  const given = {
    '--region': 'a',
    '--endpoint': 'b',
    '--path-style': true,
    '--cname': true,
    '--connect-timeout': '1s',
    '--request-timeout': '2s',
    '--position': '12',
    '--crc64': '34',
    '--buffer': '8MiB',
    '--flush-interval': '500ms',
    '--align': '188',
    '--max-record-bytes': '1MiB',
    '--max-object-bytes': '1GiB',
    '--seal': true,
    '--header': ['x-oss-traffic-limit=819200', 'a=b'],
    '--no-content-md5': true,
    '--max-retries': '3',
    '--max-elapsed': 'Infinity',
    '--min-delay': '1ms',
    '--max-delay': '2ms',
    '--content-type': 'c',
    '--cache-control': 'd',
    '--content-disposition': 'e',
    '--content-encoding': 'f',
    '--expires': 'g',
    '--acl': 'h',
    '--storage-class': 'i',
    '--server-side-encryption': 'j',
    '--server-side-data-encryption': 'k',
    '--tag': ['x=1', 'y=2'],
    '--meta': ['x=3', 'y=4'],
  }
  const args = Object.entries(given).flatMap(([flag, value]) =>
    value === true ? [flag] : [value].flat().flatMap(text => [flag, String(text)]),
  )
  const command = parseArguments([...args, OBJECT])
  t.match(command, {
    backend: {
      clientOptions: {
        region: 'a',
        endpoint: 'b',
        pathStyle: true,
        cname: true,
        connectTimeout: 1000,
        requestTimeout: 2000,
      },
    },
    options: {
      position: 12,
      crc64: '34',
      highWaterMark: 8_388_608,
      flushInterval: 500,
      align: 188,
      maxRecordBytes: 2 ** 20,
      maxObjectBytes: 2 ** 30,
      seal: true,
      headers: { 'x-oss-traffic-limit': '819200', a: 'b' },
      contentMd5: false,
      retry: { maxRetries: 3, maxElapsed: Number.POSITIVE_INFINITY, minDelay: 1, maxDelay: 2 },
      contentType: 'c',
      cacheControl: 'd',
      contentDisposition: 'e',
      contentEncoding: 'f',
      expires: 'g',
      acl: 'h',
      storageClass: 'i',
      serverSideEncryption: 'j',
      serverSideDataEncryption: 'k',
      tagging: { x: '1', y: '2' },
      metadata: { x: '3', y: '4' },
    },
  })
  t.match(parseArguments(['--position', 'end', '--content-md5', OBJECT]), {
    options: { position: 'end', contentMd5: true },
  })
  for (const [option, value] of Object.entries({
    line: '\n',
    '\\n': '\n',
    chunk: 'chunk',
    '4KiB': 4096,
  })) {
    t.match(parseArguments(['--align', option, OBJECT]), { options: { align: value } }, option)
  }
  // The URL has bucket and key; the others are objects.
  const withoutFlag = ['bucket', 'signal', 'client', 'dispatcher', 'pipelining']
  for (const option of [...OPTIONS, ...ROLLING_OPTIONS]) {
    if (option === 'retry') continue
    t.equal(flagOf(option) === undefined, withoutFlag.includes(option), option)
  }
})

/** As long as a secret of Alibaba Cloud. */
const KEY = 'x7q2Vb9Lm4Zt8Kd1Rw5Yp3Nc6Gs0Hj'
const WITHOUT_KEY = new RegExp(`^((?!${KEY}).)*$`)

t.test('a message shows values, but none that may be a secret', async t => {
  const shown: [string, string][] = [
    ['5', '5'],
    ['dir/a-b_c.log', 'dir/a-b_c.log'],
    ['run 7.csv', '"run 7.csv"'],
    ['a\nb', '"a\\nb"'],
    ['', '""'],
    ['ab.'.repeat(30), `${'ab.'.repeat(20)}...`],
  ]
  for (const [value, text] of shown) t.equal(showValue(value), text)
  const secrets = [
    KEY,
    `a=${KEY}`,
    'LTAI5tAbC',
    'STS.NSr',
    'http://h/k?Signature=a%2Bb',
    'secret=1',
  ]
  for (const value of secrets) t.notMatch(showValue(value), value, value)
})

t.test('wrong arguments are refused with the problem and what was meant', async t => {
  const table: [string, string[], RegExp][] = [
    [
      'nothing',
      [],
      /^oss:..BUCKET.KEY is missing: .*demo, stat, cat, ls, verify, drain, journal, serve$/,
    ],
    ['a near command', ['vrify', 'a', OBJECT], /^vrify is no command: did you mean verify\?$/],
    ['no object', ['a.log'], /^oss:..BUCKET.KEY is missing beside a.log: /],
    [
      'a grace that no timer takes',
      ['--grace', '30d', OBJECT],
      /--grace: must be a time of at most 24 days/,
    ],
    ['a far option', ['--frobnicate', OBJECT], /--frobnicate: is unknown$/],
    ['a near option', ['--flush-intervall', '1', OBJECT], /did you mean --flush-interval\?/],
    ['a near option in two words', ['--max_elapsed=1', OBJECT], /did you mean --max-elapsed\?/],
    ["the library's name", ['--metadata', 'a=b', OBJECT], /--metadata: .*mean --meta\?/],
    ['another', ['--tagging=a=b', OBJECT], /did you mean --tag\?/],
    ['of rolling', ['--max-bytes', '1', OBJECT], /did you mean --roll-bytes\?/],
    ['its key', ['--key=a', OBJECT], /did you mean --roll-key\?/],
    ['as in code', ['--maxElapsed=1s', OBJECT], /did you mean --max-elapsed\?/],
    ['one flag, two values', ['--region=a', '--region=b', OBJECT], /--region: is given twice/],
    ['cat -f in a folder', ['cat', '-f', '--local=d', OBJECT], /--follow: --local .*serve --dir/],
    ['an unknown topic', ['help', 'me'], /^help: me is no topic: it is one of options, append, /],
    ['a near topic', ['help', 'verfy'], /^help: verfy is no topic: did you mean verify\?$/],
    ['a flag by a part of its name', ['--retries=3', OBJECT], /mean --max-retries\?$/],
    ['another', ['--timeout=3s', OBJECT], /mean --connect-timeout or --request-timeout\?$/],
    ['a part of no name', ['--size=3', OBJECT], /^--size: is unknown$/],
    ['a time without a unit', ['--flush-interval', '5', OBJECT], /as in 500ms.*and not 5$/],
    ['a folder without FILE', ['oss://b/logs/'], /^the url ends in a slash: add a name/],
    ['a folder and -', ['oss://b/', '-'], /^the url ends in a slash: add a name/],
    ['a pattern without a date', ['--roll-key=app.log', 'oss://b/x/'], /^--roll-key: .*never/],
    ['a pattern of the host alone', ['--roll-key={host}', 'oss://b/x/'], /^--roll-key: .*never/],
    ['a size without an index', ['--roll-bytes=1MiB', OBJECT], /^--roll-bytes: .*add \{index\}/],
    [
      'a size and a date without an index',
      ['--roll-bytes=1MiB', '--roll-key={dd}', 'oss://b/'],
      /^--roll-bytes: .*add \{index\}/,
    ],
    ['a short option', ['-x', OBJECT], /^-x: is unknown$/],
    ['a short option that has a long name', ['-q', OBJECT], /^-q: .*mean --quiet\?$/],
    ['a short option that has many', ['-r', OBJECT], /^-r: is unknown$/],
    ['a name of JavaScript', ['--constructor', OBJECT], /^--constructor: is unknown$/],
    ['an option as value', ['--local', '--region', OBJECT], /--local: its value is missing/],
    ['a value with a hyphen', ['--roll-key', '-{index}', OBJECT], /: then write --roll-key=VALUE/],
    ['a value too many', ['--help=yes'], /--help.*does not take an argument/],
    ['two files', ['--local', 'dir', OBJECT, '-', 'b'], /^unexpected argument b$/],
    ['two files in front', ['a', OBJECT, 'b'], /^unexpected argument b$/],
    ['an empty folder', ['--local', '', OBJECT, '-'], /--local: must name a folder/],
    ['an empty module', ['--credentials=', OBJECT], /--credentials: must name a module/],
    ['both', ['--local', 'dir', '--region', 'x', OBJECT, '-'], /--region: --local has/],
    ['folder and keys', ['--local', 'dir', '--credentials', 'x', OBJECT], /--credentials: --local/],
    [
      'demo and --local',
      ['demo', '--local', 'dir'],
      /--local: is for append, stat, cat, ls and verify/,
    ],
    [
      '--bytes for append',
      ['--bytes', '1', OBJECT, '-'],
      /--bytes: is for demo, and not for append/,
    ],
    ['--bytes and FILE', ['demo', '--bytes', '1', '-'], /--bytes: has no meaning/],
    ['--bytes with an odd unit', ['demo', '--bytes', '1MB'], /--bytes: must be a number/],
    ['--bytes below 0', ['demo', '--bytes=-1'], /--bytes: must be a number/],
    ['--buffer for stat', ['stat', '--buffer', '1', OBJECT], /--buffer: is for append/],
    ['in kebab case', ['--high-water-mark', '1MiB', OBJECT], /did you mean --buffer\?/],
    ['yes and no', ['--content-md5', '--no-content-md5', OBJECT], /-content-md5: is given twice/],
    ['one name, two values', ['--meta', 'a=1', '--meta', 'a=2', OBJECT], /--meta: .*two values/],
    ['--gzip and --align', ['--gzip', '--align=line', OBJECT], /--align: --gzip has/],
    ['an odd alignment', ['--align', 'word', OBJECT], /--align: must be line, chunk or/],
    ['--resume and FILE', ['--resume', 'a', OBJECT, 'b'], /^unexpected argument b$/],
    ['--resume of nothing', ['--resume=', OBJECT], /--resume: must name a file/],
    ['--resume and --roll-key', ['--resume=a', '--roll-key=b', OBJECT], /--resume: is for one/],
    [
      '--position and --roll-bytes',
      ['--position=0', '--roll-bytes=1', OBJECT],
      /--position: is for/,
    ],
    ['--time-zone alone', ['--time-zone=UTC', OBJECT], /--time-zone: needs --roll-key or/],
    ['stat without an object', ['stat'], /^oss:..BUCKET.KEY is missing$/],
    ['verify without an object', ['verify', 'a'], /^oss:..BUCKET.KEY is missing$/],
    ['verify without a file', ['verify', OBJECT], /^FILE is missing$/],
    ['verify without anything', ['verify'], /^FILE is missing$/],
    ['verify the wrong way round', ['verify', OBJECT, 'a'], /must be oss:.*, and not a$/],
    ['cat with two objects', ['cat', OBJECT, OBJECT], /^unexpected argument "oss:/],
    ['--interval alone', ['cat', '--interval', '1s', OBJECT], /--interval: .*without --follow/],
    ['serve with a word', ['serve', 'a'], /^unexpected argument a$/],
    ['serve nowhere', ['serve', '--dir='], /--dir: must name a folder/],
    ['a port too high', ['serve', '--port', '65536'], /--port: must be 0 to 65535, and not 65536/],
    ['a port for --control', ['serve', '--control=99999'], /^--control: must be 0 to 65535, and/],
    ['--tls without a key', ['serve', '--tls', 'a'], /^--tls: KEY is missing, as in --tls cert/],
    ['--tls and a word', ['serve', '--tls', 'a', 'b', 'c'], /^unexpected argument c$/],
    ['an empty bucket', ['serve', '--bucket=a,,b'], /^--bucket: must be words with commas/],
    ['keys without a secret', ['serve', `--credentials=${KEY}`], WITHOUT_KEY],
    ['keys with too much', ['serve', '--credentials=a:b:c:d'], /^--credentials: must be ID:SECRET/],
    ['ls of nothing', ['ls'], /^oss:..BUCKET.KEY is missing$/],
    ['ls of a word', ['ls', 'a'], /must be oss:.*, and not a$/],
    // A key may be pasted in any place.
    ['a word', [KEY], WITHOUT_KEY],
    ['a word too many', ['demo', 'a', KEY], WITHOUT_KEY],
    ['a word as number', ['demo', '--bytes', KEY], WITHOUT_KEY],
    ['a word as pair', ['--meta', KEY, OBJECT], WITHOUT_KEY],
    ['a word for a flag', [`--help=${KEY}`], WITHOUT_KEY],
    ['an unknown option with a word', [`--secret-key=${KEY}`], WITHOUT_KEY],
  ]
  for (const [name, args, message] of table) {
    const error = caught(() => parseArguments(args))
    t.equal(exitCodeOf(error), 2, name)
    t.match(error?.message, message, name)
  }
})

t.test('--journal keeps what a pipe has sent, and says where it makes no sense', async t => {
  const args = ['--journal=j', '--journal-bytes=20GiB', '--journal-sync=1s', OBJECT]
  const options = { journal: { dir: 'j', maxBytes: 20 * 2 ** 30, sync: 1000 } }
  t.match(parseArguments(args), { journal: 'j', options, grace: 500 })
  t.match(parseArguments(['--journal=j', '--grace=7s', OBJECT]), { grace: 7000 })
  t.match(parseArguments(['drain', '--journal-sync=never', '--max-elapsed=1m', 'j', OBJECT]), {
    ...{ name: 'drain', dir: 'j', target: OBJECT, isUnsynced: true, isJson: false },
    retry: { maxElapsed: 60_000 },
  })
  t.match(parseArguments(['journal', 'j']), { name: 'journal', dir: 'j', isJson: false })
  const table: [string[], RegExp][] = [
    [['--journal=', OBJECT], /^--journal: must name a folder$/],
    [['--journal-bytes=1GiB', OBJECT], /^--journal-bytes: needs --journal$/],
    [['--journal-sync=always', OBJECT], /^--journal-sync: needs --journal$/],
    [['--journal=j', '--journal-sync=200', OBJECT], /^--journal-sync: must be always, never, or a/],
    [['--journal=j', '--journal-sync=0', OBJECT], /^--journal-sync: must be/],
    [['--journal=j', '--local=l', OBJECT], /^--local: does not combine with --journal: a folder/],
    [
      ['--journal=j', '--resume=f', OBJECT],
      /^--resume: does not combine with --journal: FILE keeps/,
    ],
    [['--journal=j', '--follow', 'f', `${OBJECT}{index}`], /^--journal: .* --follow: FILE keeps/],
    [
      ['--shared', '--follow', 'f', `${OBJECT}{index}`],
      /^--shared: does not combine with --follow/,
    ],
    [['--journal=j', '--roll-key={slot}', 'oss://logs/a'], /^--roll-key: the key never changes/],
    [['drain', OBJECT], /^DIR is missing/],
    [['drain', 'j', 'k'], /^the object must be oss:..BUCKET.KEY, and not k$/],
    [['drain', '--local=l', 'j'], /^--local: is for append, stat, cat, ls and verify, and not for/],
    [['journal'], /^DIR is missing$/],
    [['journal', 'j', OBJECT], /^unexpected argument "oss:/],
  ]
  for (const [given, message] of table) {
    t.match(caught(() => parseArguments(given))?.message, message, given.join(' '))
  }
})

t.test('the help fits the width of a terminal, and names every command and flag', async t => {
  const texts = [undefined, 'options' as const, ...COMMANDS].map(topic => formatHelp(topic))
  for (const text of texts) {
    for (const line of text.split('\n')) t.ok(line.length <= 80, line)
  }
  // The line of the prompt is the 24th.
  t.ok(HELP.trimEnd().split('\n').length <= 23)
  for (const name of COMMANDS.filter(name => name !== 'append')) {
    t.match(HELP, new RegExp(`^  oss-append ${name} `, 'm'))
  }
  const described = (text: string) =>
    [...text.matchAll(/^ {2}(?:-\w, )?--([a-z0-9-]+)(?: \S+){0,2}? {2,}\S.*$/gm)].map(
      ([, name]) => name,
    )
  t.same(described(formatHelp('options')).sort(), Object.keys(FLAGS).sort(), 'each flag has a line')
  for (const command of COMMANDS) {
    const own = Object.keys(FLAGS).filter(name => FLAGS[name]?.commands.includes(command))
    t.same(described(formatHelp(command)).sort(), own.sort(), command)
  }
  for (const [flag] of HELP.matchAll(/--[a-z][a-z0-9-]*/g)) t.ok(FLAGS[flag.slice(2)], flag)
})

t.test('the examples in the help are valid', async t => {
  const examples = [...HELP.matchAll(/^ {2}(?:ffmpeg .* \| |journalctl .* \| )?oss-append (.*)$/gm)]
    .map(([, line = '']) => line.replace(/ < .*/, '').replaceAll("'", '').split(' '))
    .filter(words => words.at(-1)?.startsWith('oss://') && !words.includes('oss://BUCKET/KEY'))
  t.equal(examples.length, 3)
  for (const words of examples) t.equal(parseArguments(words).name, 'append', words.join(' '))
})

t.test('an error has a text and an exit code', async t => {
  const cause = new OssServiceError('InternalError', 'try later', {
    status: 500,
    requestId: 'REQ',
    hostId: 'HOST',
  })
  const retriesExhausted = new OssError('OSS_ERR_RETRIES_EXHAUSTED', 'gave up', {
    cause,
    tail: { position: 12, crc64: '5' },
  })
  t.equal(
    describeError(retriesExhausted),
    'oss-append: gave up\n' +
      '  code          OSS_ERR_RETRIES_EXHAUSTED\n' +
      '  acknowledged  the object up to byte 12\n' +
      '  caused by  reason        try later\n' +
      '  caused by  code          InternalError\n' +
      '  caused by  request id    REQ\n' +
      '  caused by  host id       HOST\n',
  )
  t.match(describeError(new TypeError('a bug')), /^oss-append: a bug\n +at .*arguments\.test/)
  t.equal(describeError('text'), 'oss-append: text\n')
  t.equal(describeError(new MismatchError(['a', 'b'])), 'oss-append: NOT verified: a; b\n')
  const tail = { position: 1, crc64: '1' }
  const table: [unknown, number][] = [
    [retriesExhausted, 1],
    [null, 1],
    [new SourceError(new Error('a'), 1), 1],
    [new MismatchError(['a']), 4],
    [new InterruptedError(143, 'a'), 143],
    [new UsageError('x'), 2],
    [new OssError('OSS_ERR_INVALID_OPTION', 'x'), 2],
    [new OssConflictError('x', { before: tail, after: tail, seen: tail }), 3],
    [new OssError('OSS_ERR_OBJECT_REPLACED', 'x'), 3],
    [new OssError('OSS_ERR_INTEGRITY', 'x'), 4],
  ]
  for (const [error, code] of table) t.equal(exitCodeOf(error), code)
})

t.test('an error of an option names the flag or the variable', async t => {
  const table: [string, string][] = [
    ['highWaterMark', '--buffer'],
    ['retry.maxElapsed', '--max-elapsed'],
    ['metadata.a b', '--meta'],
    ['metadata.a-b', '--meta a-b'],
    ['headers.host', '--header host'],
    ['headers.LTAIabcdefghijklmnopqrst', '--header'],
    ['tagging', '--tag'],
    ['endpoint', '--endpoint or OSS_ENDPOINT'],
    ['region', '--region or OSS_REGION'],
    ['crc64', '--crc64'],
    ['url', 'url'],
  ]
  for (const [option, words] of table) {
    const error = new OssError('OSS_ERR_INVALID_OPTION', `option ${option}: is odd: see option a`)
    const [line] = describeError(error).split('\n')
    t.equal(line, `oss-append: ${words}: is odd: see option a`)
  }
})

t.test('option names inside a message become flags, but not in messages of OSS', async t => {
  const objectFull = new OssError(
    'OSS_ERR_OBJECT_FULL',
    'more than maxBytes (5), see highWaterMark, aWord',
  )
  t.match(
    describeError(objectFull),
    /^oss-append: more than --roll-bytes \(5\), see --buffer, aWord\n/,
  )
  const invalidOption = new OssError(
    'OSS_ERR_INVALID_OPTION',
    'see the option cname, or the option other',
  )
  t.match(describeError(invalidOption), /^oss-append: see --cname, or the option other\n/)
  const needs = new OssError(
    'OSS_ERR_INVALID_OPTION',
    "option metadata.contentType: needs align, excludes seal, needs 'end' as position, as others",
  )
  const flags = "needs --align, excludes --seal, needs 'end' as --position, as others"
  t.equal(describeError(needs).split('\n')[0], `oss-append: --meta contentType: ${flags}`)
  const serviceError = new OssServiceError('X', 'contentType', { status: 400, requestId: 'R' })
  t.match(describeError(serviceError), /^oss-append: contentType\n/)
})

t.test('an error becomes the fields of an event', async t => {
  const cause = new OssServiceError('InternalError', 'try later', { status: 500, requestId: 'REQ' })
  const error = new OssError('OSS_ERR_RETRIES_EXHAUSTED', 'gave up', {
    cause,
    tail: { position: 12, crc64: '5' },
    attempts: 3,
    unresolved: { position: 12, length: 7 },
  })
  t.same(JSON.parse(JSON.stringify(errorFields(error))), {
    code: 'OSS_ERR_RETRIES_EXHAUSTED',
    message: 'gave up',
    attempts: 3,
    position: 12,
    crc64: '5',
    unresolved: { position: 12, length: 7 },
    cause: { code: 'InternalError', message: 'try later', requestId: 'REQ', status: 500 },
  })
  t.match(describeError(error), /\n {2}unknown {7}the fate of 7 bytes from 12 on\n/)
  t.same(errorFields('text'), { message: 'text' })
  const cliErrors: [Error, object][] = [
    [new UsageError('a'), { code: 'ERR_USAGE' }],
    [new MismatchError(['a']), { code: 'ERR_NOT_VERIFIED' }],
    [new InterruptedError(130, 'a'), { code: 'ERR_INTERRUPTED' }],
    [
      new InterruptedError(130, 'a', { position: 7, unacknowledged: 3 }),
      { code: 'ERR_INTERRUPTED', position: 7, unacknowledged: 3 },
    ],
  ]
  for (const [error, fields] of cliErrors) {
    t.match(errorFields(error), fields)
    t.equal(describeError(error).split('\n')[1] ?? '', error instanceof UsageError ? HINT : '')
  }
})

const HINT = 'Try: oss-append --help'

function caught(callback: () => unknown): Error | undefined {
  try {
    callback()
    return undefined
  } catch (error) {
    return error as Error
  }
}
