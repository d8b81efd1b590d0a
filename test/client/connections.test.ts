/**
 * How many connections a client opens: responses of HEAD and POST with combinations of the headers that decide over a
 * connection, over http and https, and after resets. `connections.slow.ts` has every combination.
 */

import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Client } from 'undici'
import { OwnAgent } from '../../lib/client/agent.ts'
import { createExchange } from '../../lib/client/create-exchange.ts'
import { dispatch } from '../../lib/client/dispatch.ts'
import {
  COMBINATIONS,
  describe,
  exchange,
  OPTIONS,
  responseOf,
  start,
  TARGET,
  testPairs,
  trustEveryCertificate,
} from './connection-headers.ts'

/** Each HEAD goes with a POST of each `connection`; over https, where handshakes take long, with two. */
const STEPS = { http: COMBINATIONS.length / 3, https: COMBINATIONS.length / 2 }

for (const scheme of ['http', 'https'] as const) {
  t.test(`${scheme}: a HEAD and its appends share a connection, whatever the headers`, t => {
    return testPairs(t, scheme, STEPS[scheme])
  })

  t.test(`${scheme}: after a reset, one new connection serves all further exchanges`, async t => {
    if (scheme === 'https') trustEveryCertificate(t)
    for (const ofHead of COMBINATIONS.filter(({ connection }) => connection !== 'close')) {
      let resets = 0
      const { client, requests } = await start(t, scheme, (method, socket) => {
        if (resets > 0 && method === 'POST') {
          resets -= 1
          socket.destroy()
          return undefined
        }
        return responseOf(method, method === 'HEAD' ? ofHead : { length: true })
      })
      await exchange(client, 'HEAD')
      await exchange(client, 'POST')
      for (let i = 0; i < 3; i++) {
        resets = 1
        await t.rejects(exchange(client, 'POST'), { code: 'OSS_ERR_NETWORK' })
        for (let n = 0; n < 3; n++) await exchange(client, 'POST')
      }
      await client.close()
      const first = !ofHead.length && ofHead.connection === undefined ? 2 : 1
      const numbers = requests.slice(1).map(request => Number(request.split(' ')[1]) - first)
      t.same(numbers, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3], describe(ofHead))
    }
  })
}

t.test('an exchange that times out closes its connection and opens no other', async t => {
  const { client, sockets, requests } = await start(
    t,
    'http',
    () => (requests.length === 1 ? undefined : responseOf('POST', { length: true })),
    { requestTimeout: 50 },
  )
  await t.rejects(exchange(client, 'POST'), { code: 'OSS_ERR_TIMEOUT' })
  const [first] = sockets
  if (!first?.closed) await new Promise(resolve => first?.resume().once('close', resolve))
  await delay(50)
  t.equal(sockets.length, 1)
  await exchange(client, 'POST')
  await exchange(client, 'POST')
  t.same(requests, ['POST 1', 'POST 2', 'POST 2'])
})

t.test('exchanges beyond the limit of connections wait for one', async t => {
  const waiting: (() => void)[] = []
  let most = 0
  const { sockets, requests, endpoint } = await start(t, 'http', (_method, socket) => {
    waiting.push(() => socket.write(responseOf('POST', { length: true })))
    most = Math.max(most, waiting.length)
    return undefined
  })
  const direct = createExchange({ ...OPTIONS, endpoint })
  t.teardown(() => direct.close())
  const exchanges = Array.from({ length: 70 }, () => {
    const { signal } = new AbortController()
    return direct.post(TARGET, { signal })
  })
  while (requests.length < 64) await delay(5)
  for (let done = 0; done < exchanges.length; done++) {
    while (waiting.length === 0) await delay(1)
    waiting.shift()?.()
  }
  await Promise.all(exchanges)
  t.same([requests.length, sockets.length, most], [70, 64, 64])
})

t.test('concurrent exchanges use idle connections before they open others', async t => {
  const { client, sockets } = await start(t, 'http', method => responseOf(method, { length: true }))
  for (let round = 0; round < 5; round++) {
    await Promise.all([1, 2, 3].map(() => exchange(client, 'POST')))
    await new Promise(setImmediate)
  }
  t.equal(sockets.length, 3)
  // The first two close. Those that stay open are used first.
  for (const socket of sockets.slice(0, 2)) {
    socket.end()
    // The client has closed its side.
    await once(socket, 'close')
  }
  for (let i = 0; i < 3; i++) await exchange(client, 'POST')
  t.equal(sockets.length, 3)
})

t.test('the agent forgets origins whose connections are closed', async t => {
  const agent = new OwnAgent(1000)
  const dispatcher = await agent.get()
  const { signal } = new AbortController()
  const options = { timeout: 1000, signal, toError: (error: unknown) => error }
  // Nothing listens on these ports, so each origin has a client without a connection.
  for (let port = 1; port <= 100; port++) {
    const origin = `http://127.0.0.1:${port}`
    const request = { origin, path: '/', method: 'HEAD', headers: {}, body: null } as const
    await dispatch(dispatcher, request, options).catch(() => {})
  }
  let destroyed = 0
  const { destroy } = Client.prototype
  Client.prototype.destroy = function (...args: []) {
    destroyed += 1
    return destroy.apply(this, args)
  }
  t.teardown(() => Reflect.deleteProperty(Client.prototype, 'destroy'))
  await agent.close(new Error('closed'))
  t.ok(destroyed > 0 && destroyed < 20, `${destroyed} clients are destroyed`)
})
