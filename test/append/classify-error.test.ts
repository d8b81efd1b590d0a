import t from 'tap'
import { classifyError, isInDoubt, type RetryClass } from '../../lib/append/classify-error.ts'
import { bodyRefused, OssConflictError, OssError } from '../../lib/errors.ts'
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

t.test('certificates that are refused', async t => {
  // Node's documentation, "X509 certificate error codes", and its own check of the host's name.
  const codes = `
    UNABLE_TO_GET_ISSUER_CERT UNABLE_TO_GET_CRL UNABLE_TO_DECRYPT_CERT_SIGNATURE
    UNABLE_TO_DECRYPT_CRL_SIGNATURE UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY CERT_SIGNATURE_FAILURE
    CRL_SIGNATURE_FAILURE ERROR_IN_CERT_NOT_BEFORE_FIELD ERROR_IN_CERT_NOT_AFTER_FIELD
    ERROR_IN_CRL_LAST_UPDATE_FIELD ERROR_IN_CRL_NEXT_UPDATE_FIELD DEPTH_ZERO_SELF_SIGNED_CERT
    SELF_SIGNED_CERT_IN_CHAIN UNABLE_TO_GET_ISSUER_CERT_LOCALLY UNABLE_TO_VERIFY_LEAF_SIGNATURE
    CERT_CHAIN_TOO_LONG CERT_REVOKED INVALID_CA PATH_LENGTH_EXCEEDED INVALID_PURPOSE CERT_UNTRUSTED
    CERT_REJECTED HOSTNAME_MISMATCH ERR_TLS_CERT_ALTNAME_INVALID ERR_TLS_CERT_ALTNAME_FORMAT`
  for (const code of codes.trim().split(/\s+/)) {
    t.equal(classifyError(networkError(code)), 'certificate', code)
  }
})

t.test('certificates outside their dates', async t => {
  for (const code of [
    'CERT_NOT_YET_VALID',
    'CERT_HAS_EXPIRED',
    'CRL_NOT_YET_VALID',
    'CRL_HAS_EXPIRED',
  ]) {
    t.equal(classifyError(networkError(code)), 'certificateDate', code)
  }
})

t.test('413 is too large, whichever server answered; at the floor it is final', async t => {
  const refusal = serviceError('BadErrorResponse', { status: 413 })
  const foreign = networkError(undefined, { status: 413 })
  t.equal(classifyError(refusal), 'tooLarge')
  t.equal(classifyError(foreign), 'tooLarge')
  t.equal(classifyError(networkError(undefined, { status: 403 })), 'wait')
  for (const cause of [refusal, foreign]) t.equal(classifyError(bodyRefused(1, cause)), 'final')
})

t.test('what a further attempt cannot change', async t => {
  const tail = { position: 3, crc64: '1' }
  const errors = [
    new OssError('OSS_ERR_INTEGRITY', ''),
    new OssError('OSS_ERR_OBJECT_REPLACED', ''),
    new OssError('OSS_ERR_OBJECT_FULL', ''),
    new OssError('OSS_ERR_ABORTED', ''),
    new OssError('OSS_ERR_CLIENT', ''),
    // It has the code of a refusal that is waited for; the verdict is in already.
    new OssConflictError('', { before: tail, after: tail, seen: tail }),
    new TypeError('a bug of ours'),
    Object.assign(new Error('raw'), { code: 'ECONNRESET' }),
    undefined,
    'a string',
  ]
  for (const error of errors) t.equal(classifyError(error), 'final', String(error))
})

t.test('in doubt: whether an attempt that failed so may have landed, or may land yet', async t => {
  // An error; whether it leaves doubt over a client that sends once; and over one that may send again.
  const rows: [error: unknown, once: boolean, again: boolean][] = [
    // The outcome is unknown.
    [timeoutError(), true, true],
    [networkError(), true, true],
    [networkError('ECONNRESET'), true, true],
    [networkError('UND_ERR_SOCKET'), true, true],
    [networkError('EPIPE'), true, true],
    [networkError('ECONNRESET', { isBodyCut: true }), true, true],
    // The code alone proves nothing: a retry in a layer below may have got it, after an attempt that landed.
    [networkError('ECONNREFUSED', { isUnsent: false }), true, true],
    [networkError('ENOTFOUND', { isUnsent: false }), true, true],
    [networkError('CERT_REVOKED', { isUnsent: false }), true, true],
    // A server in between answered.
    [networkError(undefined, { status: 403 }), true, true],
    [networkError(undefined, { status: 413 }), true, true],
    // Stored, and not as sent.
    [new OssError('OSS_ERR_INTEGRITY', ''), true, true],
    // OSS may say these after the bytes were passed on.
    [serviceError('InternalError', { status: 500 }), true, true],
    [serviceError('NotImplemented', { status: 501 }), true, true],
    [serviceError('BadErrorResponse', { status: 502 }), true, true],
    [serviceError('ServiceUnavailable', { status: 503 }), true, true],
    [serviceError('SlowDown', { status: 503 }), true, true],
    // A defect: nothing is known.
    [new OssError('OSS_ERR_CLIENT', ''), true, true],
    // The stream was destroyed while the append was in flight.
    [new OssError('OSS_ERR_ABORTED', ''), true, true],
    [new TypeError('a defect'), true, true],
    [undefined, true, true],
    // The client knows that it sent nothing.
    [networkError('ECONNREFUSED'), false, false],
    [networkError('ECONNRESET', { isUnsent: true }), false, false],
    [new OssError('OSS_ERR_TIMEOUT', '', { isUnsent: true }), false, false],
    [credentialsError(true), false, false],
    [credentialsError(false), false, false],
    // OSS has judged and refused the last request. An earlier one may have been stored.
    [positionConflict(3), false, true],
    [positionConflict(), false, true],
    [serviceError('ObjectNotAppendable', { status: 409 }), false, true],
    [serviceError('AccessDenied', { status: 403 }), false, true],
    [serviceError('RequestTimeTooSkewed', { status: 403, isRefreshable: true }), false, true],
    [serviceError('SecurityTokenExpired', { status: 403, isRefreshable: true }), false, true],
    [serviceError('InvalidDigest'), false, true],
    [serviceError('BadErrorResponse', { status: 408 }), false, true],
    [serviceError('RequestTimeout'), false, true],
    [serviceError('IncompleteBody'), false, true],
    [serviceError('BadErrorResponse', { status: 413 }), false, true],
    [serviceError('BadErrorResponse', { status: 429 }), false, true],
    [serviceError('BadErrorResponse', { status: 499 }), false, true],
  ]
  for (const [error, once, again] of rows) {
    t.equal(isInDoubt(error, { sendsOnce: true }), once, `${error}, sent once`)
    t.equal(isInDoubt(error, { sendsOnce: false }), again, `${error}, may be sent again`)
    t.equal(isInDoubt(error, {}), again, `${error}, may be sent again by default`)
  }
})
