/** One instruction of a Dockerfile, continuation lines joined, comments left out. */
export interface Instruction {
  readonly name: string
  readonly args: string
}

export function parseDockerfile(text: string): Instruction[] {
  return text
    .split('\n')
    .filter((line) => !/^\s*#/.test(line))
    .join('\n')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', args = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? []
      return { name: name.toUpperCase(), args: args.trim() }
    })
}

type Rule = (instructions: readonly Instruction[]) => boolean

const all = (name: string, holds: (args: string) => boolean): Rule => {
  return (instructions) =>
    instructions.filter((entry) => entry.name === name).every(({ args }) => holds(args))
}

const last = (instructions: readonly Instruction[], name: string): string =>
  instructions.findLast((entry) => entry.name === name)?.args ?? ''

/** The paths of the checkout that a Dockerfile copies, and where to. */
export const copiedPaths = (text: string): { readonly from: string[]; readonly to: string }[] =>
  parseDockerfile(text)
    .filter(({ name, args }) => name === 'COPY' && !args.includes('--from='))
    .map(({ args }) => {
      const words = args.split(' ').filter((word) => !word.startsWith('--'))
      return { from: words.slice(0, -1), to: words.at(-1) ?? '' }
    })

const isExecForm = (args: string): boolean => {
  const words: unknown = args.startsWith('[') ? JSON.parse(args) : null
  return Array.isArray(words) && words.every((word) => typeof word === 'string')
}

/** What a Dockerfile of ours keeps to. No maintained linter for npm projects knows these (dockerfilelint is from 2020). */
export const RULES = {
  'every base is an official Node 26 by its digest': all('FROM', (args) =>
    /^docker\.io\/library\/node:26\.\d+\.\d+-[a-z-]+@sha256:[0-9a-f]{64} AS [a-z]+$/.test(args),
  ),
  'every stage has the same base': (instructions) =>
    new Set(
      instructions.filter(({ name }) => name === 'FROM').map(({ args }) => args.split(' ')[0]),
    ).size === 1,
  'files come from the checkout or a stage': (instructions) =>
    instructions.every(({ name }) => name !== 'ADD'),
  'the runtime stage copies what nobody may change': (instructions) => {
    const runtime = instructions.findLastIndex(({ name }) => name === 'FROM')
    return instructions
      .slice(runtime)
      .filter(({ name }) => name === 'COPY')
      .every(({ args }) => /--chmod=0[45][45][45] /.test(`${args} `))
  },
  'no copy takes the whole checkout': all('COPY', (args) => !/(^| )\.\/? /.test(args)),
  'dependencies are the locked production ones, without scripts': (instructions) => {
    const installs = instructions.filter(({ args }) => /(?:^|\s)npm\s/.test(args))
    return (
      installs.length === 1 &&
      /^npm ci --omit=dev --omit=optional --ignore-scripts(?: --no-[a-z]+)*$/.test(
        installs[0]?.args ?? '',
      )
    )
  },
  'nothing is downloaded but by npm': all(
    'RUN',
    (args) => !/\b(?:curl|wget|apt|apt-get|apk|git)\b/.test(args),
  ),
  'no variable is a secret': (instructions) =>
    instructions
      .filter(({ name }) => name === 'ENV' || name === 'ARG')
      .every(({ args }) => !/(?:key|token|secret|passw|credential)/i.test(args)),
  'the user is not root, by number': (instructions) =>
    /^[1-9]\d*:[1-9]\d*$/.test(last(instructions, 'USER')),
  'nothing is run after the user is set': (instructions) => {
    const user = instructions.findLastIndex(({ name }) => name === 'USER')
    return instructions.slice(user).every(({ name }) => name !== 'RUN' && name !== 'COPY')
  },
  'the entry point is the launcher, in exec form': (instructions) =>
    last(instructions, 'ENTRYPOINT') === '["/bin/sh", "/app/scripts/launch.sh"]' &&
    isExecForm(last(instructions, 'CMD')),
  'the image says what it is': (instructions) =>
    ['title', 'revision'].every((label) =>
      last(instructions, 'LABEL').includes(`org.opencontainers.image.${label}=`),
    ),
} as const satisfies Record<string, Rule>

/** The names of the rules that a Dockerfile breaks. */
export function lintDockerfile(text: string): string[] {
  const instructions = parseDockerfile(text)
  return Object.entries(RULES)
    .filter(([, holds]) => !holds(instructions))
    .map(([name]) => name)
}
