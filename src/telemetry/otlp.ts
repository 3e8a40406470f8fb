import type { Meter, Tracer } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { expose, type Sensitive } from '../sensitive.ts'
import { SOFTWARE } from '../version.ts'

export interface OtlpOptions {
  /** Of the collector; `/v1/traces` and `/v1/metrics` follow it. */
  readonly url: string
  /** Sent as a Bearer token. */
  readonly apiKey: Sensitive<string> | null
  readonly intervalMs: number
  /** Tells processes of one gateway apart, whose series would otherwise replace each other; null where it is one process. */
  readonly instance: string | null
}

export interface Otlp {
  readonly tracer: Tracer
  readonly meter: Meter
  /** Sends what waits, for a bounded time, and stops. Never rejects. */
  close(): Promise<void>
}

const TIMEOUT_MS = 3000
/** Spans past it are dropped: a collector that is away costs no memory. */
const MAX_QUEUE = 2048
/** Exports at a time; the next one fails at once. A full queue and what is on its way fit. */
const MAX_EXPORTS = 8
/** Series of one instrument. Names are configured, so that this is a second line. */
const MAX_SERIES = 2000

/** OTLP over HTTP, in JSON. Nothing is registered globally, so that no library can add spans of its own. */
export function startOtlp({ url, apiKey, intervalMs, instance }: OtlpOptions): Otlp {
  const [name = '', version = ''] = SOFTWARE.split('/')
  const base = url.replace(/\/+$/, '')
  const headers: Record<string, string> =
    apiKey === null ? {} : { authorization: `Bearer ${expose(apiKey)}` }
  const shared = { timeoutMillis: TIMEOUT_MS, concurrencyLimit: MAX_EXPORTS, headers }
  // No detectors: the resource says nothing of the machine or its environment.
  const resource = resourceFromAttributes({
    'service.name': name,
    'service.version': version,
    ...(instance === null ? {} : { 'service.instance.id': instance }),
  })
  const spans = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter({ ...shared, url: `${base}/v1/traces` }),
    maxQueueSize: MAX_QUEUE,
    scheduledDelayMillis: intervalMs,
    exportTimeoutMillis: TIMEOUT_MS,
  })
  const traces = new TracerProvider({
    resource,
    sampler: new AlwaysOnSampler(),
    spanProcessors: [spans],
    spanLimits: { attributeCountLimit: 16, attributeValueLengthLimit: 128, eventCountLimit: 0 },
  })
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter({ ...shared, url: `${base}/v1/metrics` }),
    exportIntervalMillis: Math.max(intervalMs, TIMEOUT_MS),
    exportTimeoutMillis: TIMEOUT_MS,
    cardinalityLimits: { default: MAX_SERIES },
  })
  const metrics = new MeterProvider({ resource, readers: [reader] })
  return {
    tracer: traces.getTracer(name),
    meter: metrics.getMeter(name),
    close: () => undisturbed([traces.shutdown(), metrics.shutdown()]),
  }
}

/** A collector that fails or hangs is nobody's failure but its own. */
async function undisturbed(work: readonly Promise<void>[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, TIMEOUT_MS)
  })
  await Promise.race([Promise.allSettled(work), patience])
  clearTimeout(timer)
}
