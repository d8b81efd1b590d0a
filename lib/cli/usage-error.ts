/** Wrong arguments. Prints as it stands, with a pointer to the help. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE'
}
