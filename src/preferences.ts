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
  /** Null for any, known or not. */
  readonly maxPrice: MaxPrice | null
}

/** US dollars for a million tokens, each inclusive; `Infinity` where one is not bounded. */
interface MaxPrice {
  readonly prompt: number
  readonly completion: number
}

const SORTS = ['price', 'latency', 'throughput'] as const
export type Sort = (typeof SORTS)[number]

export const NO_PREFERENCES: Preferences = {
  order: [],
  only: null,
  ignore: new Set(),
  fallbacks: true,
  sort: null,
  maxPrice: null,
}

const MAX_NAMED = 64
const MAX_NAME = 64

/**
 * Reads the members of `provider` that are not constraints.
 * Throws `invalid_preference`: a wish that is not known must not be passed over, since the client believes that it holds.
 */
export function readPreferences(members: Readonly<Record<string, unknown>>): Preferences {
  const { order, only, ignore, allow_fallbacks: fallbacks = true, sort = null, ...others } = members
  const { max_price: maxPrice, ...rest } = others
  if (Object.keys(rest).length > 0) throw new GatewayError('invalid_preference')
  if (typeof fallbacks !== 'boolean') throw new GatewayError('invalid_preference')
  return {
    order: names(order),
    only: only === undefined ? null : new Set(names(only)),
    ignore: new Set(names(ignore)),
    fallbacks,
    sort: sortOf(sort),
    maxPrice: maxPriceOf(maxPrice),
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

/** A bound that is not known, like OpenRouter's `request`, would not be kept; an object without any bounds nothing. */
function maxPriceOf(value: unknown): MaxPrice | null {
  if (value === undefined) return null
  if (typeof value !== 'object' || value === null) throw new GatewayError('invalid_preference')
  const bounds = Object.entries(value)
  if (bounds.length === 0) throw new GatewayError('invalid_preference')
  const bound = { prompt: Infinity, completion: Infinity }
  for (const [name, usd] of bounds) {
    if (name !== 'prompt' && name !== 'completion') throw new GatewayError('invalid_preference')
    if (typeof usd !== 'number' || !(usd >= 0)) throw new GatewayError('invalid_preference')
    bound[name] = usd
  }
  return bound
}
