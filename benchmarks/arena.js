/**
 * Runs the contenders of a case in turn, A B C A B C ..., so that a busy moment of the machine affects all of
 * them. Each contender has one process for the whole case, and so has the sink. A contender that fails
 * leaves the case with its error, and the others go on.
 */

import { fork } from 'node:child_process'

/** Milliseconds. A turn takes about a second, so a longer one hangs. */
const TURN_TIMEOUT = 180_000

/** A child process with one request at a time. */
class Child {
  #process
  #output = ''
  #waiting
  #failure
  /** Resolves with the first message of the process. */
  ready

  constructor(file, args = [], execArgv = []) {
    const url = new URL(file, import.meta.url)
    this.#process = fork(url, args, { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      output.setEncoding('utf8').on('data', text => {
        this.#output = (this.#output + text).slice(-4000)
      })
    }
    this.#process.on('message', message => this.#settle(message))
    this.#process.on('error', error => this.#fail(error.message))
    this.#process.on('close', (code, signal) => {
      this.#fail(`the process ended with ${signal ?? code}\n${this.#output}`)
    })
    this.ready = this.#next()
    this.ready.catch(() => {})
  }

  /** Sends a message. Resolves with the result. */
  request(message) {
    if (this.#failure) return Promise.reject(new Error(this.#failure))
    this.#process.send(message)
    return this.#next()
  }

  /** Lets the process exit by itself, which ends the processes that it has started. */
  stop() {
    if (this.#process.connected) this.#process.disconnect()
  }

  #next() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(`no result within ${TURN_TIMEOUT / 1000} s`)
        this.#process.kill('SIGKILL')
      }, TURN_TIMEOUT)
      this.#waiting = { resolve, reject, timer }
    })
  }

  #settle({ ready, result, error }) {
    const waiting = this.#waiting
    this.#waiting = undefined
    clearTimeout(waiting?.timer)
    if (error === undefined) waiting?.resolve(ready ?? result)
    else waiting?.reject(new Error(error))
  }

  #fail(reason) {
    this.#failure ??= reason.trim()
    this.#settle({ error: this.#failure })
  }
}

/**
 * Runs a case.
 *
 * @param {import('./cases.js').Case} benchmark
 * @param {number} rounds
 * @param {(text: string) => void} log
 * @returns the turns or the error of each contender, by label
 */
export async function runCase({ contenders, latency = 0, warmUp = 1 }, rounds, log) {
  const results = {}
  const children = []
  try {
    const sink = new Child('sink.js')
    children.push(sink)
    const address = await sink.ready
    const running = await Promise.all(
      contenders.map(async ({ label, file, params, flags, worker = 'worker.js' }) => {
        const json = JSON.stringify({ ...params, sink: address })
        const child = new Child(worker, [file, json], flags)
        children.push(child)
        results[label] = { turns: [] }
        await child.ready.catch(error => {
          results[label].error = error.message
        })
        return { label, child }
      }),
    )
    for (let round = -warmUp; round < rounds; round++) {
      for (const { label, child } of running) {
        const result = results[label]
        if (result.error !== undefined) continue
        try {
          await sink.request({ latency })
          const turn = await child.request({})
          turn.sink = await sink.request({})
          if (round >= 0) result.turns.push(turn)
        } catch (error) {
          result.error = error.message
          log(`  ${label}: ${error.message}`)
        }
      }
    }
    return results
  } finally {
    for (const child of children) child.stop()
  }
}
