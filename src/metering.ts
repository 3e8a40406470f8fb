import type { Route } from './config/index.ts'
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

const NO_COUNTS = {
  uncachedInput: null,
  cacheRead: null,
  cacheWrite: null,
  output: null,
  reasoning: null,
}

/**
 * Accounts for one prompt that was sent, and gives what it cost in millionths of a US dollar: null where the provider states no
 * counts or nobody states a price.
 */
export function meter({ prices, log, metrics }: Ledger, metered: Metered): number | null {
  const { request, principal, model, route, answer } = metered
  const { provider } = route
  const { end, usage } = answer
  const price = prices.of(route)
  const cost = usage === null || price === null ? null : costMicroUsd(usage, price)
  const counts =
    usage === null
      ? NO_COUNTS
      : {
          uncachedInput: usage.uncachedInput,
          cacheRead: usage.cacheRead,
          cacheWrite: usage.cacheWrite,
          output: usage.output,
          reasoning: usage.reasoning,
        }
  log({
    event: 'prompt_metered',
    request,
    key: principal.id,
    team: principal.team,
    model,
    provider,
    end,
    ...counts,
    costMicroUsd: cost,
    priceTable: PRICES_VERSION,
  })
  const labels = { provider, model }
  for (const [kind, count] of Object.entries(counts)) {
    if (count !== null)
      metrics.add('vouchgate_tokens_total', { ...labels, kind: snake(kind) }, count)
  }
  const known = cost === null ? 'unknown' : 'known'
  metrics.add('vouchgate_prompts_metered_total', { ...labels, cost: known })
  if (cost !== null) metrics.add('vouchgate_cost_micro_usd_total', labels, cost)
  return cost
}

const snake = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
