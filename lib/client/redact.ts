/**
 * Keeps secrets out of errors that quote other software. A message may hold a secret in any form (Node's
 * "Command failed" quotes the arguments of a program), so only messages known to be harmless are kept. In
 * those, known secrets are replaced: undici quotes the request that failed.
 * Not for errors of this package, which are made without secrets.
 */

import { isIP } from 'node:net'
import { nameAndCode } from '../errors.ts'

/** Replaces secrets in a text by `***`. */
export type Redact = (text: string) => string

/** Characters. Shorter strings are not redacted: they would match ordinary text. */
const SHORTEST_SECRET = 8

/** Redacts the given secrets: as they are, in JSON, percent-encoded, and as a part of base64. */
export function createRedactor(secrets: readonly (string | undefined)[]): Redact {
  const known = secrets.filter(
    (secret): secret is string => secret !== undefined && secret.length >= SHORTEST_SECRET,
  )
  // An encoded secret is never shorter, so most texts need no search.
  return text =>
    known
      .filter(secret => secret.length <= text.length)
      .flatMap(cachedSpellings)
      // Longest first: a secret may begin with another one, whose rest would stay visible.
      .sort((a, b) => b.length - a.length)
      .reduce((rest, secret) => rest.replaceAll(secret, '***'), text)
}

/** Secrets whose spellings are kept. */
const MAX_CACHED = 8

// Saves a twentieth of the CPU of a small append: each response has a request id to redact, and the keys are the
// same. A variable of the module, so that no inspected object shows it.
const cache = new Map<string, readonly string[]>()

function cachedSpellings(secret: string): readonly string[] {
  const known = cache.get(secret)
  if (known) return known
  if (cache.size === MAX_CACHED) cache.clear()
  const all = spellings(secret)
  cache.set(secret, all)
  return all
}

function spellings(secret: string): string[] {
  const percent = encodeURIComponent(secret)
  const base64 = [0, 1, 2].map(offset => middleOfBase64(secret, offset))
  // Most are the same, and each is searched for.
  const all = [
    secret,
    JSON.stringify(secret).slice(1, -1),
    percent,
    percent.replace(/%../g, code => code.toLowerCase()),
    ...base64,
    ...base64.map(text => text.replaceAll('+', '-').replaceAll('/', '_')),
  ]
  return [...new Set(all)]
}

/**
 * The characters of a base64 text that depend on the secret alone. Three bytes make four characters, so
 * they also depend on `offset`: the number of bytes before the secret, modulo 3.
 */
function middleOfBase64(secret: string, offset: number): string {
  const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)])
  const start = Math.ceil((offset * 4) / 3)
  return bytes.toString('base64').slice(start, Math.floor((bytes.length * 4) / 3))
}

/** undici's errors, those of its HTTP parser, and Node's: their messages name no values of ours. */
const HARMLESS = /^(UND_ERR|HPE|ERR)_/

/** Characters. */
const MAX_MESSAGE = 500

interface SystemError {
  readonly code: string
  readonly syscall: string
  readonly address?: unknown
  readonly port?: unknown
  readonly hostname?: unknown
  readonly reason?: unknown
}

/**
 * An error of other software as one that is safe as a `cause`: a new error with its code, and with its
 * message only if that is harmless. Takes any thrown value, and never throws.
 */
export function toHarmlessError(thrown: unknown, redact: Redact): Error & { code?: string } {
  const cause = nameAndCode(thrown)
  try {
    const message = harmlessMessage(thrown, cause.code ?? '')
    if (message === undefined) return cause
    const text = redact(message).replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
    return Object.assign(new Error(text.trim().slice(0, MAX_MESSAGE)), { code: cause.code ?? '' })
  } catch {
    return cause
  }
}

/** `code` is checked, and empty if there is none. */
function harmlessMessage(thrown: unknown, code: string): string | undefined {
  if (!(thrown instanceof Error) || code === '') return undefined
  // Node tries all addresses of a host, and throws the errors of all.
  const [first] = thrown instanceof AggregateError ? thrown.errors : []
  const error =
    first instanceof Error && (first as { code?: unknown }).code === code ? first : thrown
  if (isSystemError(error)) return describeSystemError(error)
  return HARMLESS.test(code) && typeof error.message === 'string' ? error.message : undefined
}

function isSystemError(error: object): error is SystemError {
  const { code, syscall } = error as Partial<SystemError>
  return (
    /^E[A-Z0-9]+$/.test(String(code)) && typeof syscall === 'string' && /^\w{1,32}$/.test(syscall)
  )
}

/** As Node writes it, but made of checked parts: `connect ECONNREFUSED 127.0.0.1:80`. */
function describeSystemError(error: SystemError): string {
  const { syscall, code, address, port, hostname, reason } = error
  const parts = [syscall, code]
  // Of OpenSSL, as in "wrong version number".
  if (typeof reason === 'string' && /^[a-z0-9 ]{1,80}$/i.test(reason)) parts.push(reason)
  if (typeof hostname === 'string' && /^[\w.-]{1,255}$/.test(hostname)) parts.push(hostname)
  if (typeof address === 'string' && isIP(address) !== 0) {
    parts.push(Number.isInteger(port) ? `${address}:${port}` : address)
  }
  return parts.join(' ')
}
