import type { Style } from '../cli/output.ts'
import { failureOf } from '../cli/exit.ts'
import type { Io } from '../cli/io.ts'

export interface Step {
  readonly id: string
  readonly ok: boolean
  readonly detail: string
}

/** A value, and the text that proves the step, one fact per line. */
export interface Held<T> {
  readonly value: T
  readonly detail: string
}

export const held = <T>(value: T, detail: string): Held<T> => ({ value, detail })

/** Labelled values, one per line. */
export const facts = (pairs: Readonly<Record<string, string>>): string =>
  Object.entries(pairs)
    .map(([label, value]) => `${label.padEnd(12)} ${value}`)
    .join('\n')

/** Something that the demo expects did not happen. The message is its own. */
export class DemoError extends Error {
  override readonly name = 'DemoError'
}

/** Takes one step after the other, shows each, and stops at the first that does not hold. */
export class Walk {
  readonly steps: Step[] = []
  readonly #io: Io
  readonly #style: Style | null

  /** Without a style nothing is shown. */
  constructor(io: Io, style: Style | null) {
    this.#io = io
    this.#style = style
  }

  title(text: string): void {
    this.say((style) => ['', style.title(text)])
  }

  say(lines: (style: Style) => readonly string[]): void {
    if (this.#style !== null) this.#io.out(`${lines(this.#style).join('\n')}\n`)
  }

  async step<T>(id: string, title: string, run: () => Promise<Held<T>>): Promise<T> {
    this.#progress(title)
    try {
      const { value, detail } = await run()
      this.#show({ id, ok: true, detail }, title)
      return value
    } catch (error) {
      this.#show({ id, ok: false, detail: reason(error) }, title)
      throw error
    }
  }

  /** On a terminal the line is there while the step runs, and is then written over. */
  #progress(title: string): void {
    if (this.#style !== null && this.#io.color) this.#io.out(`… ${title}\r`)
  }

  #show(step: Step, title: string): void {
    this.steps.push(step)
    const style = this.#style
    if (style === null) return
    const mark = step.ok ? style.good : style.bad
    const lines = step.detail.split('\n').map((line) => `    ${style.dim(line)}`)
    this.#io.out(`${[mark(title), ...lines].join('\n')}\n`)
  }
}

function reason(error: unknown): string {
  if (error instanceof DemoError) return error.message
  const { code, message } = failureOf(error)
  return `${code}: ${message}`
}
