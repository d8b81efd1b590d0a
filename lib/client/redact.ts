/**
 * Keeps secrets out of what others said. An HTTP library quotes the request that failed, a provider of
 * credentials the answer that it could not read (`@alicloud/credentials` does, keys and all), and an
 * error of either may carry all of it in further properties. Secrets that we know are hidden wherever
 * they stand; those that we do not know, where their name stands before them. It is no filter for the
 * errors of this package: those are made without secrets.
 */

/** Hides secrets in a text. */
export type Redact = (text: string) => string

/** What is shorter is nobody's secret, and would riddle the text. */
const SHORTEST_SECRET = 8

/** Hides these, wherever they stand, also within JSON. */
export function createRedactor(secrets: readonly (string | undefined)[]): Redact {
  const hidden = secrets
    .filter(secret => secret !== undefined)
    .filter(secret => secret.length >= SHORTEST_SECRET)
    .flatMap(secret => [secret, JSON.stringify(secret).slice(1, -1)])
    // One may begin another: the longer goes first, or the rest of it would be left.
    .sort((a, b) => b.length - a.length)
  return text => hidden.reduce((rest, secret) => rest.replaceAll(secret, '***'), text)
}

/** As JSON, a query, a header, XML or Node write a name and its value, quotes escaped or not. */
const NAMED =
  /((?:secret|token|signature|password|authorization)[\w-]{0,32}\\?["']?\s{0,2}[:=>]\s{0,2}\\?["']?(?:(?:bearer|basic)\s+)?)[^\s"'\\&<>,;{}]{8,}/gi
/** User and password in a URL. */
const USER = /:\/\/[^\s/@"']+@/g

/** Hides what is called a secret. */
export function redactNamed(text: string): string {
  return text.replace(NAMED, '$1***').replace(USER, '://***@')
}

/**
 * An error of others as one that may be kept as a `cause`: its words, its stack and its code, and none
 * of its other properties. Never throws, whatever was thrown.
 */
export function redactError(cause: unknown, conceal: Redact): Error & { code?: string } {
  try {
    const { message, stack, code } = (
      cause instanceof Error ? cause : new Error(String(cause))
    ) as NodeJS.ErrnoException
    const plain = new Error(conceal(String(message)))
    plain.stack = conceal(String(stack ?? plain.message))
    return typeof code === 'string' ? Object.assign(plain, { code: conceal(code) }) : plain
  } catch {
    return new Error('what was thrown cannot be read')
  }
}
