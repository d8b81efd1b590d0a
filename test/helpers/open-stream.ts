/** Code for programs that tests start in a child process. */

import { BUCKET } from './test-oss.ts'

/** The beginning of a module: `open(options)` makes a stream to `KEY` on the server at `ENDPOINT`. */
export const OPEN_STREAM = `
  import { createAppendStream } from 'DISTindex.js'
  const { ENDPOINT, KEY } = process.env
  const credentials = { accessKeyId: 'test-access-key', accessKeySecret: 'test-access-secret' }
  const open = options => createAppendStream({
    bucket: '${BUCKET}', key: KEY, endpoint: ENDPOINT, region: 'cn-hangzhou', credentials, ...options,
  })
`
