import type { Target } from './dialect.ts'

/** For a provider that gives no id of its own. */
export const makeId = (prefix: string, target: Target): string =>
  `${prefix}${Buffer.from(target.random(12)).toString('hex')}`
