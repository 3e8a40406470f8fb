import { GatewayError } from './errors.ts'

/** What a client wishes of the routes of its model, in OpenRouter's words. It can leave routes out or reorder them. */
export interface Preferences {
  /** Ids of providers that are tried first, in this order. */
  readonly order: readonly string[]
  /** Ids of the only providers that may be tried, or null for any. */
  readonly only: ReadonlySet<string> | null
  readonly ignore: ReadonlySet<string>
  /** False: one route is tried and no other. */
  readonly fallbacks: boolean
  readonly sort: Sort | null
}

const SORTS = ['price', 'latency', 'throughput'] as const
export type Sort = (typeof SORTS)[number]

export const NO_PREFERENCES: Preferences = {
  order: [],
  only: null,
  ignore: new Set(),
  fallbacks: true,
  sort: null,
}

const MAX_NAMED = 64
const MAX_NAME = 64

/**
 * Reads the members of `provider` that are not constraints.
 * Throws `invalid_preference`: a wish that is not known must not be passed over, since the client believes that it holds.
 */
export function readPreferences(members: Readonly<Record<string, unknown>>): Preferences {
  const { order, only, ignore, allow_fallbacks: fallbacks = true, sort = null, ...rest } = members
  if (Object.keys(rest).length > 0) throw new GatewayError('invalid_preference')
  if (typeof fallbacks !== 'boolean') throw new GatewayError('invalid_preference')
  return {
    order: names(order),
    only: only === undefined ? null : new Set(names(only)),
    ignore: new Set(names(ignore)),
    fallbacks,
    sort: sortOf(sort),
  }
}

function names(value: unknown): readonly string[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length > MAX_NAMED) {
    throw new GatewayError('invalid_preference')
  }
  return value.map((name: unknown) => {
    if (typeof name !== 'string' || name.length > MAX_NAME) {
      throw new GatewayError('invalid_preference')
    }
    return name
  })
}

function sortOf(value: unknown): Sort | null {
  if (value === null) return null
  const known = SORTS.find((sort) => sort === value)
  if (known === undefined) throw new GatewayError('invalid_preference')
  return known
}
