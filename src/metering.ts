import type { Route } from './config/index.ts'
import type { CanonicalUsage } from './dialects/canonical.ts'
import type { ModelName, RequestId } from './ids.ts'
import type { Principal } from './keys.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { costMicroUsd } from './prices/cost.ts'
import type { Prices } from './prices/prices.ts'
import { PRICES_VERSION } from './prices/table.ts'
import type { Answer } from './answer-sink.ts'

interface Ledger {
  readonly prices: Prices
  readonly log: Logger
  readonly metrics: Metrics
}

export interface Metered {
  readonly request: RequestId
  readonly principal: Principal
  readonly model: ModelName
  readonly route: Route
  readonly answer: Pick<Answer, 'end' | 'usage'>
}

/** The members of a usage record, with the names of their counters. */
const KINDS = [
  ['uncachedInput', 'uncached_input'],
  ['cacheRead', 'cache_read'],
  ['cacheWrite', 'cache_write'],
  ['output', 'output'],
  ['reasoning', 'reasoning'],
] as const satisfies readonly (readonly [keyof CanonicalUsage, string])[]

/**
 * Accounts for one prompt that was sent, and gives what it cost in millionths of a US dollar: null where the provider states no
 * counts or nobody states a price.
 */
export function meter(ledger: Ledger, metered: Metered): number | null {
  const { prices, metrics } = ledger
  const { model, route, answer } = metered
  const { provider } = route
  const { usage } = answer
  const price = prices.of(route)
  const cost = usage === null || price === null ? null : costMicroUsd(usage, price)
  noteCost(ledger, metered, cost)
  if (usage !== null) {
    for (const [member, kind] of KINDS) {
      metrics.add('vouchgate_tokens_total', { provider, model, kind }, usage[member])
    }
  }
  const known = cost === null ? 'unknown' : 'known'
  metrics.add('vouchgate_prompts_metered_total', { provider, model, cost: known })
  if (cost !== null) metrics.add('vouchgate_cost_micro_usd_total', { provider, model }, cost)
  return cost
}

function noteCost({ log }: Ledger, metered: Metered, cost: number | null): void {
  const { request, principal, model, route, answer } = metered
  const { end, usage } = answer
  log({
    event: 'prompt_metered',
    request,
    key: principal.id,
    team: principal.team,
    model,
    provider: route.provider,
    end,
    uncachedInput: usage?.uncachedInput ?? null,
    cacheRead: usage?.cacheRead ?? null,
    cacheWrite: usage?.cacheWrite ?? null,
    output: usage?.output ?? null,
    reasoning: usage?.reasoning ?? null,
    costMicroUsd: cost,
    priceTable: PRICES_VERSION,
  })
}
