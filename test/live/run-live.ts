/** Runs `npm run test:live` with the embedded server in place of a bucket. */

import { fileURLToPath } from 'node:url'
import type { ChildResult } from '../helpers/child-process.ts'
import { execClean } from '../helpers/packed-package.ts'
import type { Oss } from '../helpers/test-oss.ts'

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url))

/** The environment that reaches the server. */
export function liveEnv({ server }: Oss): NodeJS.ProcessEnv {
  return {
    OSS_TEST_BUCKET: 'livebucket',
    OSS_TEST_WAIT: '200',
    OSS_REGION: server.region,
    OSS_ENDPOINT: server.url,
    OSS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: server.credentials.accessKeySecret,
  }
}

export function runLive(env: NodeJS.ProcessEnv): Promise<ChildResult> {
  return execClean([process.execPath, '--import=./test/helpers/typescript.js', MAIN], { env })
}
