import { createHash } from 'node:crypto'
import type { NamedDocuments } from './collect.ts'

const NUMBERED = /^(nvidia\/.+)\/\d+$/

/**
 * The documents of several verifications as those of one: numbered names are numbered anew, and what is the same for
 * many devices is kept once.
 */
export function mergeDocuments(sets: readonly NamedDocuments[]): NamedDocuments {
  const seen = new Set<string>()
  const counts = new Map<string, number>()
  return sets.flat().flatMap(([name, document]) => {
    const series = NUMBERED.exec(name)?.[1]
    const digest = createHash('sha256').update(document).digest('hex')
    const identity = `${series ?? name} ${series === undefined ? '' : digest}`
    if (seen.has(identity)) return []
    seen.add(identity)
    if (series === undefined) return [[name, document] as const]
    const at = counts.get(series) ?? 0
    counts.set(series, at + 1)
    return [[`${series}/${at}`, document] as const]
  })
}
