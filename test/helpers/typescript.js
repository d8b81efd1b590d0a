/**
 * Lets Node import the TypeScript of `lib` and `test`: `node --import=./test/helpers/typescript.js FILE`.
 * The hook itself is in typescript-hook.js, which Node runs in a thread of its own.
 */

import { register } from 'node:module'

// Seconds. tap ends a test file after 30 s by default, and its runner sets the timeout of `.taprc`. This one
// is for a file that runs by itself.
process.env.TAP_TIMEOUT ??= '900'
register('./typescript-hook.js', import.meta.url)
