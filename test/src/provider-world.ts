import { setDefaultCACertificates } from 'node:tls'
import { Agent, fetch as undiciFetch, request } from 'undici'
import OpenAI from 'openai'
import { startGateway, type Gateway } from '../../src/gateway.ts'
import { pinoLogger } from '../../src/log.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { createTeeVendor, type PcsServer, type TeeVendor } from '../support/tee-vendor.ts'
import { CANARY, KEY, member, readConfig, sha256Hex } from './harness.ts'

/** A gateway with one attested provider, whose model is `secure`. */
export interface ProviderWorld {
  readonly clock: FakeClock
  readonly vendor: TeeVendor
  readonly pcs: PcsServer
  readonly gateway: Gateway
  readonly logs: string[]
  /** The official SDK, without its own retries. */
  readonly sdk: OpenAI
  get(path: string): Promise<Fetched>
  chat(extra?: object): Promise<Fetched>
  /** The ids of the sessions that are listed, each with the instance it is with. */
  sessions(): Promise<ListedSession[]>
  close(): Promise<void>
}

interface Fetched {
  readonly status: number
  readonly text: string
  readonly headers: Record<string, string | string[] | undefined>
  readonly at: (path: string) => unknown
}

interface ListedSession {
  readonly id: string
  readonly instance: string | null
}

interface Setting {
  readonly clock: FakeClock
  readonly vendor: TeeVendor
}

export interface ProviderWorldOptions {
  /** The provider's entry in the configuration, beside id and API key. */
  readonly provider: (setting: Setting) => Promise<object>
  /** The model's name at the provider. */
  readonly model: string
  readonly clock?: FakeClock
  readonly limits?: object
}

export const prompt = (extra: object = {}) => ({
  model: 'secure',
  messages: [{ role: 'user' as const, content: `repeat ${CANARY}` }],
  ...extra,
})

/** The edge of a provider is trusted as the public web is; this makes one certificate all that the web trusts. */
export const trustEdge = (pem: string): void => setDefaultCACertificates([pem])

export async function startProviderWorld(options: ProviderWorldOptions): Promise<ProviderWorld> {
  const clock = options.clock ?? fakeClock()
  const vendor = createTeeVendor({ now: clock.now() })
  const pcs = await vendor.pcsServer()
  const provider = await options.provider({ clock, vendor })
  const logs: string[] = []
  const gateway = await startGateway({
    config: readConfig({
      listen: { host: '127.0.0.1', port: 0 },
      enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
      collateral: { pcs_url: pcs.url, root_crl_url: pcs.rootCrlUrl },
      limits: { connect_seconds: 5, drain_seconds: 5, ...options.limits },
      providers: [
        { id: 'tee', api_key: { env: 'UPSTREAM_KEY' }, refresh_seconds: 600, ...provider },
      ],
      models: [
        {
          name: 'secure',
          confidentiality: 'attested',
          routes: [{ provider: 'tee', model: options.model }],
        },
      ],
      keys: [{ id: 'everything', team: 'testers', sha256: sha256Hex(KEY), models: '*' }],
    }),
    source: vendor.quoteSource(),
    clock,
    log: pinoLogger({ write: (line) => void logs.push(line) }),
    facts: {},
    jitter: () => 0,
    tickMs: 1_000_000,
  })
  await gateway.tick()
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  const call = async (path: string, body?: string): Promise<Fetched> => {
    const response = await request(gateway.url + path, {
      method: body === undefined ? 'GET' : 'POST',
      dispatcher: agent,
      headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
      body: body ?? null,
    })
    const text = await response.body.text()
    const { statusCode: status, headers } = response
    return { status, text, headers, at: (path_) => member(JSON.parse(text), path_) }
  }
  const sdk = new OpenAI({
    apiKey: KEY,
    baseURL: `${gateway.url}/v1`,
    maxRetries: 0,
    fetchOptions: { dispatcher: agent },
    fetch: Object.assign(undiciFetch),
  })
  return {
    clock,
    vendor,
    pcs,
    gateway,
    logs,
    sdk,
    get: (path) => call(path),
    chat: (extra) => call('/v1/chat/completions', JSON.stringify(prompt(extra))),
    sessions: async () => listed((await call('/v1/aci/sessions')).at('sessions')),
    close: async () => {
      await agent.destroy()
      await gateway.close()
      await pcs.close()
    },
  }
}

const listed = (sessions: unknown): ListedSession[] =>
  Array.isArray(sessions)
    ? sessions.map((session: unknown) => {
        const instance = member(session, 'identity.instance_id')
        return {
          id: String(member(session, 'session_id')),
          instance: typeof instance === 'string' ? instance : null,
        }
      })
    : []
