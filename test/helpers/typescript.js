/**
 * Lets Node import the TypeScript of `lib` and `test`: `node --import=./test/helpers/typescript.js FILE`.
 * The hook itself is in typescript-hook.js, which Node runs in a thread of its own.
 */

import { register } from 'node:module'

register('./typescript-hook.js', import.meta.url)
