/** US dollars for a million tokens of each kind; null where the source names no price for the kind. */
export interface Price {
  readonly input: number
  readonly cacheRead: number | null
  readonly cacheWrite: number | null
  /** Of tokens that are kept in a cache for an hour. */
  readonly cacheWriteHour: number | null
  /** Of reasoning too. */
  readonly output: number
}

export interface PricedModel extends Price {
  /** Whose prices these are: nobody else's API with a model of the same name. */
  readonly origin: string
  /** Every name that the API has for it. */
  readonly models: readonly string[]
  /** Where the vendor says so. */
  readonly source: string
  /** The day on which the source said so. */
  readonly read: string
}

/** Changes with every change below; logs say it beside a cost. */
export const PRICES_VERSION = '2026-11-26'

const openai = {
  origin: 'https://api.openai.com',
  cacheWrite: null,
  cacheWriteHour: null,
  read: '2026-11-26',
} as const
const anthropic = {
  origin: 'https://api.anthropic.com',
  source: 'https://platform.claude.com/docs/en/about-claude/pricing',
  read: '2026-11-26',
} as const

/** Standard list prices. Models whose price depends on the length of the prompt are left out: it would be wrong for some. */
export const PRICES: readonly PricedModel[] = [
  {
    ...openai,
    models: ['gpt-5-mini', 'gpt-5-mini-2025-08-07'],
    source: 'https://developers.openai.com/ko-KR/api/docs/models/gpt-5-mini',
    input: 0.25,
    cacheRead: 0.025,
    output: 2,
  },
  {
    ...openai,
    models: ['gpt-5-nano', 'gpt-5-nano-2025-08-07'],
    source: 'https://developers.openai.com/api/docs/models/gpt-5-nano.md',
    input: 0.05,
    cacheRead: 0.005,
    output: 0.4,
  },
  {
    ...anthropic,
    models: ['claude-fable-5'],
    input: 10,
    cacheRead: 1,
    cacheWrite: 12.5,
    cacheWriteHour: 20,
    output: 50,
  },
  {
    ...anthropic,
    models: ['claude-opus-5', 'claude-opus-4-7', 'claude-opus-4-6'],
    input: 5,
    cacheRead: 0.5,
    cacheWrite: 6.25,
    cacheWriteHour: 10,
    output: 25,
  },
]
