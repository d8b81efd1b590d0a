/** From the options of the network to what sends a request. */

import { checkInteger, checkMethods, MAX_DELAY } from '../validate.ts'
import { createCredentialSource } from './credentials.ts'
import { type Endpoint, resolveEndpoint } from './endpoint.ts'
import { Exchange } from './exchange.ts'
import { CLIENT_DEFAULTS, type ClientOptions } from './options.ts'
import { RequestSigner } from './request-signer.ts'

/**
 * Checks the options and turns them into an exchange.
 *
 * @throws {OssError} `OSS_ERR_INVALID_OPTION`, naming the option.
 */
export function createExchange(options: ClientOptions, env = process.env): Exchange {
  const {
    dispatcher,
    credentials,
    connectTimeout = CLIENT_DEFAULTS.connectTimeout,
    requestTimeout = CLIENT_DEFAULTS.requestTimeout,
  } = options
  const endpoint = findEndpoint(options, env)
  const credentialSource = createCredentialSource(credentials, env)
  if (dispatcher !== undefined) checkMethods('dispatcher', dispatcher, ['dispatch'])
  return new Exchange({
    endpoint,
    requestSigner: new RequestSigner(credentialSource, endpoint.region),
    connectTimeout: checkInteger('connectTimeout', connectTimeout, 1, MAX_DELAY),
    requestTimeout: checkInteger('requestTimeout', requestTimeout, 1, MAX_DELAY),
    dispatcher,
  })
}

/** The endpoint that the options describe. The environment fills in what they leave out. */
export function findEndpoint(options: ClientOptions, env = process.env): Endpoint {
  const { region, endpoint = env.OSS_ENDPOINT || undefined, pathStyle, cname } = options
  const defaultRegion = env.OSS_REGION || undefined
  return resolveEndpoint({ region, defaultRegion, endpoint, pathStyle, cname })
}
