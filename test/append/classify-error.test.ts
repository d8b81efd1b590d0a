import t from 'tap'
import { classifyError, isAmbiguous, type RetryClass } from '../../lib/append/classify-error.ts'
import { OssConflictError, OssError } from '../../lib/errors.ts'
import {
  credentialsError,
  networkError,
  positionConflict,
  serviceError,
  timeoutError,
} from '../helpers/errors.ts'

type Row = [code: string, status: number, outcome: RetryClass]

/** Every code an appender can meet, by OSS's documentation and what its SDKs have seen. */
const refusals: Row[] = [
  ['PositionNotEqualToLength', 409, 'wait'],
  ['ObjectNotAppendable', 409, 'final'],
  ['AppendSealedObjectNotAllowed', 409, 'final'],
  ['AppendSealedObjectNotAllowed', 400, 'final'],
  ['FileImmutable', 409, 'final'],
  ['FileAlreadyExists', 409, 'final'],
  ['KeyDisabled', 409, 'final'],
  ['InvalidArgument', 400, 'final'],
  ['MissingArgument', 400, 'final'],
  ['InvalidObjectName', 400, 'final'],
  ['EntityTooLarge', 400, 'final'],
  ['InvalidDigest', 400, 'damaged'],
  ['BadRequest', 400, 'damaged'],
  ['RequestTimeout', 400, 'wait'],
  ['IncompleteBody', 400, 'wait'],
  ['InvalidTag', 400, 'final'],
  ['OperationNotSupported', 400, 'final'],
  ['NotImplemented', 400, 'final'],
  ['NotImplemented', 501, 'final'],
  ['PublicEndpointForbidden', 400, 'final'],
  ['AccessDenied', 403, 'final'],
  ['SignatureDoesNotMatch', 403, 'final'],
  ['UserDisable', 403, 'final'],
  ['InvalidObjectState', 403, 'final'],
  ['SecondLevelDomainForbidden', 403, 'final'],
  ['BadErrorResponse', 403, 'final'],
  ['NoSuchBucket', 404, 'final'],
  ['NoSuchKey', 404, 'final'],
  ['MethodNotAllowed', 405, 'final'],
  ['BadErrorResponse', 408, 'wait'],
  ['MissingContentLength', 411, 'final'],
  ['PreconditionFailed', 412, 'final'],
  ['BadErrorResponse', 429, 'wait'],
  ['BadErrorResponse', 301, 'final'],
  ['BadErrorResponse', 307, 'final'],
  ['SomethingNew', 400, 'final'],
  ['SomethingNew', 499, 'final'],
  ['SomethingNew', 500, 'wait'],
  ['InternalError', 500, 'wait'],
  ['BadErrorResponse', 502, 'wait'],
  ['BadErrorResponse', 504, 'wait'],
  ['BadErrorResponse', 599, 'wait'],
  ['ServiceUnavailable', 503, 'wait'],
  ['TotalQpsLimitExceeded', 503, 'throttled'],
  ['PartitionQpsLimitted', 503, 'throttled'],
  ['MetaOperationQpsLimitExceeded', 503, 'throttled'],
  ['QpsLimitExceeded', 503, 'throttled'],
  ['ActiveRequestLimitExceeded', 503, 'throttled'],
  ['CpuLimitExceeded', 503, 'throttled'],
  ['UploadTrafficRateLimitExceeded', 503, 'throttled'],
  ['DownloadTrafficRateLimitExceeded', 503, 'throttled'],
  ['SlowDown', 503, 'throttled'],
  // The list keeps growing: an unknown limit is known by its form.
  ['SomethingNewLimitExceeded', 503, 'throttled'],
  // A limit that is no overload: waiting would not raise it.
  ['SomethingNewLimitExceeded', 400, 'final'],
  // Names that an object of JavaScript has by birth.
  ['constructor', 400, 'final'],
  ['toString', 400, 'final'],
]

t.test('refusals of OSS', async t => {
  for (const [code, status, outcome] of refusals) {
    t.equal(classifyError(serviceError(code, { status })), outcome, `${status} ${code}`)
  }
})

t.test('a clock or credentials count as mended only when the client says so', async t => {
  const rows: [code: string, status: number, mended: RetryClass][] = [
    ['RequestTimeTooSkewed', 403, 'clock'],
    ['InvalidArgument', 400, 'clock'],
    ['SecurityTokenExpired', 403, 'credentials'],
    ['InvalidAccessKeyId', 403, 'credentials'],
    ['InvalidSecurityToken', 403, 'credentials'],
    ['AccessKeyIdAndSecurityTokenNotMatch', 403, 'credentials'],
  ]
  for (const [code, status, mended] of rows) {
    t.equal(
      classifyError(serviceError(code, { status, isRefreshable: true })),
      mended,
      `${code}, mended`,
    )
    t.equal(classifyError(serviceError(code, { status })), 'final', `${code}, as before`)
  }
})

t.test('no answer', async t => {
  const rows: [error: OssError, outcome: RetryClass][] = [
    [timeoutError(), 'wait'],
    [networkError(), 'wait'],
    [networkError('ECONNREFUSED'), 'wait'],
    [networkError('ECONNRESET'), 'wait'],
    [networkError('EPIPE'), 'wait'],
    [networkError('EAI_AGAIN'), 'wait'],
    [networkError('UND_ERR_SOCKET'), 'wait'],
    [networkError('UND_ERR_CONNECT_TIMEOUT'), 'wait'],
    [networkError('HPE_INVALID_CONSTANT'), 'wait'],
    [networkError('EPROTO'), 'wait'],
    [networkError('ENOTFOUND'), 'unknownHost'],
    [credentialsError(true), 'wait'],
    [credentialsError(false), 'final'],
  ]
  for (const [error, outcome] of rows) {
    t.equal(classifyError(error), outcome, `${error.code} ${(error.cause as Error)?.message}`)
  }
})

t.test('certificates that the next attempt will find no better', async t => {
  // Node's documentation, "X509 certificate error codes", and its own check of the host's name.
  const codes = `
    UNABLE_TO_GET_ISSUER_CERT UNABLE_TO_GET_CRL UNABLE_TO_DECRYPT_CERT_SIGNATURE
    UNABLE_TO_DECRYPT_CRL_SIGNATURE UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY CERT_SIGNATURE_FAILURE
    CRL_SIGNATURE_FAILURE CERT_NOT_YET_VALID CERT_HAS_EXPIRED CRL_NOT_YET_VALID CRL_HAS_EXPIRED
    ERROR_IN_CERT_NOT_BEFORE_FIELD ERROR_IN_CERT_NOT_AFTER_FIELD ERROR_IN_CRL_LAST_UPDATE_FIELD
    ERROR_IN_CRL_NEXT_UPDATE_FIELD DEPTH_ZERO_SELF_SIGNED_CERT SELF_SIGNED_CERT_IN_CHAIN
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY UNABLE_TO_VERIFY_LEAF_SIGNATURE CERT_CHAIN_TOO_LONG
    CERT_REVOKED INVALID_CA PATH_LENGTH_EXCEEDED INVALID_PURPOSE CERT_UNTRUSTED CERT_REJECTED
    HOSTNAME_MISMATCH ERR_TLS_CERT_ALTNAME_INVALID ERR_TLS_CERT_ALTNAME_FORMAT`
  for (const code of codes.trim().split(/\s+/)) {
    t.equal(classifyError(networkError(code)), 'final', code)
    t.notOk(isAmbiguous(networkError(code)), `${code}: nothing was sent`)
  }
})

t.test('what a further attempt cannot change', async t => {
  const tail = { position: 3, crc64: '1' }
  const errors = [
    new OssError('OSS_ERR_INTEGRITY', ''),
    new OssError('OSS_ERR_OBJECT_REPLACED', ''),
    new OssError('OSS_ERR_OBJECT_FULL', ''),
    new OssError('OSS_ERR_ABORTED', ''),
    // It has the code of a refusal that is waited for; the verdict is in already.
    new OssConflictError('', { before: tail, after: tail, seen: tail }),
    new TypeError('a bug of ours'),
    Object.assign(new Error('raw'), { code: 'ECONNRESET' }),
    undefined,
    'a string',
  ]
  for (const error of errors) t.equal(classifyError(error), 'final', String(error))
})

t.test('ambiguous: whether such an attempt may have landed, or may land yet', async t => {
  const rows: [error: unknown, isAmbiguous: boolean][] = [
    // Nobody heard what became of it.
    [timeoutError(), true],
    [networkError(), true],
    [networkError('ECONNRESET'), true],
    [networkError('UND_ERR_SOCKET'), true],
    [networkError('EPIPE'), true],
    // It was done, and not as it should.
    [new OssError('OSS_ERR_INTEGRITY', ''), true],
    // Something in the middle may say these after the bytes were passed on.
    [serviceError('InternalError', { status: 500 }), true],
    [serviceError('BadErrorResponse', { status: 502 }), true],
    [serviceError('ServiceUnavailable', { status: 503 }), true],
    [serviceError('SlowDown', { status: 503 }), true],
    [serviceError('BadErrorResponse', { status: 408 }), true],
    [serviceError('RequestTimeout'), true],
    [serviceError('IncompleteBody'), true],
    // A bug: nothing is known.
    [new TypeError('a bug of ours'), true],
    // There was no connection.
    [networkError('ECONNREFUSED'), false],
    [networkError('ENOTFOUND'), false],
    [networkError('EAI_AGAIN'), false],
    [networkError('UND_ERR_CONNECT_TIMEOUT'), false],
    [credentialsError(true), false],
    [credentialsError(false), false],
    // OSS has judged and refused.
    [positionConflict(3), false],
    [serviceError('ObjectNotAppendable', { status: 409 }), false],
    [serviceError('AccessDenied', { status: 403 }), false],
    [serviceError('RequestTimeTooSkewed', { status: 403, isRefreshable: true }), false],
    [serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }), false],
    [serviceError('InvalidDigest'), false],
    [serviceError('NotImplemented', { status: 501 }), false],
    [new OssError('OSS_ERR_OBJECT_FULL', ''), false],
  ]
  for (const [error, expected] of rows) t.equal(isAmbiguous(error), expected, String(error))
})
