import { forEachSeed } from './for-each-seed.ts'
import { runSeed } from './run-seed.ts'
const [from, to, show] = process.argv.slice(2).map(Number)
const found: Record<string, number[]> = {}
const outcomes: Record<string, number> = {}
await forEachSeed([from!, to!], async seed => {
  const r = await runSeed(seed, 2 + (seed % 3))
  outcomes[r.outcome] = (outcomes[r.outcome] ?? 0) + 1
  if (show && r.complaints.length) console.log(r.theme, r.transcript.join('\n'))
  for (const c of new Set(r.complaints.map(c => c.replace(/\d+/g, 'N').slice(0, 90)))) (found[c] ??= []).push(seed)
})
console.log(Object.entries(found).sort((a,b)=>b[1].length-a[1].length).map(([c, s]) => `${s.length} ${c}: ${s.slice(0, 5)}`).join('\n'), outcomes)
process.exit()
