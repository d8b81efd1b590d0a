/** Draws a bar chart as SVG, with a transparent background and colours for light and for dark pages. */

import { ALI, COPY, FS, OURS, OURS_MD5, OURS_TLS, SONIC, UNDICI } from './cases.js'
import { digits, median, speed } from './numbers.js'

const GB = 1e9
const WIDTH = 760
const LEFT = 250
const BAR = 18
const STEP = 26

const groups = [
  {
    title: 'Appends of 4 MiB, GB/s',
    name: 'append-4MiB',
    labels: [UNDICI, OURS, OURS_TLS, OURS_MD5, ALI],
    value: turn => speed(turn) / GB,
  },
  {
    title: 'Lines of 100 bytes as strings, millions a second',
    name: 'lines-strings',
    labels: [COPY, OURS, SONIC, FS],
    value: turn => speed(turn) / 100 / 1e6,
  },
  {
    title: 'CRC-64 of 1 MiB, GB/s',
    name: 'crc64',
    labels: [OURS, 'hash-wasm', 'crc64-ecma182.js'],
    value: turn => 1024 ** 2 / turn.calls['1 MiB'],
  },
]

/** @param {Record<string, { results: object }>} measured results by name of the case */
export function chart(measured) {
  let y = 8
  const parts = []
  for (const { title, name, labels, value } of groups) {
    const results = measured[name]?.results ?? {}
    const bars = labels
      .map(label => ({ label, value: median((results[label]?.turns ?? []).map(value))?.median }))
      .filter(bar => bar.value !== undefined)
    if (bars.length === 0) continue
    y += 20
    parts.push(`<text class="title" x="8" y="${y}">${escapeText(title)}</text>`)
    y += 10
    const max = Math.max(...bars.map(bar => bar.value))
    for (const bar of bars) {
      parts.push(draw(bar, y, max))
      y += STEP
    }
    y += 8
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="Throughput of this library beside others">
<style>
text { font: 13px system-ui, sans-serif; fill: #57606a }
.title { font-weight: 600 }
.ours { fill: #1f7ae0 }
.theirs { fill: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #c9d1d9 }
.ours { fill: #58a6ff }
.theirs { fill: #6e7681 }
}
</style>
${parts.join('\n')}
</svg>
`
}

function draw({ label, value }, y, max) {
  const width = Math.max(2, Math.round(((WIDTH - LEFT - 70) * value) / max))
  const text = y + BAR - 5
  return [
    `<text x="${LEFT - 10}" y="${text}" text-anchor="end">${escapeText(label)}</text>`,
    `<rect class="${label.startsWith(OURS) ? 'ours' : 'theirs'}" x="${LEFT}" y="${y}" width="${width}" height="${BAR}" rx="3"/>`,
    `<text x="${LEFT + width + 8}" y="${text}">${digits(value)}</text>`,
  ].join('\n')
}

function escapeText(text) {
  return text.replace(/[&<>]/g, char => `&#${char.charCodeAt(0)};`)
}
