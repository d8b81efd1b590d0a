/**
 * The engine on WebAssembly SIMD: copies bytes into the memory of the module, piece by piece, and calls the
 * kernel. `kernel/index.ts` explains the algorithm, and `wasm.ts` is that file compiled.
 */

import type { Update } from './ecma182.ts'
import { CODE } from './wasm.ts'

interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** Address of the CRC, 8 bytes: read before and written after each call. */
  readonly CRC: { readonly value: number }
  /** Address of the bytes. */
  readonly DATA: { readonly value: number }
  /** Bytes that `fold()` takes. */
  readonly PIECE: { readonly value: number }
  /** The most bytes that `finish()` takes. */
  readonly CAPACITY: { readonly value: number }
  fold(): void
  finish(length: number): void
}

/** Neither TypeScript's `es2023` library nor @types/node 20 declares it. */
declare const WebAssembly:
  | undefined
  | {
      validate(code: Uint8Array): boolean
      Module: new (code: Uint8Array) => object
      Instance: new (module: object) => { readonly exports: unknown }
    }

/** Undefined on a machine without WebAssembly SIMD. Takes a fraction of a millisecond. */
export function loadSimd(): Update | undefined {
  const code = Buffer.from(CODE, 'base64')
  if (typeof WebAssembly === 'undefined' || !WebAssembly.validate(code)) return undefined
  const kernel = new WebAssembly.Instance(new WebAssembly.Module(code)).exports as Kernel
  const { buffer } = kernel.memory
  const piece = kernel.PIECE.value
  const capacity = kernel.CAPACITY.value
  const data = new Uint8Array(buffer, kernel.DATA.value, capacity)
  // A bigint argument costs more than the CRC of 64 bytes. Passing it in memory is cheap.
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
