/**
 * A provider of credentials that fails and quotes its secrets, in the forms that shells and HTTP libraries
 * use. Whatever of them is left in an error is a leak.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { OssClient, type OssError } from '../../lib/index.ts'
import { runCli } from '../helpers/run-cli.ts'

const SECRET = 'Zk3xQ9vT7LmN2bR8wY5cE1aH6dJ4fG0s'

const FORMS: Readonly<Record<string, string>> = {
  JSON: `{"AccessKeySecret":"${SECRET}"}`,
  'a query': `https://sts/?AccessKeySecret=${SECRET}&x=1`,
  'an inspected array': inspect(['x-acs-security-token', SECRET]),
  'an inspected Map': inspect(new Map([['accessKeySecret', SECRET]])),
  'pairs of headers': inspect([['Authorization', `Bearer ${SECRET}`]]),
  'a bearer token': `authorization: Bearer ${SECRET}`,
  'a signature of ROA': `authorization: acs LTAI5tABCDEFGHIJ:${SECRET}`,
  'a signature of ACS3': `Authorization: ACS3-HMAC-SHA256 Credential=LTAI5t,SignedHeaders=host,Signature=${SECRET}`,
  'a signature of OSS': `Authorization: OSS4-HMAC-SHA256 Credential=x/2026/cn/oss/aliyun_v4_request,Signature=${SECRET}`,
  'an export of a shell': `export OSS_ACCESS_KEY_SECRET='${SECRET}'`,
  'a flag': `Command failed: aliyun sts --access-key-secret ${SECRET}`,
  'a flag with =': `Command failed: aliyun sts --access-key-secret=${SECRET}`,
  YAML: `access_key_secret: ${SECRET}`,
  'an aligned INI file': `access_key_secret     = ${SECRET}`,
  'a YAML block': `access_key_secret: >-\n    ${SECRET}`,
  'a header of curl': `curl -H 'x-acs-security-token:${SECRET}'`,
  'a user of a URL': `connect http://user:${SECRET}@proxy:3128`,
  'attributes of XML': `<add key="AccessKeySecret" value="${SECRET}"/>`,
  'name and value in JSON': `{"name":"accessKeySecret","value":"${SECRET}"}`,
  'a pair': `AccessKey: LTAI5tABCDEFGHIJ / ${SECRET}`,
  'JSON in a URL': encodeURIComponent(`{"AccessKeySecret":"${SECRET}"}`),
  secretKey: `secretKey=${SECRET}`,
  sk: `sk=${SECRET}`,
  'ak and sk': `ak=LTAI, sk=${SECRET}`,
  'JSON in JSON': JSON.stringify(JSON.stringify({ SecurityToken: SECRET })),
  'JSON in JSON in JSON': JSON.stringify(JSON.stringify(JSON.stringify({ SecurityToken: SECRET }))),
  'indented JSON': JSON.stringify({ Credentials: { AccessKeySecret: SECRET } }, null, 2),
  'a repr of Python': `{'AccessKeySecret': u'${SECRET}'}`,
  'a struct of Go': `{AccessKeySecret:0xc0000 AccessKeySecret:${SECRET}}`,
  'a hash of Ruby': `:access_key_secret=>"${SECRET}"`,
  base64: Buffer.from(`id:${SECRET}`).toString('base64'),
}

/** Everything by which an error could end up in a log. */
function printed(error: Error): string {
  const all = inspect(error, { depth: 99, showHidden: true, maxStringLength: null })
  const { cause } = error
  return `${all}${JSON.stringify(error)}${error}${error.stack}${cause ? printed(cause as Error) : ''}`
}

const TARGET = { bucket: 'examplebucket', key: 'a' }
const NOWHERE = { endpoint: 'http://127.0.0.1:1', region: 'cn-hangzhou' }

async function failureOf(provide: () => never): Promise<OssError> {
  const client = new OssClient({ ...NOWHERE, credentials: provide })
  const { signal } = new AbortController()
  return client.head(TARGET, { signal }).then(
    () => Promise.reject(new Error('the call should fail')),
    error => error,
  )
}

t.test('no secret in an error of a provider is shown, whatever its form', async t => {
  for (const [label, text] of Object.entries(FORMS)) {
    const thrown = (): never => {
      const details = { code: 'EPROVIDER', cmd: text, cause: new Error(text) }
      throw Object.assign(new TypeError(text), details)
    }
    const error = await failureOf(thrown)
    t.match(error, {
      code: 'OSS_ERR_CREDENTIALS',
      message: /^the credentials provider failed: TypeError EPROVIDER \(/,
      cause: { code: 'EPROVIDER', message: 'TypeError EPROVIDER' },
    })
    t.notOk(printed(error).includes(text), label)
    t.notOk(printed(error).includes(SECRET), label)
    const plain = await failureOf(() => {
      throw text
    })
    t.match(plain, { message: /^the credentials provider failed: no Error \(/ })
    t.notOk(printed(plain).includes(text), label)
  }
})

t.test('the command shows no secret of a provider module that runs another program', async t => {
  const dir = t.testdir({ 'data.txt': 'abc' })
  const provider = join(dir, 'provider.mjs')
  writeFileSync(
    provider,
    `import { execFile } from 'node:child_process'
    import { promisify } from 'node:util'
    export default async () => {
      const { stdout } = await promisify(execFile)('false', ['sts', '--access-key-secret', '${SECRET}'])
      return JSON.parse(stdout)
    }`,
  )
  const throwing = join(dir, 'throwing.mjs')
  writeFileSync(throwing, `throw new Error('Command failed: sts --access-key-secret ${SECRET}')`)
  const connection = ['--endpoint', NOWHERE.endpoint, '--region', NOWHERE.region]
  for (const module of [provider, throwing]) {
    for (const json of [[], ['--json']]) {
      const { code, stdout, stderr } = await runCli([
        ...[...connection, '--credentials', module, '--max-retries', '0', ...json],
        ...['oss://examplebucket/a', join(dir, 'data.txt')],
      ])
      t.not(code, 0)
      t.match(stdout + stderr, /credentials/)
      t.notMatch(stdout + stderr, SECRET)
    }
  }
})
