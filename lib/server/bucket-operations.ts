/** The operations that a test suite needs to set up and to clean up a bucket. Listing is in listing.ts. */

import { checkMd5, type RequestBody } from './body.ts'
import type { ServerContext } from './context.ts'
import { OssRefusal, unsupportedOperation } from './errors.ts'
import { describeBucket, OWNER, optional, parseEncodingType, xmlResponse } from './listing.ts'
import { checkObjectKey } from './names.ts'
import type { OssRequest } from './request.ts'
import type { ResponseSpec } from './response.ts'
import { rootContent, unescapeXml } from './xml.ts'

const MAX_DELETED_OBJECTS = 1000

/** Creates a private bucket of storage class Standard. One that exists is no error. */
export function putBucket(
  { bucket, headers }: OssRequest,
  server: ServerContext,
  body: RequestBody,
): ResponseSpec {
  const acl = headers.get('x-oss-acl') ?? 'private'
  if (acl !== 'private') throw unsupportedOperation(`The bucket ACL ${acl} is not served here.`)
  if (body.length > 0) {
    const settings = rootContent(textOf(body), 'CreateBucketConfiguration') ?? throwMalformedXml()
    const supported =
      /\s*<(StorageClass>Standard|DataRedundancyType>LRS)<\/(StorageClass|DataRedundancyType)>\s*/g
    const rest = settings.replace(supported, '')
    if (rest.trim() !== '') throw unsupportedOperation(`${rest.trim()} is not served here.`)
  }
  server.buckets.add(bucket, server.now())
  return { status: 200, headers: { Location: `/${bucket}` } }
}

/** Deletes a bucket without objects. */
export function deleteBucket({ bucket }: OssRequest, server: ServerContext): ResponseSpec {
  if (server.objects.list(bucket).length > 0) {
    const message = 'The bucket has objects. Please delete them first.'
    throw new OssRefusal(409, 'BucketNotEmpty', message, { children: { BucketName: bucket } })
  }
  server.buckets.delete(bucket)
  return { status: 204, headers: {} }
}

/** Describes a bucket. */
export function getBucketInfo({ bucket }: OssRequest, server: ServerContext): ResponseSpec {
  const description = [
    ...describeBucket(bucket, server),
    ...optional('DataRedundancyType', 'LRS'),
    OWNER,
    ['AccessControlList', [['Grant', 'private']]] as const,
  ]
  return xmlResponse(['BucketInfo', [['Bucket', description]]])
}

/** Deletes up to 1,000 objects. An absent object is no error. */
export function deleteObjects(
  request: OssRequest,
  server: ServerContext,
  body: RequestBody,
): ResponseSpec {
  if (!request.headers.has('content-md5')) {
    throw new OssRefusal(400, 'MissingArgument', 'Missing Some Required Arguments.', {
      children: { ArgumentName: 'Content-MD5' },
    })
  }
  checkMd5(request, body)
  const encode = parseEncodingType(request.query)
  const { keys, isQuiet } = parseDelete(textOf(body))
  for (const key of keys) server.objects.remove(request.bucket, key)
  if (isQuiet) return { status: 200, headers: {} }
  return xmlResponse([
    'DeleteResult',
    [
      ...optional('EncodingType', request.query.get('encoding-type')),
      ...keys.map(key => ['Deleted', [['Key', encode(key)]]] as const),
    ],
  ])
}

/** Takes `<Quiet>` and `<Object><Key>`. Versions, and anything else, are refused. */
function parseDelete(document: string): { keys: string[]; isQuiet: boolean } {
  const content = rootContent(document, 'Delete') ?? throwMalformedXml()
  const keys: string[] = []
  let isQuiet = false
  const element =
    /\s*(?:<Quiet>(true|false)<\/Quiet>|<Object>\s*<Key>([^<]*)<\/Key>\s*<\/Object>)\s*/g
  const rest = content.replace(element, (_, quiet?: string, key?: string) => {
    if (key !== undefined) keys.push(unescapeXml(key))
    else isQuiet = quiet === 'true'
    return ''
  })
  if (rest.trim() !== '' || keys.length === 0 || keys.length > MAX_DELETED_OBJECTS) {
    throwMalformedXml()
  }
  for (const key of keys) checkObjectKey(key)
  return { keys, isQuiet }
}

function textOf(body: RequestBody): string {
  return Buffer.concat(body.chunks).toString()
}

function throwMalformedXml(): never {
  const message = 'The XML you provided was not well-formed or did not validate against our schema.'
  throw new OssRefusal(400, 'MalformedXML', message)
}
