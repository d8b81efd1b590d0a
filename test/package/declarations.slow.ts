/** The declarations of the packed package, as a compiler and an editor read them. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { MODULES, pack } from '../helpers/packed-package.ts'
import { table } from '../helpers/readme.ts'
import { BOTH, testCompilers, USE } from './compilers.ts'

const packed = await pack(t)
const { app, installed } = packed

t.test('a program of a user compiles, and its mistakes do not', async t => {
  await testCompilers(t, packed, [{ module: 'typescript7', version: '7.0', files: BOTH }])
})

/** Every entry that has types, by its name behind the package's. */
const ENTRIES = {
  '.': 'dist/index.d.ts',
  './server': 'dist/server/index.d.ts',
  './pino': 'dist/loggers/pino.d.ts',
  './winston': 'dist/loggers/winston.d.ts',
}

const program = ts.createProgram(
  Object.values(ENTRIES).map(file => join(installed, file)),
  { module: ts.ModuleKind.NodeNext, types: ['node'], typeRoots: [join(MODULES, '@types')] },
)
const checker = program.getTypeChecker()

/** What an entry exports, by its name. */
function exportsOf(file: string): Map<string, ts.Symbol> {
  const source = program.getSourceFile(join(installed, file))
  const module = source && checker.getSymbolAtLocation(source)
  if (!module) throw new Error(`no entry ${file}`)
  return new Map(
    checker.getExportsOfModule(module).map(symbol => {
      const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
      return [symbol.name, isAlias ? checker.getAliasedSymbol(symbol) : symbol]
    }),
  )
}

/** Declared by this package. */
function isOurs(symbol: ts.Symbol): boolean {
  return (
    symbol.declarations?.some(node => node.getSourceFile().fileName.startsWith(installed)) ?? false
  )
}

/** Whether a class of Node or of a logger says what a member of this name is. */
function isForeign(type: ts.Type, name: string): boolean {
  return (type.getBaseTypes() ?? []).some(base => {
    const found = base.getProperty(name)
    return found !== undefined && (!isOurs(found) || isForeign(base, name))
  })
}

type Documented = Pick<ts.Symbol, 'getDocumentationComment'>

function documentationOf(what: Documented): string {
  return ts.displayPartsToString(what.getDocumentationComment(checker))
}

/** All of an export that an editor shows a text for, by its dotted name; a signature where there are several. */
function* documented(name: string, symbol: ts.Symbol): Generator<[name: string, what: Documented]> {
  yield [name, symbol]
  const value = checker.getTypeOfSymbol(symbol)
  yield* signatures(name, value.getCallSignatures())
  if (symbol.flags & ts.SymbolFlags.Class) {
    yield* signatures(`new ${name}`, value.getConstructSignatures())
    yield* members(name, value)
  }
  if (symbol.flags & ts.SymbolFlags.Type)
    yield* members(name, checker.getDeclaredTypeOfSymbol(symbol))
}

function* members(name: string, type: ts.Type): Generator<[name: string, what: Documented]> {
  // The variants of a union say in their own comments what they are.
  if (type.isUnion()) return
  for (const member of type.getProperties()) {
    if (!isOurs(member) || isPrivate(member) || isForeign(type, member.name)) continue
    const dotted = `${name}.${member.name.replace(/^__@(\w+)@\d+$/, 'Symbol.$1')}`
    if ((member.flags & ts.SymbolFlags.Method) === 0) yield [dotted, member]
    else yield* signatures(dotted, checker.getTypeOfSymbol(member).getCallSignatures())
  }
}

function isPrivate({ valueDeclaration }: ts.Symbol): boolean {
  const name = valueDeclaration && ts.getNameOfDeclaration(valueDeclaration)
  return name !== undefined && ts.isPrivateIdentifier(name)
}

function* signatures(name: string, all: readonly ts.Signature[]): Generator<[string, Documented]> {
  for (const each of all) {
    // A class that declares no constructor has one all the same.
    if (each.declaration) yield [`${name} ${checker.signatureToString(each)}`, each]
  }
}

for (const [entry, file] of Object.entries(ENTRIES)) {
  t.test(`an editor shows what each export of ${entry} means, and each of its members`, async t => {
    const all = [...exportsOf(file)].flatMap(([name, symbol]) => [...documented(name, symbol)])
    t.ok(all.length > 10, `${all.length} are found`)
    t.strictSame(
      all.filter(([, what]) => documentationOf(what) === '').map(([name]) => name),
      [],
      'none is without a comment',
    )
  })
}

t.test('the user above uses all of them', async t => {
  const source = ts.createSourceFile(USE, await readFile(USE, 'utf8'), ts.ScriptTarget.ES2022)
  for (const [entry, file] of Object.entries(ENTRIES)) {
    const used = source.statements
      .filter(ts.isImportDeclaration)
      .filter(({ moduleSpecifier }) => specifierOf(moduleSpecifier) === entry)
      .flatMap(({ importClause }) => namesIn(importClause))
    t.same(used.sort(), [...exportsOf(file).keys()].sort(), entry)
  }
})

/** `./pino` for `oss-append-stream/pino`. */
function specifierOf(node: ts.Expression): string {
  return (node as ts.StringLiteral).text.replace('oss-append-stream', '.')
}

function namesIn(clause: ts.ImportClause | undefined): string[] {
  const { name, namedBindings } = clause ?? {}
  const named = namedBindings && ts.isNamedImports(namedBindings) ? namedBindings.elements : []
  return [...(name ? ['default'] : []), ...named.map(each => (each.propertyName ?? each.name).text)]
}

/** What a type of an entry has. */
function membersOf(name: string, entry: keyof typeof ENTRIES = '.'): string[] {
  const symbol = exportsOf(ENTRIES[entry]).get(name)
  return symbol
    ? checker
        .getDeclaredTypeOfSymbol(symbol)
        .getProperties()
        .map(({ name }) => name)
    : []
}

/** The events of its own that an emitter's `on()` knows: those with an overload, or the members of `Listen<Events, this>`. */
function eventsOf(name: string, entry: keyof typeof ENTRIES): string[] {
  const symbol = exportsOf(ENTRIES[entry]).get(name)
  const on = symbol && checker.getDeclaredTypeOfSymbol(symbol).getProperty('on')
  if (!on) return []
  const type = checker.getTypeOfSymbol(on)
  if ((on.flags & ts.SymbolFlags.Method) !== 0) {
    return type.getCallSignatures().flatMap(signature => {
      const [event] = signature.getParameters()
      const eventType = event && checker.getTypeOfSymbol(event)
      return eventType?.isStringLiteral() ? [eventType.value] : []
    })
  }
  const [events] = checker.getTypeArguments(type as ts.TypeReference)
  return events?.getProperties().map(({ name }) => name) ?? []
}

/** A language service, as an editor runs it, for one file of this text. */
function createEditor(text: string): ts.LanguageService {
  const file = join(app, 'editor.mts')
  return ts.createLanguageService({
    getScriptFileNames: () => [file],
    getScriptVersion: () => '0',
    getScriptSnapshot: name => {
      const content = name === file ? text : ts.sys.readFile(name)
      return content === undefined ? undefined : ts.ScriptSnapshot.fromString(content)
    },
    getCurrentDirectory: () => app,
    getCompilationSettings: () => ({
      module: ts.ModuleKind.NodeNext,
      strict: true,
      types: ['node'],
      typeRoots: [join(MODULES, '@types')],
    }),
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
  })
}

const STREAM_EVENTS = {
  OssAppendStream: ['ready', 'append', 'retry', 'recover'],
  RollingAppendStream: ['ready', 'append', 'retry', 'recover', 'roll'],
} as const

t.test('hovering over an event shows what it carries, and what it means', async t => {
  const calls = Object.entries(STREAM_EVENTS).flatMap(([stream, events]) =>
    events.flatMap(event =>
      ['on', 'once'].map(method => {
        const call = `new ${stream}(o).${method}`
        return { event, call, line: `${call}('${event}', info => info)\n` }
      }),
    ),
  )
  const names = Object.keys(STREAM_EVENTS).join(', ')
  const head = `import { ${names} } from 'oss-append-stream'\ndeclare const o: never\n`
  const text = head + calls.map(({ line }) => line).join('')
  const editor = createEditor(text)
  for (const { event, call, line } of calls) {
    const method = text.indexOf(line) + call.length
    const shown = editor.getQuickInfoAtPosition(join(app, 'editor.mts'), method)
    const info = `${event[0]?.toUpperCase()}${event.slice(1)}Info`
    t.match(ts.displayPartsToString(shown?.displayParts), `(info: ${info}) => void`, line)
    t.match(ts.displayPartsToString(shown?.documentation), /^[A-Z].*\.$/, 'a sentence')
  }
  for (const [stream, events] of Object.entries(STREAM_EVENTS)) {
    t.same(eventsOf(stream, '.').sort(), [...events].sort(), `all events of ${stream}`)
  }
})

t.test('the tables of members and events in docs/ have the names of the types', async t => {
  const events = {
    ready: 'ReadyInfo',
    append: 'AppendInfo',
    retry: 'RetryInfo',
    recover: 'RecoverInfo',
    roll: 'RollInfo',
  }
  const listed = table('events').map(([event = '', carries = '']) => {
    const [, fields = ''] = /`\{ (.*?) \}`/.exec(carries) ?? []
    return [event.replaceAll(/[ `']/g, ''), fields.split(', ').sort()]
  })
  const wanted = Object.entries(events).map(([event, type]) => [event, membersOf(type).sort()])
  t.same(listed, [...wanted, ['error', ['']]])

  const logged = table('logger events').map(([event = '', carries = '']) => {
    const [, fields = ''] = /`\{ (.*?) \}`/.exec(carries) ?? []
    return [event.replaceAll(/[ `']/g, ''), fields]
  })
  t.same(logged.map(([event]) => event).sort(), eventsOf('PinoTransport', './pino').sort())
  const { drop } = Object.fromEntries(logged)
  t.same(drop?.split(', ').sort(), membersOf('DropInfo', './pino').sort())

  const members = table('members').flatMap(([cell = '']) => cell.match(/\w+/g) ?? [])
  t.ok(members.length > 5)
  const has = membersOf('OssAppendStream')
  t.same(
    members.filter(name => !has.includes(name)),
    [],
  )
})

/** Numbers that count nothing which has a unit. */
const UNITLESS = [
  'RetryPolicy.maxRetries',
  'GzipMembersOptions.level',
  'OssServerOptions.port',
  'ControlOptions.port',
]

function isNumber(type: ts.Type): boolean {
  return type.isUnion() ? type.types.some(isNumber) : (type.flags & ts.TypeFlags.NumberLike) !== 0
}

for (const [entry, file] of Object.entries(ENTRIES)) {
  t.test(`options of ${entry} have units and defaults`, async t => {
    const options = [...exportsOf(file)]
      .filter(([name]) => /(Options|Policy)$/.test(name))
      .flatMap(([holder, symbol]) => {
        const all = checker.getDeclaredTypeOfSymbol(symbol).getProperties().filter(isOurs)
        return all.map(option => ({ name: `${holder}.${option.name}`, option }))
      })
    t.ok(options.length > 5, `${options.length} are found`)
    const silent = (words: RegExp, isMeant: (option: ts.Symbol) => boolean) =>
      options
        .filter(({ option }) => isMeant(option) && !words.test(documentationOf(option)))
        .map(({ name }) => name)
    const units = silent(/\bbytes\b|milliseconds/i, option =>
      isNumber(checker.getTypeOfSymbol(option)),
    )
    t.same(
      units.filter(name => !UNITLESS.includes(name)),
      [],
      'units',
    )
    const isOptional = ({ flags }: ts.Symbol) => (flags & ts.SymbolFlags.Optional) !== 0
    t.same(silent(/\bdefault\b|\brequired\b|creation only/i, isOptional), [], 'defaults')
  })

  t.test(`functions of ${entry} say what they throw`, async t => {
    // Errors and streams are classes too, but are made by us.
    const own = ['OssClient', 'OssTransport']
    const silent: string[] = []
    for (const [name, symbol] of exportsOf(file)) {
      const value = checker.getTypeOfSymbol(symbol)
      const made = own.includes(name) ? value.getConstructSignatures() : []
      for (const signature of [...value.getCallSignatures(), ...made]) {
        const tags = signature.getJsDocTags().map(tag => tag.name)
        if (!tags.includes('throws')) silent.push(name)
      }
    }
    t.same(silent, [])
  })
}
