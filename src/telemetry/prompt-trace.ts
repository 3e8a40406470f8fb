import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Counter,
  type Histogram,
  type Span,
  type Tracer,
} from '@opentelemetry/api'
import type { Model } from '../config/index.ts'
import type { CanonicalUsage } from '../dialects/canonical.ts'
import type { ErrorCode } from '../errors.ts'
import type { ProviderId } from '../ids.ts'
import type { OperationName } from '../operations.ts'
import type { End } from '../receipts.ts'
import { attributes, GEN_AI_OPERATIONS, type TelemetryFacts } from './attributes.ts'

/** What is measured of exchanges with providers, by the names of OpenTelemetry's GenAI conventions where they have one. */
export interface Instruments {
  readonly duration: Histogram
  readonly tokens: Histogram
  readonly cost: Counter
}

interface Parts {
  readonly tracer: Tracer
  readonly root: Span
  readonly operation: OperationName
  readonly instruments: Instruments
}

export interface Outcome {
  readonly end: End
  readonly code: ErrorCode | null
  readonly usage: CanonicalUsage | null
  readonly costMicroUsd: number | null
}

interface Exchange {
  readonly span: Span
  readonly facts: TelemetryFacts
  /** Milliseconds of the process's monotonic clock. */
  readonly since: number
}

/** One prompt: a span for the whole, and below it one for each provider that was asked. */
export class PromptTrace {
  readonly #parts: Parts
  #model: Model | null = null
  #exchange: Exchange | null = null
  #attempts = 0

  constructor(parts: Parts) {
    this.#parts = parts
  }

  admitted(model: Model): void {
    this.#model = model
  }

  attempting(provider: ProviderId): void {
    const { tracer, root, operation } = this.#parts
    const facts: TelemetryFacts = {
      'gen_ai.operation.name': GEN_AI_OPERATIONS[operation],
      'gen_ai.provider.name': provider,
      ...this.#modelFact(),
    }
    const name = [GEN_AI_OPERATIONS[operation], this.#model?.name ?? ''].join(' ').trim()
    const options = { kind: SpanKind.CLIENT, attributes: attributes(facts) }
    const span = tracer.startSpan(name, options, trace.setSpan(ROOT_CONTEXT, root))
    this.#attempts += 1
    this.#exchange = { span, facts, since: performance.now() }
  }

  abandoned(code: ErrorCode): void {
    this.#endExchange({ code, usage: null, costMicroUsd: null })
  }

  end(outcome: Outcome): void {
    const { root, operation } = this.#parts
    const { end, code } = outcome
    this.#endExchange(outcome)
    root.setAttributes(
      attributes({
        'gen_ai.operation.name': GEN_AI_OPERATIONS[operation],
        ...this.#modelFact(),
        ...(this.#model === null
          ? {}
          : { 'vouchgate.confidentiality': this.#model.confidentiality }),
        'vouchgate.end': end,
        'vouchgate.attempts': this.#attempts,
        ...errorFact(code),
      }),
    )
    finish(root, code)
  }

  #endExchange({ code, usage, costMicroUsd }: Omit<Outcome, 'end'>): void {
    if (this.#exchange === null) return
    const { span, facts, since } = this.#exchange
    this.#exchange = null
    const { duration, tokens, cost } = this.#parts.instruments
    const failed = { ...facts, ...errorFact(code) }
    duration.record((performance.now() - since) / 1000, attributes(failed))
    if (usage !== null) {
      const { input, output } = totals(usage)
      tokens.record(input, attributes({ ...facts, 'gen_ai.token.type': 'input' }))
      tokens.record(output, attributes({ ...facts, 'gen_ai.token.type': 'output' }))
    }
    if (costMicroUsd !== null) cost.add(costMicroUsd, attributes(facts))
    span.setAttributes(
      attributes({
        ...errorFact(code),
        ...(usage === null ? {} : usageFacts(usage)),
        ...(costMicroUsd === null ? {} : { 'vouchgate.cost.micro_usd': costMicroUsd }),
      }),
    )
    finish(span, code)
  }

  #modelFact(): TelemetryFacts {
    return this.#model === null ? {} : { 'gen_ai.request.model': this.#model.name }
  }
}

const errorFact = (code: ErrorCode | null): TelemetryFacts =>
  code === null ? {} : { 'error.type': code }

/** A status has no message: there is none that says more than the code. */
function finish(span: Span, code: ErrorCode | null): void {
  if (code !== null) span.setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

const totals = (usage: CanonicalUsage) => ({
  input: usage.uncachedInput + usage.cacheRead + usage.cacheWrite,
  output: usage.output + usage.reasoning,
})

function usageFacts(usage: CanonicalUsage): TelemetryFacts {
  const { input, output } = totals(usage)
  return {
    'gen_ai.usage.input_tokens': input,
    'gen_ai.usage.output_tokens': output,
    'gen_ai.usage.cache_read.input_tokens': usage.cacheRead,
    'gen_ai.usage.cache_creation.input_tokens': usage.cacheWrite,
  }
}
