/**
 * The engine on WebAssembly SIMD: moves bytes into the module's memory, piece by piece, and has them
 * summed there. What happens there, and why it is right, is told in `kernel/index.ts`; `wasm.ts` is
 * that file compiled.
 */

import type { Update } from './ecma182.ts'
import { CODE } from './wasm.ts'

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Address of the CRC, in before and out after, 8 bytes. */
  readonly CRC: { readonly value: number }
  /** Address of the bytes. */
  readonly DATA: { readonly value: number }
  /** What `fold` takes. */
  readonly PIECE: { readonly value: number }
  /** What `finish` takes at most. */
  readonly CAPACITY: { readonly value: number }
  fold(): void
  finish(length: number): void
}

/** Neither the `lib` of the language nor Node's types declare it. */
declare const WebAssembly:
  | undefined
  | {
      validate(code: Uint8Array): boolean
      Module: new (code: Uint8Array) => object
      Instance: new (module: object) => { readonly exports: unknown }
    }

/** Takes a fraction of a millisecond. Undefined where WebAssembly, or its SIMD, is missing. */
export function loadSimd(): Update | undefined {
  const code = Buffer.from(CODE, 'base64')
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(code)) return undefined
  const kernel = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as Kernel
  const { buffer } = kernel.memory
  const piece = kernel.PIECE.value
  const capacity = kernel.CAPACITY.value
  const data = new Uint8Array(buffer, kernel.DATA.value, capacity)
  // A bigint as an argument costs more than the CRC of 64 bytes does; through memory it is cheap.
  const crc = new DataView(buffer, kernel.CRC.value, 8)

  return (previous, bytes) => {
    crc.setBigUint64(0, previous, true)
    let start = 0
    for (; bytes.length - start > capacity; start += piece) {
      data.set(bytes.subarray(start, start + piece))
      kernel.fold()
    }
    data.set(start === 0 ? bytes : bytes.subarray(start))
    kernel.finish(bytes.length - start)
    return crc.getBigUint64(0, true)
  }
}
