/**
 * `npm run test:live`: what the tests claim against the embedded server, against a real bucket, and a
 * table of what OSS does where its documents are silent. Needs `OSS_TEST_BUCKET`, `OSS_REGION` (or
 * `OSS_ENDPOINT`) and the keys in the environment; without a bucket it says so and does nothing. What
 * needs more than that says what.
 *
 * It writes below `oss-append-stream-live/` alone, and deletes what it wrote, or says what it could not.
 */

const { OSS_TEST_BUCKET: name, OSS_REGION, OSS_ENDPOINT } = process.env
const missing = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET'].filter(key => !process.env[key])
if (!OSS_REGION && !OSS_ENDPOINT) missing.push('OSS_REGION or OSS_ENDPOINT')

if (!name) {
  console.log('skipped: no OSS_TEST_BUCKET, so there is no bucket to look at')
} else if (missing.length > 0) {
  console.error(`OSS_TEST_BUCKET is ${name}, but to reach it is missing: ${missing.join(', ')}`)
  process.exitCode = 1
} else {
  process.exitCode = await runLive(name)
}

async function runLive(name: string): Promise<number> {
  // Only now: who has no bucket does not wait for the compiler.
  const { BEHAVIOURS, NotAsked } = await import('./behaviours.ts')
  const { openBucket } = await import('./bucket.ts')
  const { QUESTIONS } = await import('./questions.ts')
  const bucket = await openBucket(name)
  const counts = { ok: 0, FAILED: 0, 'not asked': 0 }
  let left: string[]
  try {
    for (const [title, holds] of Object.entries(BEHAVIOURS)) {
      const error = await holds(bucket).then(
        () => undefined,
        (error: Error) => error,
      )
      const result = !error ? 'ok' : error instanceof NotAsked ? 'not asked' : 'FAILED'
      counts[result] += 1
      const reason = result === 'not asked' ? `: needs ${error?.message}` : ''
      console.log(`${result.padEnd(9)} ${title}${reason}`)
      if (result === 'FAILED') console.log(`          ${error?.message}`)
    }
    const answers = QUESTIONS.map(([, , ask]) =>
      ask(bucket).catch((error: Error) => `could not be asked: ${error.message}`),
    )
    console.log('\n| | question | answer |\n| --- | --- | --- |')
    for (const [i, [number, question]] of QUESTIONS.entries()) {
      const answer = (await answers[i]) ?? ''
      console.log(`| ${number} | ${question} | ${answer.replaceAll('|', '\\|')} |`)
    }
    const statuses = [...bucket.statuses].sort().map(([status, count]) => `${count} x ${status}`)
    console.log(`| 8 | Is 429 ever sent? | the answers of this run: ${statuses.join(', ')} |`)
  } finally {
    left = await bucket.clear()
    for (const key of left) console.log(`NOT DELETED oss://${name}/${key}`)
  }
  const { ok, FAILED: failed, 'not asked': notAsked } = counts
  console.log(`\n${ok} hold, ${failed} failed, ${notAsked} not asked, ${left.length} not deleted`)
  return failed + left.length === 0 ? 0 : 1
}

export {}
