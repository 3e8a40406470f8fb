import { createHash } from 'node:crypto'
import Fastify from 'fastify'
import { Pool } from 'undici'
import { systemClock } from '../enclave/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { startGateway } from '../src/gateway.ts'
import { startModelServer } from '../test/support/model-server.ts'
import { newTlsIdentity } from '../test/support/pki.ts'
import { createTeeVendor } from '../test/support/tee-vendor.ts'

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

async function upstream({ chunkDelayMs = 0 }: { chunkDelayMs?: number }): Promise<Upstream> {
  const vendor = createTeeVendor({ now: systemClock.now() })
  const server = await startModelServer({ vendor, clock: systemClock, models: [BENCH_MODEL] })
  server.chat.record = false
  server.chat.chunkDelayMs = chunkDelayMs
  return { origin: server.origin, rootPem: vendor.rootPem }
}

/** The floor: the same two frameworks, TLS on both sides, and nothing proven or recorded. */
async function passThrough({ origin }: Upstream): Promise<{ origin: string }> {
  const { key, cert } = newTlsIdentity()
  const pool = new Pool(origin, { connections: 256, connect: { rejectUnauthorized: false } })
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

async function gateway(input: GatewayInput): Promise<{ origin: string; admin: string }> {
  const { origin, rootPem, providers = 1, refreshSeconds = 600 } = input
  const policy = { workload: 'any', trusted_root: { test_pki_pem: rootPem } }
  const numbers = Array.from({ length: providers }, (_, number) => number)
  const name = (number: number): string =>
    providers === 1 ? BENCH_MODEL : `${BENCH_MODEL}-${number}`
  const config = parseConfig(
    JSON.stringify({
      listen: { port: 0 },
      admin: { port: 0 },
      enclave: { quote_source: 'dstack', self_check: 'report' },
      providers: numbers.map((number) => ({
        id: `upstream-${number}`,
        kind: 'aci',
        origin,
        api_key: { env: 'UPSTREAM_KEY' },
        policy,
        refresh_seconds: refreshSeconds,
      })),
      models: numbers.map((number) => ({
        name: name(number),
        confidentiality: 'attested',
        routes: [{ provider: `upstream-${number}`, model: BENCH_MODEL }],
      })),
      keys: [
        {
          id: 'bench',
          team: 'bench',
          sha256: createHash('sha256').update(BENCH_KEY).digest('hex'),
          models: '*',
        },
      ],
    }),
    { UPSTREAM_KEY: 'upstream' },
    () => '',
  )
  const vendor = createTeeVendor({ now: systemClock.now() })
  const running = await startGateway({
    config,
    source: vendor.quoteSource(),
    clock: systemClock,
    log: () => undefined,
  })
  return { origin: running.url, admin: running.adminUrl ?? '' }
}

const ROLES = { upstream, passThrough, gateway }
type Role = keyof typeof ROLES
const isRole = (name: string): name is Role => Object.hasOwn(ROLES, name)

const [, , role, input] = process.argv
if (role !== undefined && isRole(role)) {
  const known: GatewayInput = JSON.parse(input ?? '{}')
  process.stdout.write(`${JSON.stringify(await ROLES[role](known))}\n`)
}
