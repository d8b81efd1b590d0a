/** Outboxes that have something to report when the process exits. All of them share one listener of `'exit'`. */

/** The part of an outbox that is called. */
interface Reporter {
  reportOnExit(): void
}

const reporters = new Set<Reporter>()
let isBegun = false

process.on('exit', () => {
  isBegun = true
  for (const reporter of reporters) reporter.reportOnExit()
})

/** Later listeners of `'exit'` may still log, and nothing can be sent any more. */
export function isExiting(): boolean {
  return isBegun
}

/** The outbox has records that are neither acknowledged nor reported. */
export function addExitReport(reporter: Reporter): void {
  reporters.add(reporter)
}

export function removeExitReport(reporter: Reporter): void {
  reporters.delete(reporter)
}
