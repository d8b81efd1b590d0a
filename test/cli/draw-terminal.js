/**
 * `npm run docs:terminal` draws `.github/terminal.svg`, the picture of the command in the documents: the real
 * output of `dist/` on a pseudo-terminal (`script` of util-linux), with an outage of the server.
 */

import { spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createOssServer } from '../../dist/server/index.js'

const CLI = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url))
const COLUMNS = 80
const BYTES = 96 * 1024 * 1024
const OUTAGE = 3000
const COMMANDS = [
  'oss-append oss://backup/disk.img disk.img',
  'oss-append verify disk.img oss://backup/disk.img',
]

const dir = mkdtempSync(join(tmpdir(), 'terminal-'))
writeFileSync(join(dir, 'disk.img'), randomFillSync(Buffer.alloc(BYTES)))
writeFileSync(join(dir, 'oss-append'), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`, {
  mode: 0o755,
})
const server = await createOssServer()
server.latency = 120
const [append, verify] = [await run(COMMANDS[0]), await run(COMMANDS[1])]
await server.close()
rmSync(dir, { recursive: true })

// The first screen is from the last wait of the outage, the second one from the end.
const lastWait = append.lastIndexOf(' next in ')
if (lastWait === -1) throw new Error('the outage was too short to show a wait: run this again')
const during = screen(append.slice(0, append.indexOf('\r\x1b[K', lastWait)))
const after = [...screen(append), `$ ${COMMANDS[1]}`, ...screen(verify)]
const svg = draw([
  [`$ ${COMMANDS[0]}`, ...during],
  [`$ ${COMMANDS[0]}`, ...after],
])
writeFileSync(new URL('../../.github/terminal.svg', import.meta.url), svg)

/** What a command writes to a terminal. At 40% the server refuses connections for a while. */
function run(command) {
  const { accessKeyId, accessKeySecret } = server.credentials
  const env = {
    PATH: `${dir}:${process.env.PATH}`,
    SHELL: '/bin/sh',
    TERM: 'xterm',
    OSS_ENDPOINT: server.url,
    OSS_REGION: server.region,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  }
  const line = `stty cols ${COLUMNS}; ${command}`
  const child = spawn('script', ['-q', '-e', '-c', line, '/dev/null'], { cwd: dir, env })
  let text = ''
  let isAway = false
  child.stdout.setEncoding('utf8').on('data', more => {
    text += more
    if (isAway || !/\] 4\d%/.test(more)) return
    isAway = true
    server.refuse(OUTAGE)
  })
  return new Promise((resolve, reject) => {
    child.once('close', code => (code === 0 ? resolve(text) : reject(new Error(text))))
  })
}

/** The lines that a terminal shows after this text. */
function screen(text) {
  const lines = text.split('\r\n').map(line => line.split('\r\x1b[K').at(-1))
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** Terminal windows, one below the other. */
function draw(screens) {
  const width = Math.round(16 + COLUMNS * 8.1)
  let y = 0
  const windows = screens.map(lines => {
    const height = lines.length * 18 + 38
    const texts = lines.map((line, i) => {
      const style = line.startsWith('$') ? ' class="typed"' : ''
      return `<text${style} x="12" y="${y + 44 + i * 18}">${escapeText(line)}</text>`
    })
    const dots = [0, 1, 2].map(i => `<circle cx="${16 + i * 16}" cy="${y + 14}" r="5"/>`)
    const box = `<rect x="0.5" y="${y + 0.5}" width="${width - 1}" height="${height - 1}" rx="8"/>`
    y += height + 12
    return [box, ...dots, ...texts].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" viewBox="0 0 ${width} ${y - 12}" width="${width}" height="${y - 12}" role="img" aria-label="oss-append in a terminal: progress through an outage, and its report">
<style>
rect { fill: #161b22; stroke: #30363d }
circle { fill: #484f58 }
text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #c9d1d9 }
.typed { fill: #7ee787 }
</style>
${windows.join('\n')}
</svg>
`
}

function escapeText(text) {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  // No-break spaces, because SVG collapses other spaces and not every renderer knows `white-space`.
  return escaped.replaceAll(' ', '\u00a0')
}
