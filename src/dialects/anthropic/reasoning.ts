import type { CanonicalRequest, Effort, JsonObject, ReasoningWish } from '../canonical.ts'
import type { ModelTraits, WireEffort } from './models.ts'

/** Anthropic's least. */
const MIN_BUDGET = 1024
/** Of the limit that a client gives, what thinking may take where only an effort says how much. */
const THINKING_SHARE = 0.8

const BUDGETS: Readonly<Record<Exclude<Effort, 'none'>, number>> = {
  minimal: 1024,
  low: 2048,
  medium: 8192,
  high: 16_384,
  xhigh: 24_576,
  max: 32_000,
}
const STRENGTH: readonly WireEffort[] = ['low', 'medium', 'high', 'xhigh', 'max']

export interface ThinkingPlan {
  readonly maxTokens: number
  /** Null: the member is not sent. */
  readonly thinking: JsonObject | null
  readonly effort: WireEffort | null
}

/** The nearest effort that the model takes and that is not above the wish, else its least. */
function nearest(effort: Exclude<Effort, 'none'>, known: readonly WireEffort[]): WireEffort | null {
  const wished = effort === 'minimal' ? 0 : STRENGTH.indexOf(effort)
  return known.findLast((each) => STRENGTH.indexOf(each) <= wished) ?? known[0] ?? null
}

const nearestToBudget = (budget: number): Exclude<Effort, 'none'> =>
  STRENGTH.find((effort) => BUDGETS[effort] >= budget) ?? 'max'

/** A budget has to be at least 1024 and below the limit of tokens; where it does not fit, the model does not think. */
function budgetWithin(wish: ReasoningWish, maxTokens: number): number | null {
  const wished = wish.budgetTokens ?? BUDGETS[givenEffort(wish)]
  const share = wish.budgetTokens === null ? Math.floor(maxTokens * THINKING_SHARE) : maxTokens - 1
  const budget = Math.max(MIN_BUDGET, Math.min(wished, share))
  return budget < maxTokens ? budget : null
}

const givenEffort = (wish: ReasoningWish): Exclude<Effort, 'none'> =>
  wish.effort === null || wish.effort === 'none' ? 'medium' : wish.effort

function manual(request: CanonicalRequest, wish: ReasoningWish, traits: ModelTraits): ThinkingPlan {
  const given = request.sampling.maxTokens
  const room = wish.budgetTokens ?? BUDGETS[givenEffort(wish)]
  const maxTokens = given ?? Math.max(traits.maxOutput, room + MIN_BUDGET)
  const budget = budgetWithin(wish, maxTokens)
  return {
    maxTokens,
    thinking: budget === null ? null : { type: 'enabled', budget_tokens: budget },
    effort: nearest(givenEffort(wish), wish.effort === null ? [] : traits.efforts),
  }
}

/**
 * How a wish to reason is said to the model. `mayThink` is false where Anthropic refuses thinking: with a forced tool, or
 * in a tool loop whose thoughts did not come back. The wish then gives way, because the rest of the request cannot.
 */
export function planThinking(
  request: CanonicalRequest,
  traits: ModelTraits,
  mayThink: boolean,
): ThinkingPlan {
  const maxTokens = request.sampling.maxTokens ?? traits.maxOutput
  const wish = request.reasoning
  if (wish === null || traits.thinking === 'none') {
    return { maxTokens, thinking: null, effort: null }
  }
  if (wish.effort === 'none') {
    // Manual thinking is off unless asked for; the newer models think unless told not to.
    const thinking = traits.thinking === 'adaptive' ? { type: 'disabled' } : null
    return { maxTokens, thinking, effort: null }
  }
  if (!mayThink) return { maxTokens, thinking: null, effort: null }
  if (traits.thinking === 'manual') return manual(request, wish, traits)
  const effort =
    wish.budgetTokens === null || wish.effort !== null
      ? wish.effort
      : nearestToBudget(wish.budgetTokens)
  return {
    maxTokens,
    thinking: { type: 'adaptive' },
    effort: effort === null ? null : nearest(effort, traits.efforts),
  }
}
