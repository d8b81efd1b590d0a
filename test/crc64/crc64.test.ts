import t from 'tap'
import { combine } from '../../lib/crc64/combine.ts'
import { crc64, crc64Combine, parseCrc64, update } from '../../lib/crc64/index.ts'
import {
  bitwise,
  combineByMatrix,
  LARGEST,
  randomBytes,
  randomCrc,
  randomSource,
} from '../helpers/crc64-reference.ts'

const KNOWN: [string, Uint8Array | string, string][] = [
  ['nothing', '', '0'],
  ['a', 'a', '3675645893302102789'],
  ['abc', 'abc', '3231342946509354535'],
  ['the check value', '123456789', '11051210869376104954'],
  ['hello', 'hello', '11177612005948864433'],
  ['a leading space', ' world', '189104202581697307'],
  ['hello world', 'hello world', '5981764153023615706'],
  ['12345', '12345', '6748440630437108969'],
  ['67890', '67890', '6285347597771850461'],
  ['1234567890', '1234567890', '12811388247244714686'],
  ['the guide', 'hi oss,append object', '2313496259928504459'],
  ['a sentence', 'This is a test of the emergency broadcast system.', '2871916124362751090'],
  ['IHATEMATH', 'IHATEMATH', '4116537408385638600'],
  ['one zero byte', new Uint8Array(1), '2282658103124508505'],
  ['eight zero bytes', new Uint8Array(8), '13144445341178972864'],
  ['eight 0xFF', new Uint8Array(8).fill(0xff), '18446744073709551615'],
  ['every byte', Uint8Array.from({ length: 256 }, (_, i) => i), '8232944260754389680'],
  ['a MiB of zeros', new Uint8Array(1024 * 1024), '6947770692288575170'],
]

t.test('crc64() gives published and derived values', async t => {
  for (const [name, data, expected] of KNOWN) {
    t.equal(crc64(data), expected, name)
    t.equal(crc64(data, '0'), expected, `${name}, after nothing`)
  }
})

t.test('crc64() takes a string as its UTF-8 bytes', async t => {
  for (const text of ['日志/应用 日志.log', 'é', '\u{1f600}', 'a\0b', 'lone \ud800']) {
    t.equal(crc64(text), crc64(new TextEncoder().encode(text)), JSON.stringify(text))
  }
})

t.test('update() agrees with a CRC computed bit by bit', async t => {
  const random = randomSource(64)
  for (let length = 0; length <= 600; length++) {
    const bytes = randomBytes(random, length)
    const previous = length % 2 ? randomCrc(random) : 0n
    if (update(previous, bytes) !== bitwise(previous, bytes)) t.fail(`${length} bytes`)
  }
  for (const length of [4095, 4096, 4097, 20_000]) {
    const bytes = randomBytes(random, length)
    t.equal(update(0n, bytes), bitwise(0n, bytes), `${length} bytes`)
  }
  for (const previous of [0n, 1n, LARGEST, LARGEST - 1n, 1n << 63n, 1n << 32n, 0xffff_ffffn]) {
    const bytes = randomBytes(random, 33)
    t.equal(update(previous, bytes), bitwise(previous, bytes), `after ${previous}`)
    t.equal(update(previous, new Uint8Array(0)), previous, `nothing after ${previous}`)
  }
})

t.test('update() takes any Uint8Array, at any offset and over any buffer', async t => {
  const bytes = randomBytes(randomSource(1), 3000)
  const expected = bitwise(0n, bytes)
  for (let offset = 0; offset <= 32; offset++) {
    const whole = new Uint8Array(bytes.length + 64).fill(0xaa)
    const view = whole.subarray(offset, offset + bytes.length)
    view.set(bytes)
    t.equal(update(0n, view), expected, `view at ${offset}`)
  }
  const shared = new Uint8Array(new SharedArrayBuffer(4000), 7, bytes.length)
  shared.set(bytes)
  t.equal(update(0n, shared), expected, 'in shared memory')
  const resizable = new Uint8Array(
    Reflect.construct(ArrayBuffer, [3000, { maxByteLength: 8000 }]) as ArrayBuffer,
  )
  resizable.set(bytes)
  t.equal(update(0n, resizable), expected, 'in a resizable buffer')
  t.equal(update(0n, Buffer.from(bytes)), expected, 'a Buffer')
  t.equal(update(7n, new Uint8Array(new SharedArrayBuffer(0))), 7n, 'shared memory of no bytes')
  t.same(bytes, randomBytes(randomSource(1), 3000), 'the input is unchanged')
})

t.test('the CRCs of two parts make the CRC of the whole', async t => {
  for (let cut = 0; cut <= 10; cut++) {
    const [head, rest] = ['1234567890'.slice(0, cut), '1234567890'.slice(cut)]
    t.equal(crc64(rest, crc64(head)), '12811388247244714686', `previous at ${cut}`)
    t.equal(crc64Combine(crc64(head), crc64(rest), rest.length), '12811388247244714686')
  }
})

t.test('combine() agrees with a matrix for any length', async t => {
  const random = randomSource(3)
  const lengths = [0, 1, 2, 3, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 5 * 2 ** 30]
  for (let k = 2; k <= 53; k++) lengths.push(2 ** k - 1, 2 ** (k - 1))
  for (let i = 0; i < 40; i++) lengths.push(Math.floor(random() * Number.MAX_SAFE_INTEGER))
  for (const length of lengths) {
    const [a, b] = [randomCrc(random), randomCrc(random)]
    t.equal(combine(a, b, length), combineByMatrix(a, b, length), `${length} bytes`)
  }
  t.equal(combine(5n, 0n, 0), 5n, 'nothing appended')
  t.equal(combine(LARGEST, LARGEST, 0), 0n)
  t.not(combine(5n, 0n, 1), 5n, 'a CRC of 0 is not the absence of bytes')
})

t.test('combine() is associative', async t => {
  const random = randomSource(4)
  for (let i = 0; i < 200; i++) {
    const [a, b, c] = [randomCrc(random), randomCrc(random), randomCrc(random)]
    const [lengthB, lengthC] = [Math.floor(random() * 2 ** 40), Math.floor(random() * 2 ** 40)]
    const left = combine(combine(a, b, lengthB), c, lengthC)
    if (left !== combine(a, combine(b, c, lengthC), lengthB + lengthC)) t.fail(`round ${i}`)
  }
})

t.test('parseCrc64() takes a CRC as OSS writes it, and nothing else', async t => {
  t.equal(parseCrc64('0'), 0n)
  t.equal(parseCrc64('00000000000000000007'), 7n)
  t.equal(parseCrc64('18446744073709551615'), LARGEST)
  const wrong = ['', ' ', ' 1', '1 ', '-1', '+1', '1.0', '1e3', '0x1', '1n', 'abc', '1\n', '١']
  for (const text of [...wrong, '18446744073709551616', '99999999999999999999', '0'.repeat(21)]) {
    t.equal(parseCrc64(text), undefined, JSON.stringify(text))
  }
})

t.test('crc64() and crc64Combine() refuse wrong arguments', async t => {
  for (const previous of ['', '-1', '18446744073709551616', 'abc', 5, 5n, null, {}]) {
    const wrong = previous as string
    const expected = { name: 'TypeError', message: /^crc64: previous must be a decimal string/ }
    t.throws(() => crc64('a', wrong), expected, String(previous))
    t.throws(() => crc64Combine(wrong, '0', 1), { name: 'TypeError', message: /: a must be/ })
    t.throws(() => crc64Combine('0', wrong, 1), { name: 'TypeError', message: /: b must be/ })
  }
  t.equal(crc64('a', undefined), crc64('a'))
  for (const [previous, shown] of [
    ['abc', '"abc"'],
    ['9'.repeat(41), 'a value of type string'],
    [5n, 'the bigint 5'],
    [null, 'null'],
    [{}, 'a value of type object'],
  ]) {
    const message = `crc64: previous must be a decimal string from '0' to '${LARGEST}', not ${shown}`
    t.throws(() => crc64('a', previous as string), { message })
  }
  for (const data of [undefined, null, 5, [1, 2], new ArrayBuffer(3), new Uint16Array(3)]) {
    t.throws(() => crc64(data as unknown as Uint8Array), {
      name: 'TypeError',
      message: /^crc64: data must be/,
    })
  }
  for (const length of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    t.throws(() => crc64Combine('0', '0', length), { name: 'RangeError', message: /lengthB/ })
  }
  for (const length of ['5', undefined, 5n]) {
    const wrong = length as unknown as number
    t.throws(() => crc64Combine('0', '0', wrong), { name: 'TypeError', message: /lengthB/ })
  }
})
