// The requests of foreign SDKs, replayed as bytes.

import t from 'tap'
import { exchangeBytes } from '../helpers/raw-socket.ts'
import { BUCKET, startServer } from '../helpers/start-server.ts'
import { CAPTURES } from './captured-requests.ts'

const allBytes = CAPTURES.flatMap(({ requests }) => requests.map(({ bytes }) => bytes))

for (const { sdk, time, requests } of CAPTURES) {
  t.test(`the requests of ${sdk} are served as recorded`, async t => {
    const s = await startServer(t)
    s.clockOffset = Date.parse(time) - Date.now()
    for (const { bytes, status, code } of requests) {
      const label = bytes.slice(0, bytes.indexOf(' HTTP/'))
      const response = await exchangeBytes(s.port, bytes)
      t.match(response, { status, code }, label)
      if (code === 'AccessDenied') t.match(response.text, /0002-00000080/, 'version 1')
    }
    t.same([...s.objects], [], 'the SDK deleted what it created')
  })
}

t.test('a signature is refused for any other byte in the request line', async t => {
  const s = await startServer(t)
  const { time, requests } = CAPTURES[0]!
  s.clockOffset = Date.parse(time) - Date.now()
  const { bytes } = requests.find(each => each.bytes.startsWith('POST /examplebucket/logs'))!
  const altered = bytes.replace('app%201.log', 'app%202.log')
  t.match(await exchangeBytes(s.port, altered), { status: 403, code: 'SignatureDoesNotMatch' })
  t.equal(s.stat(BUCKET, 'logs/app 2.log'), undefined)
})

t.test('the captures contain what shut SDKs out once', async t => {
  const has = (label: string, pattern: RegExp, without = /^$/) =>
    t.ok(
      allBytes.some(bytes => pattern.test(bytes) && !without.test(bytes)),
      label,
    )
  has('a chunked seal', /^POST [^ ]*\?seal&[\s\S]*Transfer-Encoding: chunked/)
  has('a V4 signature with Date alone', /^Date: [\s\S]*OSS4|OSS4[\s\S]*^Date: /m, /x-oss-date/i)
  has('append= with an empty value', /^POST [^ ]*\?append=&position=0 /)
  has('a presigned URL', /^GET [^ ]*x-oss-signature=/)
  has('a version 1 signature', /uthorization: OSS /)
  has('several objects deleted', /^POST [^ ]*\?delete/)
})
