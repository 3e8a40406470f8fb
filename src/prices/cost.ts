import type { CanonicalUsage } from '../dialects/canonical.ts'
import type { Price } from './table.ts'

/** A price is exact to a millionth of a dollar per million tokens, so that sums are whole numbers. */
const SCALE = 1_000_000
const scaled = (price: number): bigint => BigInt(Math.round(price * SCALE))

/**
 * Whole millionths of a US dollar, rounded up: what a budget is measured by must not lose what is small. Null where a kind of
 * token was used that has no price. A dollar per million tokens is a millionth of a dollar per token.
 */
export function costMicroUsd(usage: CanonicalUsage, price: Price): number | null {
  let total = 0n
  for (const [tokens, each] of priced(usage, price)) {
    if (tokens === 0) continue
    if (each === null) return null
    total += BigInt(tokens) * scaled(each)
  }
  const rounded = Number((total + BigInt(SCALE) - 1n) / BigInt(SCALE))
  return Number.isSafeInteger(rounded) ? rounded : null
}

/** Each token once, at the price of its kind. */
function priced(usage: CanonicalUsage, price: Price): (readonly [number, number | null])[] {
  const { billed, cacheWriteHour: hour = 0 } = usage
  if (billed !== undefined) {
    return [
      [billed.input, price.input],
      [billed.output, price.output],
    ]
  }
  return [
    [usage.uncachedInput, price.input],
    [usage.cacheRead, price.cacheRead],
    [usage.cacheWrite - hour, price.cacheWrite],
    [hour, price.cacheWriteHour],
    [usage.output + usage.reasoning, price.output],
  ]
}

/** Dollars with six decimals, as a header has them. */
export const usdText = (microUsd: number): string => {
  const digits = String(microUsd).padStart(7, '0')
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`
}
