/**
 * Holds the imports of `lib` to its layers. The table is the diagram; the rest reads the imports out of
 * the sources and compares. When this test fails, first ask whether the import is right, then the table.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import t from 'tap'
import ts from 'typescript'

/**
 * From the top down: a row names only rows below itself, so no import points upward. A row is a folder of
 * `lib`, or a file. A file that needs more than its folder has a row of its own, below which the folder's
 * other files are out of reach.
 *
 *     x        may be imported
 *     type x   only its types, by `import type`: nothing is loaded
 *     lazy x   only by `import()`, when it is needed
 *     uses x   a global that ties the layer to the world; a layer without one is given time and chance
 */
const LAYERS: Readonly<Record<string, string>> = {
  // Programs and adapters. They see what users see, and the command alone starts a server.
  cli: `node:* | uses process, timers, time | lazy server | type undici, server
    | folder-lock, index, client/credentials-module, rolling, stream, journal, options, client, client/agent, append, crc64, validate, clock, errors`,
  loggers: `node:*, winston-transport | uses process, timers, time
    | client/credentials-module, rolling, stream, journal, options, validate, clock, errors | type client, append`,
  index: `rolling, skip-existing, gzip-members, stream, client, crc64, errors
    | type options, header-options, append, journal`,

  // Streams. Below this group only the client knows node:stream, for the body of a ranged read.
  'gzip-members': 'node:stream, node:zlib | uses timers | validate, errors',
  'skip-existing': 'node:stream | rolling, stream, crc64, errors | type append',
  rolling: `node:assert/strict, node:os | uses process, time
    | stream, options, client, append, validate, errors | type journal`,
  stream: `node:stream, node:events, node:async_hooks, node:assert/strict, node:crypto | uses process, timers
    | stream/align, journal, options, append, crc64, clock, errors`,
  journal: `node:assert/strict, node:crypto, node:fs, node:fs/promises, node:os, node:path, node:zlib | uses process
    | stream/align, folder-lock, append, crc64, clock, errors | type options`,
  'stream/align': 'append, errors | type options',
  options: 'header-options, client, crc64, validate, errors | type append',
  'header-options': 'client, validate, errors',

  // How OSS is reached. The layers above do not know undici, which is loaded at the first request.
  'client/credentials-module': 'node:* | uses process | lazy url | client, errors',
  client: `node:crypto, node:net, node:stream | uses process, timers, time | type undici
    | client/agent, crc64, validate, clock, errors | type append`,
  'client/agent': 'uses time, lazy undici, type undici, type node:net | errors',

  // The core: no streams, no HTTP, no process, and every clock is an argument.
  append: 'node:assert/strict, node:crypto, node:diagnostics_channel | crc64, errors | type clock',

  // A second opinion on the protocol: it shares no code with the client, not even the CRC, so that the two
  // cannot be wrong together. How a wrong option is refused is no part of the protocol.
  server: 'node:* | uses timers, time | crc64-ecma182.js | validate, errors',

  // Leaves.
  'folder-lock': 'node:* | uses process',
  crc64: 'node:module, crc64-ecma182.js',
  validate: 'errors',
  clock: 'uses timers, time, chance',
  errors: '',
}

/** Folders whose other files are imported through `index.ts` alone. */
const BEHIND_INDEX = ['crc64', 'server']

/** Builtins, runtime dependencies, an optional peer, and `url`: a module that the user names. */
const PACKAGES = /^(node:.+|undici|crc64-ecma182\.js|winston-transport|url)$/

/** The globals that `uses` is about, by the word that stands for them. */
const GLOBALS: Readonly<Record<string, readonly string[]>> = {
  process: ['process'],
  console: ['console'],
  timers: ['setTimeout', 'setInterval', 'setImmediate'],
  time: ['performance', 'Date.now', 'new Date()'],
  chance: ['Math.random', 'crypto'],
  network: ['fetch', 'WebSocket'],
}

const LIB = join(import.meta.dirname, '../../lib')

/** One thing that a source file reaches out for: `options`, `type client`, `lazy undici`, `uses time`. */
interface Reach {
  readonly what: string
  readonly line: number
}

function allowed(layer: string): string[] {
  let kind = ''
  return (LAYERS[layer] ?? '')
    .split('|')
    .flatMap(group => {
      kind = ''
      return group.split(',').map(item => {
        const [, word, name = ''] = /^(type|lazy|uses)?\s*(.*)$/s.exec(item.trim()) ?? []
        // A word counts for what follows it in its group.
        if (word) kind = `${word} `
        return kind + name.trim()
      })
    })
    .filter(item => item !== '')
}

function isAllowed(what: string, layer: string): boolean {
  const list = allowed(layer)
  if (list.includes(what)) return true
  // Who may load a module may use its types, and may load it later.
  const module = what.replace(/^(type|lazy) /, '')
  return list.includes(module) || (/^(node:)/.test(module) && list.includes('node:*'))
}

function layerOf(file: string): string {
  const path = file.replace(/\.ts$/, '')
  const [folder = ''] = path.split('/')
  return Object.hasOwn(LAYERS, path) ? path : folder
}

function reachesOf(file: string, text = readFileSync(join(LIB, file), 'utf8')): Reach[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const reaches: Reach[] = []
  const add = (node: ts.Node, what: string) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart())
    reaches.push({ what, line: line + 1 })
  }
  const visit = (node: ts.Node): void => {
    const found = moduleOf(node)
    if (found) add(node, found.kind + nameOf(found.module, file))
    const world = globalOf(node)
    if (world) add(node, `uses ${world}`)
    ts.forEachChild(node, visit)
  }
  visit(source)
  // Within its own folder a layer is free.
  return reaches.filter(({ what }) => what.replace(/^\w+ /, '') !== layerOf(file))
}

/** What a node imports, if it imports. `import { type X }` loads the module and is no `import type`. */
function moduleOf(node: ts.Node): { kind: string; module: string } | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    if (!node.moduleSpecifier) return undefined
    const isType = ts.isImportDeclaration(node) ? node.importClause?.isTypeOnly : node.isTypeOnly
    return { kind: isType ? 'type ' : '', module: unquote(node.moduleSpecifier) }
  }
  if (ts.isImportTypeNode(node)) return { kind: 'type ', module: unquote(node.argument) }
  if (ts.isCallExpression(node) && node.arguments[0]) {
    const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword
    if (isImport) return { kind: 'lazy ', module: unquote(node.arguments[0]) }
    if (/^(require|createRequire\(.*\))$/.test(node.expression.getText()))
      return { kind: '', module: unquote(node.arguments[0]) }
  }
  if (ts.isExternalModuleReference(node)) return { kind: '', module: unquote(node.expression) }
  return undefined
}

function unquote(node: ts.Node): string {
  return node.getText().replace(/^['"`]|['"`]$/g, '')
}

/** `./crc64/index.ts` as seen from a file is the layer `crc64`; packages and builtins keep their names. */
function nameOf(module: string, file: string): string {
  if (!module.startsWith('.')) return module
  const path = posix.join(posix.dirname(file), module)
  const layer = layerOf(path)
  const isHidden = BEHIND_INDEX.includes(layer) && layer !== layerOf(file)
  const isLayer = Object.hasOwn(LAYERS, layer) && !(isHidden && path !== `${layer}/index.ts`)
  return isLayer ? layer : path
}

function globalOf(node: ts.Node): string | undefined {
  const text = ts.isNewExpression(node)
    ? `new ${node.expression.getText()}(${node.arguments?.map(argument => argument.getText()) ?? ''})`
    : ts.isPropertyAccessExpression(node) || (ts.isIdentifier(node) && isReference(node))
      ? node.getText().replace(/^globalThis\./, '')
      : ''
  return Object.keys(GLOBALS).find(word => GLOBALS[word]?.includes(text))
}

/** Not the name of a member, as in `clock.setTimeout` or `{ setTimeout: ... }`, nor a type. */
function isReference(node: ts.Identifier): boolean {
  const { parent } = node
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node
  if (ts.isShorthandPropertyAssignment(parent)) return true
  if (ts.isTypeNode(parent) || ts.isQualifiedName(parent)) return false
  return !('name' in parent && parent.name === node)
}

// what a file at `lib/tail.ts` says, what it reaches for
const samples: [string, string[]][] = [
  [`import { a } from './stream.ts'`, ['stream']],
  [`import a, { b } from './crc64/index.ts'`, ['crc64']],
  [`import * as a from './crc64/combine.ts'`, ['crc64/combine.ts']],
  [`import { a } from './client/limiter.ts'`, ['client']],
  [`import { a } from './client/agent.ts'`, ['client/agent']],
  [`import './server/index.ts'`, ['server']],
  [`import type { A } from './client.ts'`, ['type client']],
  [`import { type A } from './client.ts'`, ['client']],
  [`export type { A } from './client.ts'`, ['type client']],
  [`export { type A } from './client.ts'`, ['client']],
  [`export * from './client.ts'`, ['client']],
  [`let a: import('undici').Agent`, ['type undici']],
  [`const a = await import('undici')`, ['lazy undici']],
  [`const a = await import(name)`, ['lazy name']],
  [`const a = require('undici')`, ['undici']],
  [`import a = require('undici')`, ['undici']],
  [`const a = createRequire(import.meta.url)('undici')`, ['undici']],
  [`import { a } from '../package.json'`, ['../package.json']],
  [`import 'http'`, ['http']],
  [`import { setTimeout } from 'node:timers/promises'`, ['node:timers/promises']],
  [`const { env } = process`, ['uses process']],
  [`f({ process })`, ['uses process']],
  [`globalThis.setTimeout(f, 1)`, ['uses timers']],
  [`setInterval(f, Date.now())`, ['uses timers', 'uses time']],
  [`const a = [new Date(), performance.now()]`, ['uses time', 'uses time']],
  [`let a = Math.random`, ['uses chance']],
  [`await fetch(url)`, ['uses network']],
  [`console.log(1)`, ['uses console']],
  [`clock.setTimeout(f, 1)`, []],
  [`const clock = { setTimeout(f, delay) {}, now: 5 }`, []],
  [`interface Clock { setTimeout(f: F): void; process: number }`, []],
  [`new Date(text); Math.min(1, 2)`, []],
  [`// import './stream.ts'\nconst a = "import './stream.ts'"`, []],
]

t.test('imports and globals are found, whatever their form', async t => {
  for (const [text, reaches] of samples) {
    const found = reachesOf('tail.ts', text).map(({ what }) => what)
    t.same(found, reaches, text)
  }
})

const files = readdirSync(LIB, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
  .map(entry => relative(LIB, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  .sort()

const reaches = new Map(files.map(file => [file, reachesOf(file)]))

t.test('every file has its layer', async t => {
  t.ok(files.length > 20, 'the files are found')
  for (const file of files) {
    const mend = `lib/${file} has no row: decide what it may import, and add it to LAYERS in test/package/imports.test.ts`
    t.ok(Object.hasOwn(LAYERS, layerOf(file)), Object.hasOwn(LAYERS, layerOf(file)) ? file : mend)
  }
})

t.test('a row names only what is below it', async t => {
  const order = Object.keys(LAYERS)
  for (const layer of order) {
    for (const item of allowed(layer)) {
      const name = item.replace(/^(type|lazy|uses) /, '')
      const isKnown = item.startsWith('uses ')
        ? Object.hasOwn(GLOBALS, name)
        : PACKAGES.test(name) || order.includes(name)
      t.ok(isKnown, `${layer}: ${item} is a layer, a builtin, or a package that may be used`)
      if (!item.startsWith('uses ') && order.includes(name)) {
        t.ok(order.indexOf(name) > order.indexOf(layer), `${layer} is above ${name}`)
      }
    }
  }
})

for (const file of files) {
  t.test(`lib/${file}`, async t => {
    for (const { what, line } of reaches.get(file) ?? []) {
      const isFine = isAllowed(what, layerOf(file))
      const mend = `lib/${file}:${line} reaches for ${what}, which LAYERS does not give to ${layerOf(file)}`
      t.ok(isFine, isFine ? what : mend)
    }
  })
}

t.test('a row gives nothing that its layer does not use', async t => {
  for (const layer of Object.keys(LAYERS)) {
    const own = files.filter(file => layerOf(file) === layer)
    const used = own.flatMap(file => reaches.get(file) ?? []).map(({ what }) => what)
    const isUsed = (item: string) =>
      item === 'node:*' ? used.some(what => what.startsWith('node:')) : used.includes(item)
    t.same(
      allowed(layer).filter(item => !isUsed(item)),
      [],
      layer,
    )
  }
})

t.test(
  'only the command imports the server, and the server imports only how to refuse an option',
  async t => {
    const friends = Object.keys(LAYERS).filter(layer => isAllowed('lazy server', layer))
    t.same(friends, ['cli'])
    const inside = allowed('server').filter(item => Object.hasOwn(LAYERS, item))
    t.same(inside, ['validate', 'errors'])
  },
)

t.test('importing the main entry loads no logger', async t => {
  const reached = new Set(['index'])
  for (const layer of reached) {
    for (const item of allowed(layer)) if (!/^(type|uses) /.test(item)) reached.add(item)
  }
  t.ok(reached.has('stream'), 'what is reached is followed')
  for (const name of ['loggers', 'winston-transport']) t.notOk(reached.has(name), name)
})

/** Files that import each other in a circle, in any number of steps; imports of types count too. */
function circlesIn(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const reachable = (from: string): Set<string> => {
    const found = new Set<string>()
    const queue = [...(imports.get(from) ?? [])]
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      if (found.has(file)) continue
      found.add(file)
      queue.push(...(imports.get(file) ?? []))
    }
    return found
  }
  const reach = new Map([...imports.keys()].map(file => [file, reachable(file)]))
  const circles = [...imports.keys()]
    .filter(file => reach.get(file)?.has(file))
    .map(file => [...(reach.get(file) ?? [])].filter(other => reach.get(other)?.has(file)).sort())
  return [...new Map(circles.map(circle => [circle.join(), circle])).values()]
}

t.test('a circle of imports is found', async t => {
  const imports = new Map([
    ['a', ['b', 'd']],
    ['b', ['c']],
    ['c', ['a']],
    ['d', ['e']],
    ['e', []],
  ])
  t.same(circlesIn(imports), [['a', 'b', 'c']])
})

t.test('no files import each other in a circle, not even types', async t => {
  const imports = new Map(
    files.map(file => {
      const { importedFiles } = ts.preProcessFile(readFileSync(join(LIB, file), 'utf8'))
      const own = importedFiles.filter(({ fileName }) => fileName.startsWith('.'))
      return [file, own.map(({ fileName }) => posix.join(posix.dirname(file), fileName))]
    }),
  )
  t.same(circlesIn(imports), [])
})

t.test('relative imports name the file as it is on disk', async t => {
  for (const file of files) {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(LIB, file), 'utf8'))
    for (const { fileName } of importedFiles) {
      if (!fileName.startsWith('.')) continue
      const path = posix.join(posix.dirname(file), fileName)
      t.ok(files.includes(path), `lib/${file} imports ${fileName}`)
    }
  }
})
