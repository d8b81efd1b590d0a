/** A program that imports a client, appends once, and prints milliseconds, CPU milliseconds and memory. */

const BYTES = Buffer.alloc(1024, 'x')
const BUCKET = 'benchmark'
const KEY = `cold-${process.pid}`

const contenders = {
  nothing: async () => async () => {},
  ours: async () => {
    const { createAppendStream } = await import('../../dist/index.js')
    return async options => {
      const stream = createAppendStream({ bucket: BUCKET, key: KEY, ...options })
      stream.write(BYTES)
      await stream.flush()
    }
  },
  'ali-oss': async () => {
    const { default: OSS } = await import('ali-oss')
    return ({ credentials, region, endpoint }) =>
      new OSS({
        ...credentials,
        region: `oss-${region}`,
        endpoint,
        bucket: BUCKET,
        authorizationV4: true,
      }).append(KEY, BYTES)
  },
}

const [contender, options] = process.argv.slice(2)
const start = performance.now()
const append = await contenders[contender]()
const imported = performance.now()
await append(JSON.parse(options))
const appended = performance.now()
const { user, system } = process.cpuUsage()
process.stdout.write(
  JSON.stringify({
    import: imported - start,
    append: appended - imported,
    cpu: (user + system) / 1000,
    rss: process.memoryUsage.rss(),
  }),
)
process.exit()
