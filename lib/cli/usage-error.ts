/** Wrong arguments or environment. The message is printed as it is, with a pointer to the help. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE'
}

/** Characters of a value that a message shows. */
const MAX_SHOWN = 60

/**
 * A value as a message may show it. What looks like an access key, a token or a signed URL is left out: it may
 * have been pasted into the wrong place. Keys of Alibaba Cloud have 24 or 30 letters and digits.
 */
export function showValue(text: string): string {
  const isSecret = /[A-Za-z0-9]{24}|^(LTAI|STS\.)|signature=|token=|secret/i.test(text)
  if (isSecret) return '(not shown: it may be a secret)'
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text
  return /^[\w./:@%+=,~-]+$/.test(shown) ? shown : JSON.stringify(shown)
}
