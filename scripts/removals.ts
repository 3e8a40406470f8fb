import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EQUIVALENT } from './steps-equivalent.ts'
import { STEPS, SUITES, type Removal } from './steps.ts'

const THROW =
  /throw new (?:EvidenceError|NrasFailure|PolicyError|ChannelError|ClientError|GatewayError|EnclaveError|VerificationRefused|SessionFileError|SendError|ClusterError|TypeError)\(/g

/** Every check that is removed in turn, those that no input could tell from their absence left out. */
export function removals(): Removal[] {
  const files = [...new Set(SUITES.flatMap(([prefix]) => sourceFiles(prefix)))]
  const equivalent = EQUIVALENT.map(placeOf)
  return [...STEPS.map(named), ...files.flatMap(refusals)].filter(
    (removal) => !equivalent.some((place) => isWithin(removal, place)),
  )
}

/** The tests that stand for a source file. */
export function suitesFor(file: string): readonly string[] {
  const found = SUITES.find(([prefix]) => file.startsWith(prefix))
  if (found === undefined) throw new TypeError(`no suite for ${file}`)
  return found[1]
}

/** A step named by its text, which must stand exactly once in its file. */
export function named([file, step, replacement]: readonly [string, string, string]): Removal {
  const { start, end } = placeOf([file, step])
  return { file, name: step.trim().split('\n')[0] ?? '', start, end, replacement }
}

/** `throw new X(…)` statements as removals: the condition is still computed, and nothing follows from it. */
export function refusals(file: string): Removal[] {
  const text = readFileSync(file, 'utf8')
  return [...text.matchAll(THROW)].map(({ index }, nth) => ({
    file,
    name: `refusal ${nth + 1}: ${text.slice(index + 'throw new '.length, text.indexOf('\n', index))}`,
    start: index,
    end: closingParenthesis(text, index),
    replacement: 'void 0',
  }))
}

type Place = Pick<Removal, 'file' | 'start' | 'end'>

export function placeOf([file, step]: readonly [
  file: string,
  step: string,
  ...rest: string[],
]): Place {
  const text = readFileSync(file, 'utf8')
  const start = text.indexOf(step)
  if (start < 0 || text.includes(step, start + 1)) {
    throw new TypeError(`${file} does not hold exactly once: ${step}`)
  }
  return { file, start, end: start + step.length }
}

export const isWithin = (inner: Place, outer: Place): boolean =>
  inner.file === outer.file && inner.start >= outer.start && inner.end <= outer.end

function closingParenthesis(text: string, from: number): number {
  let depth = 0
  for (let at = text.indexOf('(', from); at < text.length; at++) {
    if (text[at] === '(') depth++
    if (text[at] === ')' && --depth === 0) return at + 1
  }
  throw new TypeError(`unbalanced statement at ${from}`)
}

function sourceFiles(prefix: string): string[] {
  if (prefix.endsWith('.ts')) return [prefix]
  return readdirSync(prefix, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('dist/'))
    .map((name) => join(prefix, name))
    .toSorted()
}
