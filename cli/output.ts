import { styleText } from 'node:util'
import { EXIT, failureOf, type ExitCode, type Failure } from './exit.ts'
import type { Io } from './io.ts'

/** What a command has to say: one JSON document, or the same for a person. */
export interface Report {
  readonly exit: ExitCode
  readonly json: object
  readonly lines: (style: Style) => readonly string[]
}

/** Marks and colours; the text is the same without colours. */
export interface Style {
  readonly good: (text: string) => string
  readonly bad: (text: string) => string
  readonly warn: (text: string) => string
  readonly title: (text: string) => string
  readonly dim: (text: string) => string
  /** A labelled value, aligned with its neighbours. */
  readonly fact: (label: string, value: string) => string
}

const LABEL_WIDTH = 16

export function styleOf(color: boolean): Style {
  const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    color ? styleText(format, text, { validateStream: false }) : text
  const dim = paint('dim')
  return {
    good: (text) => `${paint('green')('✓')} ${text}`,
    bad: (text) => `${paint('red')('✗')} ${text}`,
    warn: (text) => `${paint('yellow')('!')} ${text}`,
    title: paint('bold'),
    dim,
    fact: (label, value) => `  ${dim(label.padEnd(LABEL_WIDTH))} ${value}`,
  }
}

/** Runs a command and prints its report, or why there is none. Gives the exit code. */
export async function execute(
  io: Io,
  json: boolean,
  command: () => Promise<Report>,
): Promise<ExitCode> {
  const report = await command().catch((error: unknown) => failureReport(failureOf(error)))
  if (json) io.out(`${JSON.stringify(report.json)}\n`)
  else print(report.exit === EXIT.ok ? io.out : io.err, report.lines(styleOf(io.color)))
  return report.exit
}

function print(write: (text: string) => void, lines: readonly string[]): void {
  write(`${lines.join('\n')}\n`)
}

/** `{"ok":false,"error":{"code","step","message",…}}` */
export function failureReport(failure: Failure): Report {
  const { exit, ...error } = failure
  return { exit, json: { ok: false, error }, lines: (style) => failureLines(style, failure) }
}

export function failureLines(style: Style, failure: Failure): string[] {
  const { code, step, message, seen, wanted, problems = [] } = failure
  return [
    style.bad(`${message} ${style.dim(`(${code})`)}`),
    ...(step === null ? [] : [style.fact('step', step)]),
    ...(seen === undefined ? [] : [style.fact('seen', seen)]),
    ...(wanted === undefined ? [] : [style.fact('wanted', wanted)]),
    ...problems.map(({ path, hint }) => `  ${path === '' ? '' : `${path}: `}${hint}`),
  ]
}
