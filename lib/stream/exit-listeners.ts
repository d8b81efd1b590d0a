/**
 * What streams do at `process.exit()`. All of them share one listener, so that many streams print no
 * MaxListenersExceededWarning.
 */

const listeners = new Map<object, () => void>()

function onExit(): void {
  for (const listener of listeners.values()) {
    try {
      listener()
    } catch {
      // The others run, and the exit code stays.
    }
  }
}

/** `listener` runs when the process exits; undefined: nothing of `owner` does. */
export function setExitListener(owner: object, listener: (() => void) | undefined): void {
  if (listener) listeners.set(owner, listener)
  else listeners.delete(owner)
  process.removeListener('exit', onExit)
  if (listeners.size > 0) process.on('exit', onExit)
}
