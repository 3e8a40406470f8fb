import { z } from 'zod'
import { VARIANTS, type VariantName } from '../dialects/openai-chat/variants.ts'
import {
  host,
  keyId,
  modelName,
  providerId,
  safeUrl,
  seconds,
  secretRef,
  teamName,
} from './fields.ts'
import { admin, prices, telemetry } from './schema-operation.ts'
import { KDS_URL, NVIDIA_OCSP_URL, NVIDIA_RIM_URL, RELEASES_URL } from './urls.ts'

/** Verifiers refuse more than seven days, by their own clocks. */
const MAX_KEYSET_LIFETIME = 7 * 86_400 - 600

const listen = z.strictObject({
  host: host.default('127.0.0.1'),
  port: z.number().int().min(0).max(65_535).default(8443),
  domain: host.nullable().default(null),
})

const enclave = z.strictObject({
  quote_source: z.enum(['configfs-tsm', 'dstack']),
  dstack_socket: z.string().startsWith('/').max(100).optional(),
  keyset_lifetime_seconds: seconds(60, MAX_KEYSET_LIFETIME, 86_400),
  self_check: z.enum(['enforce', 'report']).default('enforce'),
  max_waiting_quotes: z.number().int().min(1).max(1024).default(16),
})

const label = z.string().max(1024).nullable().default(null)
const provenance = z.strictObject({
  repo_url: z.string().max(1024).startsWith('https://').nullable().default(null),
  repo_commit: z
    .string()
    .regex(/^[0-9a-f]{40,64}$/)
    .nullable()
    .default(null),
  image_digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .nullable()
    .default(null),
  image_provenance: label,
})

const collateral = z.strictObject({
  pcs_url: safeUrl.default('https://api.trustedservices.intel.com'),
  root_crl_url: safeUrl.optional(),
  bundle_file: z.string().min(1).max(1024).nullable().default(null),
})

const limits = z.strictObject({
  body_bytes: z
    .number()
    .int()
    .min(1024)
    .max(1 << 28)
    .default(16 << 20),
  body_seconds: seconds(1, 3600, 300),
  response_bytes: z
    .number()
    .int()
    .min(1024)
    .max(1 << 28)
    .default(32 << 20),
  connect_seconds: seconds(1, 60, 10),
  first_byte_seconds: seconds(1, 3600, 300),
  first_token_seconds: seconds(1, 3600, 300),
  idle_seconds: seconds(1, 3600, 120),
  total_seconds: seconds(1, 86_400, 600).nullable().default(null),
  keep_alive_seconds: seconds(0, 3600, 15),
  retry_budget_seconds: seconds(0, 60, 2),
  drain_seconds: seconds(1, 3600, 30),
  connections_per_provider: z.number().int().min(1).max(4096).default(256),
})

const receipts = z.strictObject({
  max_entries: z.number().int().min(1).max(10_000_000).default(100_000),
  ttl_seconds: seconds(60, 30 * 86_400, 3600),
})

const sessions = z.strictObject({
  path: z.string().startsWith('/', 'an absolute path').min(2).max(1024).nullable().default(null),
  max_bytes: z
    .number()
    .int()
    .min(1 << 20)
    .max(2 ** 34)
    .default(1 << 26),
})

const nvidia = z.strictObject({
  rim_url: safeUrl.default(NVIDIA_RIM_URL),
  ocsp_url: safeUrl.default(NVIDIA_OCSP_URL),
  nras_url: safeUrl.default('https://nras.attestation.nvidia.com'),
})

const amd = z.strictObject({ kds_url: safeUrl.default(KDS_URL) })

/** GitHub's routes of releases and attestations; the default answers without an account. */
const releases = z.strictObject({ url: safeUrl.default(RELEASES_URL) })

const attested = {
  id: providerId,
  origin: z.string().refine(isHttpsOrigin, 'https://host[:port], nothing after it'),
  api_key: secretRef,
  policy: z.unknown(),
  refresh_seconds: seconds(10, 86_400, 600),
}
/** Half a character could not be signed in a receipt. */
const modelAtProvider = z
  .string()
  .min(1)
  .max(256)
  .refine((name) => name.isWellFormed(), 'a name without halves of characters')

const aciProvider = z.strictObject({ kind: z.literal('aci'), ...attested })

const nearDirectProvider = z.strictObject({
  kind: z.literal('near-direct'),
  ...attested,
  model: modelAtProvider,
})

const nearCloudProvider = z.strictObject({
  kind: z.literal('near-cloud'),
  ...attested,
  model: modelAtProvider,
})

const dstackVllmProvider = z.strictObject({
  kind: z.literal('dstack-vllm'),
  ...attested,
  model: modelAtProvider,
})
const tinfoilProvider = z.strictObject({ kind: z.literal('tinfoil'), ...attested })
const chutesProvider = z.strictObject({
  kind: z.literal('chutes'),
  ...attested,
  model: modelAtProvider,
  chute_id: z
    .string()
    .regex(/^[0-9a-f-]{1,64}$/, 'the id of the chute, as Chutes shows it')
    .optional(),
})

const openAiRaTlsProvider = z.strictObject({ kind: z.literal('openai-ra-tls'), ...attested })

const secretAiProvider = z.strictObject({ kind: z.literal('secretai'), ...attested })
const variants = Object.keys(VARIANTS).filter((name): name is VariantName => name in VARIANTS)

const openaiProvider = z.strictObject({
  id: providerId,
  kind: z.literal('openai'),
  base_url: safeUrl,
  api_key: secretRef,
  variant: z.enum(variants).default('generic'),
  auth: z.enum(['bearer', 'api-key']).default('bearer'),
  api_version: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,64}$/)
    .nullable()
    .default(null),
})

const keyed = { id: providerId, api_key: secretRef }
const anthropicProvider = z.strictObject({
  ...keyed,
  kind: z.literal('anthropic'),
  base_url: safeUrl.default('https://api.anthropic.com/v1'),
})
const geminiProvider = z.strictObject({
  ...keyed,
  kind: z.literal('gemini'),
  base_url: safeUrl.default('https://generativelanguage.googleapis.com/v1beta'),
})
const cohereProvider = z.strictObject({
  ...keyed,
  kind: z.literal('cohere'),
  base_url: safeUrl.default('https://api.cohere.com/v2'),
})

const bedrockProvider = z
  .strictObject({
    id: providerId,
    kind: z.literal('bedrock'),
    region: z.string().regex(/^[a-z0-9-]{1,32}$/),
    base_url: safeUrl.optional(),
    /** A Bedrock API key; or else an access key that signs requests. */
    api_key: secretRef.optional(),
    access_key: z
      .strictObject({
        id: secretRef,
        secret: secretRef,
        session_token: secretRef.optional(),
      })
      .optional(),
  })
  .refine(
    (entry) => (entry.api_key === undefined) !== (entry.access_key === undefined),
    'either api_key or access_key',
  )

const model = z.strictObject({
  name: modelName,
  aliases: z.array(modelName).max(64).default([]),
  confidentiality: z.enum(['attested', 'plain']),
  order: z.enum(['weighted', 'latency', 'cost']).default('weighted'),
  sticky: z.enum(['none', 'key']).default('none'),
  padding: z.enum(['on', 'off']).optional(),
  cache_salt: z.enum(['on', 'off']).default('on'),
  routes: z
    .array(
      z.strictObject({
        provider: providerId,
        model: modelAtProvider,
        priority: z.number().int().min(0).max(1000).default(0),
        weight: z.number().int().min(1).max(1000).default(1),
      }),
    )
    .min(1)
    .max(16),
})

const key = z.strictObject({
  id: keyId,
  team: teamName,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'the lower-case hex SHA-256 of the key'),
  models: z.union([z.literal('*'), z.array(modelName).min(1).max(1024)]),
  plain_models: z.enum(['refuse', 'allow']).default('refuse'),
})

export const fileSchema = z.strictObject({
  workers: z.number().int().min(1).max(64).default(1),
  listen: listen.prefault({}),
  enclave,
  provenance: provenance.prefault({}),
  collateral: collateral.prefault({}),
  nvidia: nvidia.prefault({}),
  amd: amd.prefault({}),
  releases: releases.prefault({}),
  limits: limits.prefault({}),
  receipts: receipts.prefault({}),
  sessions: sessions.prefault({}),
  admin: admin.prefault({}),
  telemetry: telemetry.prefault({}),
  prices,
  providers: z
    .array(
      z.discriminatedUnion('kind', [
        aciProvider,
        nearDirectProvider,
        nearCloudProvider,
        dstackVllmProvider,
        tinfoilProvider,
        chutesProvider,
        openAiRaTlsProvider,
        secretAiProvider,
        openaiProvider,
        anthropicProvider,
        geminiProvider,
        cohereProvider,
        bedrockProvider,
      ]),
    )
    .min(1)
    .max(256),
  models: z.array(model).min(1).max(4096),
  keys: z.array(key).min(1).max(10_000),
})

export type ConfigFile = z.output<typeof fileSchema>
export type SecretRef = z.output<typeof secretRef>

function isHttpsOrigin(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && url.protocol === 'https:' && url.origin === text
}
