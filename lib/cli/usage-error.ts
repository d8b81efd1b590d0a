/** Wrong arguments or environment. It is printed as it is, with a pointer to the help. */
export class UsageError extends Error {
  readonly code = 'ERR_USAGE'
}
