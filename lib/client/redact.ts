/**
 * Removes secrets from texts and errors of other libraries. undici quotes the request that failed;
 * `@alicloud/credentials` quotes the response that it could not read, with the keys in it.
 * Known secrets are replaced everywhere, unknown ones after a name such as `token`.
 * Not for errors of this package, which are made without secrets.
 */

/** Replaces secrets in a text by `***`. */
export type Redact = (text: string) => string

/** Characters. Shorter strings are not redacted: they would match ordinary text. */
const SHORTEST_SECRET = 8

/** Redacts the given secrets, as they are and as JSON writes them. */
export function createRedactor(secrets: readonly (string | undefined)[]): Redact {
  const spellings = secrets
    .filter(secret => secret !== undefined)
    .filter(secret => secret.length >= SHORTEST_SECRET)
    .flatMap(secret => [secret, JSON.stringify(secret).slice(1, -1)])
    // Longest first: a secret may begin with another one, whose rest would stay visible.
    .sort((a, b) => b.length - a.length)
  return text => spellings.reduce((rest, secret) => rest.replaceAll(secret, '***'), text)
}

/** A name and its value, as in JSON, a query, a header, XML or Node's `inspect()`. Quotes may be escaped. */
const NAMED =
  /((?:secret|token|signature|password|authorization)[\w-]{0,32}\\?["']?\s{0,2}[:=>]\s{0,2}\\?["']?(?:(?:bearer|basic)\s+)?)[^\s"'\\&<>,;{}]{8,}/gi
/** User and password of a URL. */
const USER = /:\/\/[^\s/@"']+@/g

/** Redacts values whose name says that they are secret. */
export function redactNamed(text: string): string {
  return text.replace(NAMED, '$1***').replace(USER, '://***@')
}

/**
 * A copy of a foreign error that is safe as a `cause`: redacted message, stack and code, and no other
 * property. Takes any thrown value, and never throws.
 */
export function redactError(cause: unknown, redact: Redact): Error & { code?: string } {
  try {
    const { message, stack, code } = (
      cause instanceof Error ? cause : new Error(String(cause))
    ) as NodeJS.ErrnoException
    const copy = new Error(redact(String(message)))
    copy.stack = redact(String(stack ?? copy.message))
    return typeof code === 'string' ? Object.assign(copy, { code: redact(code) }) : copy
  } catch {
    return new Error('what was thrown cannot be read')
  }
}
