import { ROOT_CONTEXT, SpanKind } from '@opentelemetry/api'
import type { Config } from '../config/index.ts'
import type { OperationName } from '../operations.ts'
import { startOtlp, type Otlp } from './otlp.ts'
import { PromptTrace, type Instruments } from './prompt-trace.ts'

const TOKEN_STEPS = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304]
const SECOND_STEPS = [0.01, 0.04, 0.16, 0.64, 2.56, 10.24, 40.96, 81.92, 163.84, 327.68]

/** Traces and metrics for a collector of the operator. A collector that is away never disturbs a prompt. */
export class Telemetry {
  readonly #otlp: Otlp | null
  readonly #instruments: Instruments | null

  /** Without an `otlp_url` nothing is measured and nothing sent. */
  constructor(
    { otlp_url: url, interval_seconds: seconds, apiKey }: Config['telemetry'],
    instance: string | null = null,
  ) {
    const intervalMs = 1000 * seconds
    this.#otlp = url === null ? null : startOtlp({ url, apiKey, intervalMs, instance })
    this.#instruments = this.#otlp === null ? null : instrumentsOf(this.#otlp)
  }

  /** A trace of its own: what a client calls its trace is a text that the client has chosen. */
  prompt(operation: OperationName): PromptTrace | null {
    if (this.#otlp === null || this.#instruments === null) return null
    const { tracer } = this.#otlp
    const root = tracer.startSpan('prompt', { kind: SpanKind.SERVER, root: true }, ROOT_CONTEXT)
    return new PromptTrace({ tracer, root, operation, instruments: this.#instruments })
  }

  async close(): Promise<void> {
    await this.#otlp?.close()
  }
}

const instrumentsOf = ({ meter }: Otlp): Instruments => ({
  duration: meter.createHistogram('gen_ai.client.operation.duration', {
    unit: 's',
    advice: { explicitBucketBoundaries: SECOND_STEPS },
  }),
  tokens: meter.createHistogram('gen_ai.client.token.usage', {
    unit: '{token}',
    advice: { explicitBucketBoundaries: TOKEN_STEPS },
  }),
  cost: meter.createCounter('vouchgate.cost', { unit: '{micro_usd}' }),
})
