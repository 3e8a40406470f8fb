type Labels = Readonly<Record<string, string | number>>
type Kind = 'counter' | 'gauge'

const FAMILIES = {
  vouchgate_requests_total: ['counter', 'Requests by route and status.'],
  vouchgate_prompts_total: ['counter', 'Prompt requests by how they ended.'],
  vouchgate_prompts_in_flight: ['gauge', 'Prompt requests being served.'],
  vouchgate_tokens_total: ['counter', 'Tokens as providers state them, each counted as one kind.'],
  vouchgate_prompts_metered_total: [
    'counter',
    'Prompts that were sent, by whether their cost is known.',
  ],
  vouchgate_cost_micro_usd_total: [
    'counter',
    'Cost of prompts whose price is known, in millionths of a US dollar.',
  ],
  vouchgate_attempts_failed_total: ['counter', 'Failed attempts by provider and code.'],
  vouchgate_verifications_total: ['counter', 'Provider verifications by result.'],
  vouchgate_provider_state: ['gauge', '1 for the state that a provider is in, 0 for the others.'],
  vouchgate_provider_verified_seconds: [
    'gauge',
    'For how long a provider stays verified if no further verification succeeds; 0 where it is not.',
  ],
  vouchgate_provider_sessions: ['gauge', 'Sessions of a provider that can serve now.'],
  vouchgate_provider_breaker: [
    'gauge',
    '1 for the state of a breaker, 0 for the others; of the verification, or the worst of the routes.',
  ],
  vouchgate_identities_first_seen_total: ['counter', 'Machines not seen before, by provider.'],
  vouchgate_collateral_total: ['counter', 'Collateral taken or not, by result and reason.'],
  vouchgate_collateral_expires_seconds: [
    'gauge',
    'When the first collateral that is held expires, in Unix seconds.',
  ],
  vouchgate_receipts: ['gauge', 'Receipts that can be looked up.'],
  vouchgate_workers: ['gauge', 'Processes that serve, where there are several.'],
  vouchgate_workers_ended_total: ['counter', 'Processes that ended without being told to.'],
  vouchgate_keyset_not_after_seconds: ['gauge', 'When the keyset expires, in Unix seconds.'],
} as const satisfies Record<string, readonly [Kind, string]>

export type Family = keyof typeof FAMILIES

export const isFamily = (name: string): name is Family => Object.hasOwn(FAMILIES, name)
export const isCounter = (family: Family): boolean => FAMILIES[family][0] === 'counter'

/** One line of the text: family, its labels in braces or nothing, value. */
export type Sample = readonly [family: Family, labels: string, value: number]

/**
 * Counters and gauges in the Prometheus text format. Label values are codes, statuses and configured names:
 * nothing a client sends becomes a label, so neither content nor cardinality can enter from outside.
 */
export class Metrics {
  readonly #series = new Map<Family, Map<string, number>>()

  add(family: Family, labels: Labels = {}, amount = 1): void {
    const series = this.#family(family)
    const key = labelText(labels)
    series.set(key, (series.get(key) ?? 0) + amount)
  }

  set(family: Family, value: number, labels: Labels = {}): void {
    this.#family(family).set(labelText(labels), value)
  }

  samples(): Sample[] {
    return [...this.#series].flatMap(([family, series]) =>
      [...series].map(([labels, value]): Sample => [family, labels, value]),
    )
  }

  /** Adds what another process counted. */
  include(samples: readonly Sample[]): void {
    for (const [family, labels, value] of samples) {
      const series = this.#family(family)
      series.set(labels, (series.get(labels) ?? 0) + value)
    }
  }

  text(): string {
    let text = ''
    for (const [family, series] of this.#series) {
      const [kind, help] = FAMILIES[family]
      text += `# HELP ${family} ${help}\n# TYPE ${family} ${kind}\n`
      for (const [labels, value] of series) text += `${family}${labels} ${value}\n`
    }
    return text
  }

  #family(family: Family): Map<string, number> {
    const found = this.#series.get(family)
    if (found !== undefined) return found
    const made = new Map<string, number>()
    this.#series.set(family, made)
    return made
  }
}

/** Built by hand: it is made several times for each request. */
function labelText(labels: Labels): string {
  let text = ''
  for (const name in labels) text += `${text === '' ? '{' : ','}${name}="${labels[name]}"`
  return text === '' ? '' : `${text}}`
}
