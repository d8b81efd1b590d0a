/** Text of a server with `?` for control characters, which a terminal obeys, and for those that hide or reorder text. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
}
