/**
 * Where contenders take turns: A B C A B C ..., so that a busy moment of the machine hits them all. Each
 * lives in a process of its own for the whole case, the sink in another, started afresh for each case.
 * A contender that fails is out, with what it said; the others go on.
 */

import { fork } from 'node:child_process'

/** Milliseconds. A turn takes a second; only a hang takes this. */
const PATIENCE = 180_000

/** A child that is asked one thing at a time. */
class Child {
  #process
  #said = ''
  #waiting
  #failure
  /** What it tells when it is up. */
  ready

  constructor(file, args = [], execArgv = []) {
    const url = new URL(file, import.meta.url)
    this.#process = fork(url, args, { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
    for (const output of [this.#process.stdout, this.#process.stderr]) {
      output.setEncoding('utf8').on('data', text => {
        this.#said = (this.#said + text).slice(-4000)
      })
    }
    this.#process.on('message', message => this.#settle(message))
    this.#process.on('error', error => this.#fail(error.message))
    this.#process.on('close', (code, signal) => {
      this.#fail(`the process ended with ${signal ?? code}\n${this.#said}`)
    })
    this.ready = this.#next()
    this.ready.catch(() => {})
  }

  /** Sends a message, and resolves with what it answers. */
  ask(message) {
    if (this.#failure) return Promise.reject(new Error(this.#failure))
    this.#process.send(message)
    return this.#next()
  }

  stop() {
    this.#process.kill('SIGKILL')
  }

  #next() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(`no answer within ${PATIENCE / 1000} s`)
        this.stop()
      }, PATIENCE)
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
 * @param {import('./cases.js').Case} given
 * @param {number} rounds
 * @param {(text: string) => void} say
 * @returns each contender's turns, by its label, or its failure
 */
export async function runCase({ contenders, latency = 0, isCold = false }, rounds, say) {
  const results = {}
  const children = []
  try {
    const sink = new Child('sink.js')
    children.push(sink)
    const address = await sink.ready
    const present = await Promise.all(
      contenders.map(async ({ label, file, params, flags }) => {
        const json = JSON.stringify({ ...params, sink: address })
        const child = new Child('worker.js', [file, json], flags)
        children.push(child)
        results[label] = { turns: [] }
        await child.ready.catch(error => {
          results[label].error = error.message
        })
        return { label, child }
      }),
    )
    // The first turn, unless it is the only one that counts, warms up.
    for (let round = isCold ? 1 : 0; round <= rounds; round++) {
      for (const { label, child } of present) {
        const result = results[label]
        if (result.error !== undefined) continue
        try {
          await sink.ask({ latency })
          const turn = await child.ask({})
          turn.sink = await sink.ask({})
          if (round > 0) result.turns.push(turn)
        } catch (error) {
          result.error = error.message
          say(`  ${label}: ${error.message}`)
        }
      }
    }
    return results
  } finally {
    for (const child of children) child.stop()
  }
}
