import { createHash } from 'node:crypto'
import Fastify from 'fastify'
import { Pool } from 'undici'
import { ANSWER, plainUpstream } from './plain-upstream.ts'
import { systemClock } from '../enclave/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { startGateway } from '../src/gateway.ts'
import { startModelServer } from '../test/support/model-server.ts'
import { newTlsIdentity } from '../test/support/pki.ts'
import { createTeeVendor } from '../test/support/tee-vendor.ts'
import type { PerAsked } from './targets.ts'

/*
 * One server per process, so that no two of those compared share an event loop. The parent passes the role and
 * its input as arguments and reads one JSON line.
 */

export const BENCH_KEY = 'vg-benchmark-key'
export const BENCH_MODEL = 'test-model'

/** What a role needs to know of the upstream. */
export interface Upstream {
  readonly origin: string
  readonly rootPem: string
}

/** Of the role `gateway`. */
export interface GatewayInput extends Upstream {
  /** That many providers at the same origin, each with sessions of its own and a model `<name>-<n>`; default 1. */
  readonly providers?: number
  /** How long one verification is used, at most; default 600. */
  readonly refreshSeconds?: number
}

interface UpstreamInput {
  readonly chunkDelayMs?: number
  /** Answers everything with the same bytes, so that it is not what is measured. */
  readonly fixed?: boolean
}

async function upstream({ chunkDelayMs = 0, fixed = false }: UpstreamInput): Promise<Upstream> {
  const vendor = createTeeVendor({ now: systemClock.now() })
  const server = await startModelServer({ vendor, clock: systemClock, models: [BENCH_MODEL] })
  server.chat.record = false
  server.chat.chunkDelayMs = chunkDelayMs
  if (fixed) server.chat.answer = { status: 200, body: ANSWER }
  return { origin: server.origin, rootPem: vendor.rootPem }
}

/** The floor: the same two frameworks, TLS on both sides, and nothing proven or recorded. */
async function passThrough({ origin }: { origin: string }): Promise<{ origin: string }> {
  const { key, cert } = newTlsIdentity()
  const pool = new Pool(origin, { connections: 2048, connect: { rejectUnauthorized: false } })
  const app = Fastify({ https: { key, cert, minVersion: 'TLSv1.3' }, bodyLimit: 16 << 20 })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_: unknown, body: Buffer) => body,
  )
  app.post<{ Body: Buffer }>('/v1/chat/completions', async (request, reply) => {
    const { statusCode, headers, body } = await pool.request({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json', authorization: 'Bearer upstream' },
      body: request.body,
    })
    return reply.code(statusCode).header('content-type', headers['content-type']).send(body)
  })
  return { origin: await app.listen({ host: '127.0.0.1', port: 0 }) }
}

/** Three of them in one process. */
async function passThroughs({ whole, stream, slow }: PerAsked<string>): Promise<PerAsked<string>> {
  const to = async (origin: string): Promise<string> => (await passThrough({ origin })).origin
  return { whole: await to(whole), stream: await to(stream), slow: await to(slow) }
}

async function gateway(input: GatewayInput): Promise<{ origin: string; admin: string }> {
  const { providers = 1 } = input
  const numbers = Array.from({ length: providers }, (_, number) => number)
  const attested = numbers.map((number) => ({
    ...input,
    name: providers === 1 ? BENCH_MODEL : `${BENCH_MODEL}-${number}`,
  }))
  return suiteGateway({ attested, plain: [] })
}

export interface SuiteInput {
  readonly attested: readonly (GatewayInput & { readonly name: string })[]
  readonly plain: readonly { readonly origin: string; readonly name: string }[]
}

const modelEntry = (name: string, confidentiality: string) => ({
  name,
  confidentiality,
  routes: [{ provider: `of-${name}`, model: BENCH_MODEL }],
})

/** Every model has a provider of its own. */
function suiteConfig({ attested, plain }: SuiteInput): object {
  const api_key = { env: 'UPSTREAM_KEY' }
  return {
    listen: { port: 0 },
    admin: { port: 0 },
    limits: { connections_per_provider: 2048 },
    // Receipts are kept on purpose; with few of them, what else grows shows.
    receipts: { max_entries: 1000 },
    enclave: { quote_source: 'dstack', self_check: 'report' },
    providers: [
      ...attested.map(({ name, origin, rootPem, refreshSeconds }) => ({
        id: `of-${name}`,
        kind: 'aci',
        origin,
        api_key,
        policy: { workload: 'any', trusted_root: { test_pki_pem: rootPem } },
        refresh_seconds: refreshSeconds ?? 600,
      })),
      ...plain.map(({ name, origin }) => ({
        id: `of-${name}`,
        kind: 'openai',
        base_url: `${origin}/v1`,
        api_key,
      })),
    ],
    models: [
      ...attested.map(({ name }) => modelEntry(name, 'attested')),
      // What the provider calls it tells it how fast to be.
      ...plain.map(({ name }) => ({
        ...modelEntry(name, 'plain'),
        routes: [{ provider: `of-${name}`, model: name }],
      })),
    ],
    keys: [
      {
        id: 'bench',
        team: 'bench',
        sha256: createHash('sha256').update(BENCH_KEY).digest('hex'),
        models: '*',
        plain_models: 'allow',
      },
    ],
  }
}

async function suiteGateway(input: SuiteInput): Promise<{ origin: string; admin: string }> {
  const config = parseConfig(
    JSON.stringify(suiteConfig(input)),
    { UPSTREAM_KEY: 'upstream' },
    () => '',
  )
  const running = await startGateway({
    config,
    source: createTeeVendor({ now: systemClock.now() }).quoteSource(),
    clock: systemClock,
    log: () => undefined,
  })
  return { origin: running.url, admin: running.adminUrl ?? '' }
}

const READERS = {
  upstream: async (input: string) => upstream(JSON.parse(input)),
  plainUpstream,
  passThrough: async (input: string) => passThrough(JSON.parse(input)),
  passThroughs: async (input: string) => passThroughs(JSON.parse(input)),
  gateway: async (input: string) => gateway(JSON.parse(input)),
  suiteGateway: async (input: string) => suiteGateway(JSON.parse(input)),
}
type Role = keyof typeof READERS
const isRole = (name: string): name is Role => Object.hasOwn(READERS, name)

// A profile is written at an exit, not at a signal.
if (import.meta.main) process.once('SIGTERM', () => process.exit(0))

const [, , role, input = '{}'] = process.argv
if (role !== undefined && isRole(role)) {
  process.stdout.write(`${JSON.stringify(await READERS[role](input))}\n`)
}
