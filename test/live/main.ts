/**
 * `npm run test:live` checks behaviours against a real bucket, and prints a table of what OSS does where its
 * documentation is silent. It needs `OSS_TEST_BUCKET`, `OSS_REGION` or `OSS_ENDPOINT`, and credentials in
 * the environment. It writes below `oss-append-stream-live/` only, deletes what it wrote, and prints what it
 * could not delete.
 */

const { OSS_TEST_BUCKET: name, OSS_REGION, OSS_ENDPOINT } = process.env
const missing = ['OSS_ACCESS_KEY_ID', 'OSS_ACCESS_KEY_SECRET'].filter(key => !process.env[key])
if (!OSS_REGION && !OSS_ENDPOINT) missing.push('OSS_REGION or OSS_ENDPOINT')

if (!name) {
  console.log('skipped: OSS_TEST_BUCKET is not set')
} else if (missing.length > 0) {
  console.error(`cannot reach OSS_TEST_BUCKET ${name}: set ${missing.join(', ')}`)
  process.exitCode = 1
} else {
  process.exitCode = await runLive(name)
}

async function runLive(name: string): Promise<number> {
  // Imported here, so that a run without a bucket does not wait for the compiler.
  const { BEHAVIOURS, SkippedError } = await import('./behaviours.ts')
  const { openBucket } = await import('./bucket.ts')
  const { QUESTIONS } = await import('./questions.ts')
  const bucket = await openBucket(name)
  const counts = { ok: 0, FAILED: 0, skipped: 0 }
  let left: string[]
  try {
    for (const [title, check] of Object.entries(BEHAVIOURS)) {
      const error = await check(bucket).then(
        () => undefined,
        (error: Error) => error,
      )
      const result = !error ? 'ok' : error instanceof SkippedError ? 'skipped' : 'FAILED'
      counts[result] += 1
      const reason = result === 'skipped' ? `: needs ${error?.message}` : ''
      console.log(`${result.padEnd(7)} ${title}${reason}`)
      if (result === 'FAILED') console.log(`        ${error?.message}`)
    }
    const answers = QUESTIONS.map(([, , ask]) =>
      ask(bucket).catch((error: Error) => `no answer: ${error.message}`),
    )
    console.log('\n| | question | answer |\n| --- | --- | --- |')
    for (const [i, [number, question]] of QUESTIONS.entries()) {
      const answer = (await answers[i]) ?? ''
      console.log(`| ${number} | ${question} | ${answer.replaceAll('|', '\\|')} |`)
    }
    const statuses = [...bucket.statuses].sort().map(([status, count]) => `${count} x ${status}`)
    console.log(`| 8 | Does OSS send 429? | the statuses of this run: ${statuses.join(', ')} |`)
  } finally {
    left = await bucket.clear()
    for (const key of left) console.log(`NOT DELETED oss://${name}/${key}`)
  }
  const { ok, FAILED: failed, skipped } = counts
  console.log(`\n${ok} hold, ${failed} failed, ${skipped} skipped, ${left.length} not deleted`)
  return failed + left.length === 0 ? 0 : 1
}

export {}
