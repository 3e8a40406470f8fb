import {
  appraiseEvidence,
  checkSessionClaims,
  parseProviderPolicy,
  parseSession,
  verifySession,
  type ProviderKind,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import OpenAI, { APIError } from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { startGateway } from '../../src/gateway.ts'
import { pinoLogger } from '../../src/log.ts'
import { KEY, readConfig, sha256Hex, UPSTREAM_SECRET } from '../src/harness.ts'
import type { DstackTd } from './dstack-td.ts'
import { policyDocument, type ProviderVendors } from './provider-world.ts'

export { UPSTREAM_SECRET }

/** A gateway with one provider of a kind, and the official SDK in front of it. */
export interface ProviderGateway {
  readonly client: OpenAI
  readonly logs: string[]
  /** A document of the gateway, by its path. */
  readonly get: (path: string) => Promise<unknown>
  /** Chat completion of one message through the SDK. */
  readonly ask: (content: string, extra?: object) => Promise<OpenAI.ChatCompletion>
  /** The same as a stream, read to its end. */
  readonly stream: (content: string, extra?: object) => Promise<string>
  close(): Promise<void>
}

export interface ProviderGatewayOptions {
  readonly vendors: ProviderVendors
  readonly kind: ProviderKind
  readonly origin: string
  readonly model: string
  readonly guests: readonly DstackTd[]
  readonly policy?: object
}

export async function startProviderGateway(
  options: ProviderGatewayOptions,
): Promise<ProviderGateway> {
  const { vendors, kind, origin, model, guests } = options
  const pcs = await vendors.vendor.pcsServer()
  const logs: string[] = []
  const gateway = await startGateway({
    config: readConfig({
      listen: { host: '127.0.0.1', port: 0 },
      enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
      collateral: { pcs_url: pcs.url, root_crl_url: pcs.rootCrlUrl },
      limits: { body_bytes: 1_048_576, connect_seconds: 1, drain_seconds: 5 },
      providers: [
        {
          id: 'tee',
          kind,
          origin,
          model,
          api_key: { env: 'UPSTREAM_KEY' },
          policy: policyDocument(vendors, guests, options.policy),
          refresh_seconds: 600,
        },
      ],
      models: [
        { name: 'secure', confidentiality: 'attested', routes: [{ provider: 'tee', model }] },
      ],
      keys: [{ id: 'all', team: 'testers', sha256: sha256Hex(KEY), models: '*' }],
    }),
    source: vendors.vendor.quoteSource(),
    clock: vendors.clock,
    log: pinoLogger({ write: (line) => void logs.push(line) }),
    facts: {},
    jitter: () => 0,
    tickMs: 1_000_000,
  })
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: KEY,
    maxRetries: 0,
    fetchOptions: { dispatcher: agent },
    fetch: Object.assign(undiciFetch),
  })
  const body = (content: string) => ({
    model: 'secure',
    messages: [{ role: 'user' as const, content }],
  })
  return {
    client,
    logs,
    get: async (path) => (await undiciFetch(gateway.url + path, { dispatcher: agent })).json(),
    ask: (content, extra = {}) => client.chat.completions.create({ ...body(content), ...extra }),
    stream: async (content, extra = {}) => {
      const stream = await client.chat.completions.create({
        ...body(content),
        ...extra,
        stream: true,
      })
      let text = ''
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
      return text
    },
    close: async () => {
      await agent.destroy()
      await gateway.close()
      await pcs.close()
    },
  }
}

/** The code and status of the error that the SDK raised; `nothing` where it raised none. */
export async function raised(run: () => Promise<unknown>): Promise<string> {
  try {
    await run()
  } catch (error) {
    if (error instanceof APIError) return String(error.code)
    throw error
  }
  return 'nothing'
}

/** Judges the one current session again, as somebody does who trusts the test vendors and knows no workload. */
export async function audited(
  { get }: ProviderGateway,
  vendors: ProviderVendors,
): Promise<VerifiedEndpoint> {
  const listed = JSON.stringify(await get('/v1/aci/sessions'))
  const [, id = ''] = /"session_id":"([0-9a-f]{64})"/.exec(listed) ?? []
  const document = parseSession(await get(`/v1/aci/sessions/${id}`))
  const { id: real, evidence } = await verifySession(document)
  if (real !== id) throw new Error('another session')
  const { tdx, ...rest } = policyDocument(vendors, [])
  const policy = parseProviderPolicy({ ...rest, tdx: { ...tdx, workload: 'any' } })
  const endpoints = await appraiseEvidence({
    evidence,
    challenge: 'recorded',
    now: 'recorded',
    policy,
  })
  return checkSessionClaims(document, endpoints)
}
