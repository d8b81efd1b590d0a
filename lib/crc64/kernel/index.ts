/**
 * CRC-64/XZ without a table for the bulk of the bytes: AssemblyScript, compiled to WebAssembly SIMD by
 * `build.js` beside it.
 *
 * A CRC is the remainder of the message, read as a polynomial over GF(2), modulo
 * P = x^64 + 0x42F0E1EBA9EA3693. Adding a multiple of P to the message leaves the remainder alone. So
 * take a sparse multiple of P:
 *
 *     M = x^1403 + x^1286 + x^1251 + x^1162 + x^1008 + x^509 + x^153 + 1
 *
 * Over GF(2) the square of a sum is the sum of the squares, hence M^8 = M(x^8): also a multiple, and
 * its terms lie a whole number of *bytes* apart. Adding M^8, times the first byte and the right power
 * of x, to the message cancels that byte, and changes seven others, at 1403 less each exponent:
 *
 *     byte     i    i+117 i+152  i+241   i+395        i+894        i+1250  i+1403
 *     becomes  0      ^=    ^=     ^=      ^=           ^=            ^=      ^=      what it was
 *
 * Cancelling one byte after another leaves the last 1403, whose CRC is that of the message: only they
 * go through a table. Read from the other end, the value with which byte i is cancelled is itself plus
 * those at i-117, i-152, ... i-1403, where what lies before the message is 0. The nearest is 117 bytes
 * back, so a vector of 16 never waits for itself: eight loads, seven XORs and a store for 16 bytes.
 * The loads are the limit, so unrolling gains nothing. (P has an even number of terms, so x + 1 divides
 * it, and every multiple has an even number too: M has the smallest degree found for eight, and six
 * would take one beyond 2^14. A CRC is bit-reflected within the byte, which whole bytes don't notice.)
 *
 * The idea is that of "Chorba" (arXiv 2412.16398), made there for CRC-32.
 *
 *     0 ............. TABLE     8 x 256 x 8 bytes: slicing-by-8, for short inputs and the last 1403
 *     16384 ......... CRC
 *     16400 ......... HISTORY   the values of the 1403 cancelled bytes before DATA, else 0
 *     17808 ......... DATA      the caller writes its bytes here, and they become values in place
 *     ............... TAIL      the last 1403 to 1418 bytes, while DATA goes on with 0 behind them
 */

const POLYNOMIAL: u64 = 0xc96c5795d7870f42 // bit-reflected: the coefficient of x^0 is the top bit

const REACH: usize = 1403
const VECTOR: usize = 16
/** REACH in whole vectors. */
const SPAN: usize = 1408

const TABLE: usize = 0
const SLICE: usize = 256 * 8
/** Where the caller writes the CRC of the bytes before, and reads the CRC of all. */
export const CRC: usize = TABLE + 8 * SLICE
const HISTORY: usize = CRC + VECTOR

/** Where the caller writes its bytes. */
export const DATA: usize = HISTORY + SPAN
/** What `fold` takes: whole vectors, few enough to stay in the processor's caches. */
export const PIECE: usize = 65536
/** From here on cancelling is faster than the table alone. More than REACH, by a vector at least. */
const CROSSOVER: usize = 1792
/** What `finish` takes at most: so the last piece of a long input is never too short to cancel in. */
export const CAPACITY: usize = PIECE + CROSSOVER

/** DATA may go on with zeros for one SPAN. */
const TAIL: usize = DATA + CAPACITY + SPAN

for (let byte: usize = 0; byte < 256; byte++) {
  let crc: u64 = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (POLYNOMIAL & (0 - (crc & 1)))
  store<u64>(TABLE + byte * 8, crc)
}
// Each further slice is the one before, followed by one more byte of 0.
for (let at = TABLE + SLICE; at < TABLE + 8 * SLICE; at += 8) {
  const crc = load<u64>(at - SLICE)
  store<u64>(at, (crc >> 8) ^ load<u64>(entry(crc, 0), TABLE))
}

/**
 * Cancels the PIECE bytes at DATA. More bytes must follow: further pieces, and at the end `finish` with
 * CROSSOVER bytes at least.
 */
export function fold(): void {
  enter()
  cancel(PIECE)
  memory.copy(HISTORY, DATA + PIECE - SPAN, SPAN)
}

/** Brings CRC up to date with all pieces and the last `length` bytes, at DATA. */
export function finish(length: usize): void {
  if (length < CROSSOVER) {
    store<u64>(CRC, ~divide(~load<u64>(CRC), DATA, length))
    return
  }
  enter()
  const cancelled = (length - REACH) & ~(VECTOR - 1)
  const rest = length - cancelled
  cancel(cancelled)
  memory.copy(TAIL, DATA + cancelled, rest)
  memory.fill(DATA + cancelled, 0, SPAN)
  for (let at: usize = 0; at < SPAN; at += VECTOR) {
    const sum = gather(v128.load(TAIL + at), DATA + cancelled + at - REACH)
    v128.store(TAIL + at, sum)
  }
  memory.fill(HISTORY, 0, SPAN)
  store<u64>(CRC, ~divide(0, TAIL, rest))
}

/** The CRC so far, inverted, is the same as its bytes added to the first 8 that follow. */
function enter(): void {
  store<u64>(DATA, load<u64>(DATA) ^ ~load<u64>(CRC))
  store<u64>(CRC, ~0)
}

@inline
function cancel(length: usize): void {
  for (let at = DATA - REACH; at < DATA - REACH + length; at += VECTOR) {
    v128.store(at, gather(v128.load(at, REACH), at), REACH)
  }
}

/** `sum` plus the seven vectors of values that reach it; `first` is the farthest, REACH before it. */
@inline
function gather(sum: v128, first: usize): v128 {
  sum = v128.xor(sum, v128.load(first, 0))
  sum = v128.xor(sum, v128.load(first, 153))
  sum = v128.xor(sum, v128.load(first, 509))
  sum = v128.xor(sum, v128.load(first, 1008))
  sum = v128.xor(sum, v128.load(first, 1162))
  sum = v128.xor(sum, v128.load(first, 1251))
  return v128.xor(sum, v128.load(first, 1286))
}

/** The ordinary way: 8 bytes at a time through 8 tables. XORs as a tree, for a chain would be waited for. */
function divide(register: u64, at: usize, length: usize): u64 {
  const end = at + length
  for (const last = at + (length & ~7); at < last; at += 8) {
    const r = register ^ load<u64>(at)
    register =
      ((load<u64>(entry(r, 0), TABLE + 7 * SLICE) ^ load<u64>(entry(r, 1), TABLE + 6 * SLICE)) ^
        (load<u64>(entry(r, 2), TABLE + 5 * SLICE) ^ load<u64>(entry(r, 3), TABLE + 4 * SLICE))) ^
      ((load<u64>(entry(r, 4), TABLE + 3 * SLICE) ^ load<u64>(entry(r, 5), TABLE + 2 * SLICE)) ^
        (load<u64>(entry(r, 6), TABLE + SLICE) ^ load<u64>(entry(r, 7), TABLE)))
  }
  for (; at < end; at++) {
    register = (register >> 8) ^ load<u64>(entry(register ^ load<u8>(at), 0), TABLE)
  }
  return register
}

/** Where in a slice the entry of byte `n` of `register` is. */
@inline
function entry(register: u64, n: u32): usize {
  return <usize>((n == 0 ? register << 3 : register >> (8 * n - 3)) & 0x7f8)
}
