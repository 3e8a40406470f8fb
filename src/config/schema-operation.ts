import { z } from 'zod'
import { host, providerId, safeUrl, seconds, secretRef } from './fields.ts'

/** Loopback unless said otherwise: counters tell of traffic. */
export const admin = z.strictObject({
  host: host.default('127.0.0.1'),
  port: z.number().int().min(0).max(65_535).nullable().default(null),
})

export const telemetry = z.strictObject({
  otlp_url: safeUrl.nullable().default(null),
  api_key: secretRef.nullable().default(null),
  interval_seconds: seconds(1, 3600, 30),
})

/** US dollars; six decimals are exact. */
const usd = z.number().min(0).max(1_000_000)
const price = z.strictObject({
  model: z.string().min(1).max(256),
  provider: providerId.nullable().default(null),
  input_per_million_usd: usd,
  cached_input_per_million_usd: usd.nullable().default(null),
  cache_write_per_million_usd: usd.nullable().default(null),
  cache_write_hour_per_million_usd: usd.nullable().default(null),
  output_per_million_usd: usd,
})

export const prices = z.array(price).max(10_000).default([])
