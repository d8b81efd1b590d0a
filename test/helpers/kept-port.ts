/**
 * A server on a port that the kernel gives to no other. A server that refuses for a while does not listen, and the
 * kernel may hand its port to the server of another test, which would then take the appends of this one.
 *
 *      20000  block  block  block ... 32767 | 32768  ports that the kernel hands out (Linux, ip(7))
 *             one for each process
 */

import { createOssServer, type OssServer, type OssServerOptions } from '../../lib/server/index.ts'

const FIRST = 20_000
const BLOCK = 200
const BLOCKS = 63

let next = 0

/** Starts a server on a port of this process. */
export async function createServerOnKeptPort(options: OssServerOptions = {}): Promise<OssServer> {
  for (let attempt = 0; attempt < BLOCK; attempt++) {
    const port = FIRST + (process.pid % BLOCKS) * BLOCK + (next++ % BLOCK)
    try {
      return await createOssServer({ port, ...options })
    } catch (error) {
      if (options.port !== undefined || !isInUse(error)) throw error
    }
  }
  throw new Error(`no port from ${FIRST} on is free for process ${process.pid}`)
}

function isInUse(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
}
