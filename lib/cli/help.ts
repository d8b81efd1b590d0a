/** The texts of the help, 80 columns at most. `--help` fits into 24 lines, the prompt included. */

import type { HelpTopic } from './commands.ts'
import { type CommandName, FLAGS, type Flag } from './flags.ts'

export const HELP = `Append a stream of bytes to an object of Alibaba Cloud OSS, and prove it.

  oss-append [options] oss://BUCKET/KEY [FILE]
  oss-append demo [--bytes 64MiB] [FILE]     on a server of its own: no account
  oss-append stat oss://BUCKET/KEY [--json]               what the object is
  oss-append cat oss://BUCKET/KEY [-f, --follow] [--interval 1s]    its bytes
  oss-append ls oss://BUCKET/PREFIX [--json]             what the bucket has
  oss-append verify FILE oss://BUCKET/KEY [--json]  compare without downloading
  oss-append drain DIR [oss://BUCKET/KEY]     deliver what --journal DIR holds
  oss-append journal DIR [--json]             what it holds, and what to do
  oss-append serve [--dir DIR] [--port N] [--log]        an OSS on this machine
  oss-append help options | COMMAND             what every option means

Reads FILE, or standard input if that is a pipe or a file (-: in any case).
Ctrl-C finishes within --grace 7s, a second one aborts. -h, --help -v, --version

  ffmpeg -i rtsp://cam -c copy -f mpegts - | oss-append oss://cams/gate.ts
  journalctl -f | oss-append --roll-key 'host/{yyyy}-{MM}.log' oss://logs/
  oss-append --local lab oss://lab/run7.csv < run7.csv    # no account: a folder
Environment: OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET, OSS_REGION, OSS_ENDPOINT.
Exit code: 0 done and verified, 1 failed, 2 wrong usage, 3 another writer
changed the object, 4 it is not what was sent, 129/130/143 interrupted.
`

/** Usage of each command, and what it does. */
const USAGES: Readonly<Record<CommandName, string>> = {
  append: `oss-append [options] oss://BUCKET/KEY [FILE]
oss-append [options] FILE oss://BUCKET/KEY
oss-append [options] --follow FILE oss://BUCKET/app-{index}.log

Appends FILE to the object, or standard input if that is a pipe or a file (-: in
any case). --follow goes on as tail -F does, over rotation: each rotated file
has an object of its own. The object is created if it does not exist. A KEY that
ends in a slash is a folder for FILE. What OSS reports is compared with what was
sent. With --journal DIR a restart, a kill or a power cut loses nothing that was
read. --local DIR keeps objects as folders: read them by ls and cat, with the
same --local DIR.
`,
  demo: `oss-append demo [--bytes 64MiB] [FILE]

Appends FILE, standard input or sample data to an object on a server in this
process, reads it back and compares it. Needs no account, and leaves nothing.
`,
  stat: `oss-append stat [options] oss://BUCKET/KEY

Prints type, length, CRC-64, seal and metadata of the object.
`,
  cat: `oss-append cat [options] oss://BUCKET/KEY

Prints the bytes of the object, and compares their CRC-64 with OSS's. A KEY with
{index} stands for all objects of a rolling stream: they are printed in order.
`,
  ls: `oss-append ls [options] oss://BUCKET[/PREFIX]

Lists the objects whose keys begin with PREFIX: length, type, time and key.
`,
  verify: `oss-append verify [options] FILE oss://BUCKET/KEY

Compares length and CRC-64 of FILE (-: standard input) with those of the object,
without a download.
`,
  drain: `oss-append drain [options] DIR [oss://BUCKET/KEY]

Delivers what a journal holds, each slot to its own object, and ends. Slots that
a living process uses are left to it. Bytes whose object is sealed, or of which
nothing was sent and only a key pattern is known, go to oss://BUCKET/KEY. Exit
code 1: bytes are left.
`,
  journal: `oss-append journal DIR [--json]

Prints what a journal holds: for each slot its owner, bytes, object and damage.
Changes nothing. Exit code 1: damaged bytes are there, or kept as .damaged.
`,
  serve: `oss-append serve [options]

Runs an OSS for tests until a signal, and prints the environment variables with
which clients reach it. In a shell, with the server in the background:

  eval "$(oss-append serve --log &)"
  kill "$OSS_SERVE_PID"
`,
}

const SECTIONS: readonly (readonly [title: string, includes: (flag: Flag) => boolean])[] = [
  ['Connection', ({ group }) => group === 'backend'],
  ['Appending', ({ group, isCreation = false }) => group === 'stream' && !isCreation],
  ['Rolling', ({ group }) => group === 'roll'],
  ['New objects', ({ isCreation = false }) => isCreation],
  ['Command', ({ group }) => group === 'command'],
]

/** The text of `--help`, or that of a topic. */
export function formatHelp(topic?: HelpTopic): string {
  if (topic === undefined) return HELP
  if (topic === 'options') return `${UNITS}${formatFlags(Object.entries(FLAGS), commandNote)}`
  const flags = Object.entries(FLAGS).filter(([, { commands }]) => commands.includes(topic))
  return `${USAGES[topic]}${formatFlags(flags, () => '')}`
}

const UNITS = `SIZE: bytes, KiB, MiB or GiB. TIME: ms, s, m, h or d. Defaults in parentheses.
`

type NamedFlag = readonly [name: string, flag: Flag]

function formatFlags(flags: readonly NamedFlag[], note: (flag: Flag) => string): string {
  return SECTIONS.map(([title, includes]) => {
    const lines = flags
      .filter(([, flag]) => includes(flag))
      .map(([name, flag]) => `${formatFlag(name, flag)}${note(flag)}\n`)
    return lines.length === 0 ? '' : `\n${title}:\n${lines.join('')}`
  }).join('')
}

/** Columns of the names. */
const NAME_WIDTH = 34

function formatFlag(name: string, { value, text, short, envName }: Flag): string {
  const flag = `${short ? `-${short}, ` : ''}--${name}${value && ` ${value}`}`
  return `  ${flag.padEnd(NAME_WIDTH)}  ${text}${envName ? `, or ${envName}` : ''}`
}

/** The command, for a flag that `append` does not take. */
function commandNote({ commands }: Flag): string {
  return commands.includes('append') ? '' : `; ${commands.join(', ')}`
}
