/**
 * Deliberate faults: what the code would look like if somebody forgot one of its rules, and the tests that
 * must see it. `npm run test:mutants` tries them (mutants.ts); that each still fits its file, and so is
 * tried at all, is in the daily suite.
 */

export interface Mutant {
  readonly name: string
  readonly file: string
  /** Stands in the file exactly once. */
  readonly find: string
  readonly replace: string
  /** Test files, one of which must fail. */
  readonly tests: readonly string[]
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'settle by length alone',
    file: 'lib/append/tail.ts',
    find: 'return a.position === b.position && a.crc64 === b.crc64',
    replace: 'return a.position === b.position',
    tests: ['append/tail'],
  },
  {
    name: 'no CRC check on 200',
    file: 'lib/append/appender.ts',
    find: 'if (!isSameTail(after, reply)) throw integrity(after, reply)',
    replace: 'if (after.position !== reply.position) throw integrity(after, reply)',
    tests: ['append/position-conflict', 'append/appender'],
  },
  {
    name: '`seen` mixed from two replies',
    file: 'lib/append/find-tail.ts',
    find: 'return head && observedTail(await this.#complete(appendableTail(head)))',
    replace:
      'return head && { ...(await this.#complete(appendableTail(head))), position: length ?? head.length }',
    tests: ['append/position-conflict'],
  },
  {
    name: 'one byte added to a resend',
    file: 'lib/append/appender.ts',
    find: 'client.append(target, { ...request, signal }),',
    replace: `client.append(target, {
          ...request,
          body: this.#retryLoop.attempts > 1 ? Buffer.concat([request.body, Buffer.from('!')]) : request.body,
          signal,
        }),`,
    tests: ['append/retry', 'append/position-conflict'],
  },
  {
    name: 'metadata on the second append',
    file: 'lib/append/appender.ts',
    find: '...(this.#exists ? undefined : creationHeaders),',
    replace: '...creationHeaders,',
    tests: ['append/appender', 'stream/written-bytes'],
  },
  {
    name: 'no copy in write',
    file: 'lib/stream/batcher.ts',
    find: 'this.#reserve(bytes.length).set(bytes, this.#length)',
    replace:
      'if (this.#length === 0) this.#filling = bytes as Buffer; else this.#reserve(bytes.length).set(bytes, this.#length)',
    tests: ['stream/written-bytes', 'stream/batcher'],
  },
  {
    name: "flush that ignores Node's queue",
    file: 'lib/stream/append-stream.ts',
    find: `        this.write(NO_BYTES, error => {
          // Whatever ends the stream tells all who wait, with what is known of their bytes.
          wait(error ? Number.POSITIVE_INFINITY : this.#flushNow())
        })`,
    replace: '        wait(this.#flushNow())',
    tests: ['stream/lifecycle'],
  },
  {
    name: 'a closed client leaves what undici has forgotten',
    file: 'lib/client/agent.ts',
    find: 'for (const socket of this.#sockets) socket.destroy(reason)',
    replace: '',
    tests: ['client/bad-sockets'],
  },
  {
    name: 'a misspelled fault is accepted',
    file: 'lib/server/fault-queue.ts',
    find: 'for (const fault of faults) checkFault(fault)',
    replace: '',
    tests: ['server/options'],
  },
  {
    name: 'a batch that ends within a record',
    file: 'lib/stream/batcher.ts',
    find: 'const bytes = buffer.subarray(0, this.#whole)',
    replace: 'this.#whole = this.#length; const bytes = buffer.subarray(0, this.#whole)',
    tests: ['stream/batcher', 'stream/whole-records'],
  },
  {
    name: 'flush that waits for the end of a record',
    file: 'lib/stream/flush-timer.ts',
    find: `this.#due = accepted - filling + whole
`,
    replace: `this.#due = accepted - filling + Math.max(whole, filling)
`,
    tests: ['stream/flush-timer', 'stream/whole-records'],
  },
  {
    name: 'of a record that is too long a part is sent',
    file: 'lib/stream/append-stream.ts',
    find: 'if (!batch) this.#failOnLongRecord()',
    replace:
      'if (!batch) { this.#batcher.end(); return this.#batcher.take() ?? this.#failOnLongRecord() as undefined }',
    tests: ['stream/whole-records'],
  },
  {
    name: 'an abort in _final is swallowed',
    file: 'lib/stream/append-stream.ts',
    find: 'const isCutShort = this.writableEnded && !this.#isComplete',
    replace: 'const isCutShort = false',
    tests: ['stream/lifecycle'],
  },
  {
    name: 'the retry timer never holds the process',
    file: 'lib/append/retry-loop.ts',
    find: 'if (!this.#keepsProcessAlive) timer.unref()',
    replace: 'timer.unref()',
    tests: ['append/retry', 'append/abort', 'append/find-tail'],
  },
  {
    name: 'the command gives up behind a pipe',
    file: 'lib/cli/append.ts',
    find: 'const OSS_MAX_ELAPSED = Number.POSITIVE_INFINITY',
    replace: 'const OSS_MAX_ELAPSED = 300_000',
    tests: ['cli/append'],
  },
  {
    name: 'the lock of a folder is held by any process of that number',
    file: 'lib/folder-lock.ts',
    find: `if (current !== undefined && identity !== '') return current === identity`,
    replace: 'if (current !== undefined) return true',
    tests: ['cli/backend'],
  },
  {
    name: 'who only looks into a folder cuts off what a writer is about',
    file: 'lib/server/folder-store.ts',
    find: '      yield { state, content }',
    replace: `      this.#recover()
      yield { state, content }`,
    tests: ['server/folder-store'],
  },
  {
    name: 'the clock offset added twice',
    file: 'lib/client/request-signer.ts',
    find: 'this.#clockOffset = offset',
    replace: 'this.#clockOffset += offset',
    tests: ['client/client'],
  },
  {
    name: 'the server takes a wrong position',
    file: 'lib/server/writing.ts',
    find: 'if (position !== length) throw wrongPosition(length)',
    replace: 'if (position > length) throw wrongPosition(length)',
    tests: ['server/server'],
  },
  {
    name: 'the server checks no signature',
    file: 'lib/server/signature.ts',
    find: 'if (!timingSafeEqual(Buffer.from(signature), Buffer.from(fields.signature))) {',
    replace: 'if (signature.length !== fields.signature.length) {',
    tests: ['server/signature'],
  },
  {
    name: 'the server takes no signature with Date alone',
    file: 'lib/server/signature.ts',
    find: "request.headers.get('x-oss-date') ?? request.headers.get('date') ?? ''",
    replace: "request.headers.get('x-oss-date') ?? ''",
    tests: ['server/captured-requests'],
  },
  {
    name: 'the control address takes any token',
    file: 'lib/server/control.ts',
    find: 'if (!this.#isAuthorized(req)) {',
    replace: 'if (req.headers.authorization === undefined) {',
    tests: ['server/control'],
  },
  {
    name: 'a full disk leaves the bytes of a failed append',
    file: 'lib/server/objects.ts',
    find: '      content.truncate(state.length)\n',
    replace: '',
    tests: ['server/folder-store'],
  },
  {
    name: 'damage of the same length is loaded',
    file: 'lib/server/folder-store.ts',
    find: 'if (stat.mtimeMs === mtime) return true',
    replace: 'return true',
    tests: ['server/folder-store'],
  },
  {
    name: 'a request behind a response that hangs is served',
    file: 'lib/server/handler.ts',
    find: "if (!socket.destroyed) await once(socket, 'close')",
    replace: '',
    tests: ['server/faults'],
  },
  {
    name: 'combine off by one byte',
    file: 'lib/crc64/combine.ts',
    find: 'rest = lengthB; rest > 0',
    replace: 'rest = lengthB + 1; rest > 0',
    tests: ['crc64/crc64'],
  },
  {
    name: 'finish before the last acknowledgement',
    file: 'lib/stream/append-stream.ts',
    find: `    this.#acknowledge(await appending)
`,
    replace: `    if (this.#finish && this.#batcher.filling === 0) {
      process.nextTick(this.#finish)
      this.#finish = () => {}
    }
    this.#acknowledge(await appending)
`,
    tests: ['stream/written-bytes', 'stream/lifecycle'],
  },
  {
    name: 'an object is left one batch too late',
    file: 'lib/rolling/roller.ts',
    find: 'position + length <= maxBytes) return undefined',
    replace: 'position + Math.min(length, 1) <= maxBytes) return undefined',
    tests: ['rolling/roller', 'rolling/rolling-stream'],
  },
  {
    name: 'what was found ahead is used for another key',
    file: 'lib/rolling/roller.ts',
    find: `return isNeeded && found
      ? found`,
    replace: 'return found ? found',
    tests: ['rolling/roller'],
  },
  {
    name: 'the search ahead is not ended with the stream',
    file: 'lib/rolling/roller.ts',
    find: `  abort(reason: Error): void {
    this.#nextSearch?.stop()`,
    replace: '  abort(reason: Error): void {',
    tests: ['rolling/roller', 'rolling/rolling-stream'],
  },
  {
    name: "'close' before the search ahead has ended",
    file: 'lib/rolling/rolling-stream.ts',
    find: 'void this.#roller.whenIdle().then(() => callback(reason))',
    replace: `void this.#roller.whenIdle()
      callback(reason)`,
    tests: ['rolling/rolling-stream'],
  },
  {
    name: 'a restart appends to what is full',
    file: 'lib/rolling/find-object.ts',
    find: 'low.tail.position >= this.#options.maxBytes',
    replace: 'low.tail.position > this.#options.maxBytes',
    tests: ['rolling/find-object', 'rolling/rolling-stream'],
  },
  {
    name: 'a search that stops a step too early',
    file: 'lib/rolling/find-object.ts',
    find: 'while (high.index - low.index > 1)',
    replace: 'while (high.index - low.index > 2)',
    tests: ['rolling/find-object'],
  },
  {
    name: 'an object that is there and empty is created again',
    file: 'lib/rolling/roller.ts',
    find: 'target, ...tail, exists }, this.#retryLoop)',
    replace: 'target, ...tail, exists: exists && tail.position > 0 }, this.#retryLoop)',
    tests: ['rolling/roller'],
  },
  {
    name: 'each object has a line of its own',
    file: 'lib/rolling/roller.ts',
    find: 'target, ...tail, exists }, this.#retryLoop)',
    replace: 'target, ...tail, exists })',
    tests: ['rolling/roller'],
  },
  {
    name: 'time never rolls',
    file: 'lib/rolling/roller.ts',
    find: 'return this.#keyOf(date, current.index) !== current.appender.key',
    replace: 'return false',
    tests: ['rolling/roller', 'rolling/rolling-stream'],
  },
  {
    name: 'the next hour is looked for after the next index',
    file: 'lib/rolling/roller.ts',
    find: 'if (this.#hasKeyChanged(soon)) {',
    replace:
      'if (!this.#nextIndex(date, position, this.#options.highWaterMark) && this.#hasKeyChanged(soon)) {',
    tests: ['rolling/roller'],
  },
  {
    name: 'a search ahead that failed is not made again',
    file: 'lib/rolling/roller.ts',
    find: 'if (!found && this.#nextSearch === search) this.#nextSearch = undefined',
    replace: '',
    tests: ['rolling/roller'],
  },
  {
    name: "a key function's promise may end the process",
    file: 'lib/rolling/roller.ts',
    find: `if (typeof key !== 'string') Promise.resolve(key).catch(() => {})`,
    replace: '',
    tests: ['rolling/roller'],
  },
  {
    name: 'an object that can have none after it is opened again',
    file: 'lib/rolling/find-object.ts',
    find: 'if (object.closedBy) throw withHint(object.closedBy)',
    replace: '',
    tests: ['rolling/find-object'],
  },
  {
    name: 'hours of another time zone',
    file: 'lib/rolling/key-pattern.ts',
    find: `      timeZone,
      calendar: 'gregory',`,
    replace: `      timeZone: 'UTC',
      calendar: 'gregory',`,
    tests: ['rolling/key-pattern'],
  },
  {
    name: 'midnight is the hour 24',
    file: 'lib/rolling/key-pattern.ts',
    find: `hourCycle: 'h23'`,
    replace: `hourCycle: 'h24'`,
    tests: ['rolling/key-pattern'],
  },
  {
    name: 'no zeros in front',
    file: 'lib/rolling/key-pattern.ts',
    find: `.padStart(name.length, '0')`,
    replace: '',
    tests: ['rolling/key-pattern'],
  },
  {
    name: 'what the object has is not compared',
    file: 'lib/skip-existing.ts',
    find: 'if (isEnd && this.#crc.toString() !== tail.crc64)',
    replace: 'if (isEnd && false)',
    tests: ['skip-existing'],
  },
  {
    name: 'a chunk that the object has a part of passes whole',
    file: 'lib/skip-existing.ts',
    find: 'chunk.subarray(existing.length))',
    replace: 'chunk)',
    tests: ['skip-existing'],
  },
  {
    name: 'a source that ends too soon is taken',
    file: 'lib/skip-existing.ts',
    find: 'callback(this.#compared < tail.position ? this.#mismatch(tail) : null)',
    replace: 'callback()',
    tests: ['skip-existing'],
  },
  {
    name: 'a rolling stream is resumed',
    file: 'lib/skip-existing.ts',
    find: 'if (stream instanceof RollingAppendStream) {',
    replace: 'if (stream instanceof RollingAppendStream && false) {',
    tests: ['skip-existing'],
  },
  {
    name: 'a chunk is divided though it would fit',
    file: 'lib/gzip-members.ts',
    find: 'if (this.#length > 0 && this.#length + held.rest.length > memberBytes) {',
    replace: 'if (this.#length === memberBytes) {',
    tests: ['gzip-members'],
  },
  {
    name: 'nothing written makes no member',
    file: 'lib/gzip-members.ts',
    find: 'this.#isDue = this.#length > 0 || !this.#hasMembers',
    replace: 'this.#isDue = this.#length > 0',
    tests: ['gzip-members'],
  },
  {
    name: 'members may be given to the reader as one chunk',
    file: 'lib/gzip-members.ts',
    find: 'super({ readableObjectMode: true, readableHighWaterMark: 1 })',
    replace: 'super({ readableHighWaterMark: 1 })',
    tests: ['gzip-members'],
  },
  {
    name: 'a write is not held while members wait',
    file: 'lib/gzip-members.ts',
    find: `this.#memberState = 'pushed'`,
    replace: `this.#memberState = 'none'`,
    tests: ['gzip-members'],
  },
  {
    name: 'a trace does not say which request failed',
    file: 'lib/append/diagnostics.ts',
    find: 'context.requestId = requestIdOf(error)',
    replace: '',
    tests: ['append/diagnostics'],
  },
  {
    name: 'a trace does not say what was reconciled',
    file: 'lib/append/diagnostics.ts',
    find: 'context.reconciled = result.isReconciled',
    replace: '',
    tests: ['append/diagnostics'],
  },
  {
    name: 'dropped records leave no line',
    file: 'lib/loggers/outbox.ts',
    find: 'this.#onAdded(this.#queue.addPlaceholder(record, dropped), record)',
    replace: '',
    tests: ['loggers/outbox'],
  },
  {
    name: 'records in doubt are sent again',
    file: 'lib/loggers/outbox.ts',
    find: 'this.#queue.remove(count)',
    replace: '',
    tests: ['loggers/outbox'],
  },
  {
    name: 'what a failed stream had is not sent again',
    file: 'lib/loggers/outbox.ts',
    find: 'this.#queue.rewind()',
    replace: '',
    tests: ['loggers/outbox'],
  },
  {
    name: 'the queue has no bound',
    file: 'lib/loggers/outbox.ts',
    find: '!this.#dropped && this.#queue.fits(text, this.maxBuffered)',
    replace: '!this.#dropped',
    tests: ['loggers/outbox'],
  },
  {
    name: 'what pino writes in pieces is cut',
    file: 'lib/loggers/pino.ts',
    find: 'this.#partialLine = partialLine',
    replace: `this.#partialLine = ''`,
    tests: ['loggers/pino'],
  },
  {
    name: 'a character in two chunks of pino is damaged',
    file: 'lib/loggers/pino.ts',
    find: 'this.#decoder.write(chunk)',
    replace: 'chunk.toString()',
    tests: ['loggers/pino'],
  },
  {
    name: 'winston is done before the records are',
    file: 'lib/loggers/winston.ts',
    find: 'void this.#outbox.close().then(() => callback())',
    replace: `void this.#outbox.close()
    callback()`,
    tests: ['loggers/winston'],
  },
  {
    name: 'a format that throws costs the records after it',
    file: 'lib/loggers/winston.ts',
    find: 'errors.push(error)',
    replace: 'throw error',
    tests: ['loggers/winston'],
  },
]

/** The mutant's file with its fault. Throws if there is not exactly one place for it. */
export function mutate({ name, file, find, replace }: Mutant, text: string): string {
  const [before = '', after, ...more] = text.split(find)
  if (after !== undefined && more.length === 0) return before + replace + after
  throw new Error(`mutant "${name}": its text is not in ${file} exactly once`)
}
