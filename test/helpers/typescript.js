/**
 * Lets Node import the TypeScript of `lib` and `test`: `node --import=./test/helpers/typescript.js FILE`.
 * The hook itself is in typescript-hook.js, which Node runs in a thread of its own.
 */

import { register } from 'node:module'

// A test file that runs by itself gets what the runner of tap sets: lines of the source in stack traces, and
// more than the 30 s after which tap ends a file by default.
process.setSourceMapsEnabled(true)
// .taprc passes this file in NODE_OPTIONS. Programs that a test starts run without it.
delete process.env.NODE_OPTIONS
process.env.TAP_TIMEOUT ??= '900'
// Before the hook is registered: each module that passes it costs a message to its thread.
if (/\.(test|slow)\.ts$/.test(process.argv[1] ?? '')) await import('tap')
register('./typescript-hook.js', import.meta.url)
