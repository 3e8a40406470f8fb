import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  parseReceipt,
  type BootDocument,
  type Receipt,
  type ReceiptEvent,
} from '@vouchgate/attestation'
import { Agent, request, type Dispatcher } from 'undici'
import { stringify } from 'yaml'
import type { QuoteSource } from '../../enclave/index.ts'
import { parseConfig, type Config } from '../../src/config/index.ts'
import { startGateway, type Gateway } from '../../src/gateway.ts'
import { pinoLogger } from '../../src/log.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import {
  startModelServer,
  startPlainModelServer,
  type ModelServer,
  type PlainModelServer,
} from '../support/model-server.ts'
import { createTeeVendor, type PcsServer, type TeeVendor } from '../support/tee-vendor.ts'

export const KEY = 'vg-test-key-with-everything'
export const ATTESTED_ONLY_KEY = 'vg-test-key-attested-only'
export const NARROW_KEY = 'vg-test-key-other-model'
export const UPSTREAM_SECRET = 'upstream-secret-value'
export const CANARY = 'canary-prompt-7e1f93'

export const sha256Hex = (text: string | Uint8Array): string =>
  createHash('sha256').update(text).digest('hex')

export interface World {
  readonly clock: FakeClock
  readonly vendor: TeeVendor
  readonly pcs: PcsServer
  readonly model: ModelServer
  readonly backup: ModelServer
  readonly plain: PlainModelServer
  readonly plainBackup: PlainModelServer
  readonly logs: string[]
  readonly gateway: Gateway
  readonly agent: Agent
  call(path: string, options?: CallOptions): Promise<Answer>
  /** Asks the admin listener. */
  admin(path: string): Promise<Answer>
  chat(body: unknown, options?: CallOptions): Promise<Answer>
  close(): Promise<void>
}

interface CallOptions {
  readonly method?: Dispatcher.HttpMethod
  readonly key?: string | null
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer | Readable
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly bytes: Buffer
  readonly text: string
  /** A member of the JSON body by its path, `error.code`; undefined where there is none. */
  at(path: string): unknown
}

export interface WorldOptions {
  readonly clock?: FakeClock
  readonly boot?: BootDocument
  readonly source?: (source: QuoteSource) => QuoteSource
  readonly modelFields?: Parameters<typeof startModelServer>[0]['fields']
  /** Replaces the origin that the gateway is configured with, as an attacker on the path would. */
  readonly origin?: (model: ModelServer) => Promise<string>
  readonly edit?: (file: ConfigDocument) => void
  /** Draws among routes of one priority; by default the first that is listed. */
  readonly draw?: () => number
  readonly recordTo?: string
  /** Providers and models beside those of every world. */
  readonly extra?: { readonly providers: readonly object[]; readonly models: readonly object[] }
}

export type ConfigDocument = ReturnType<typeof configFile>

const measurements = {
  rtmr0: 'any',
  rtmr1: 'any',
  rtmr2: 'any',
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}

export function configFile(
  vendor: TeeVendor,
  origins: {
    model: string
    backup: string
    plain: string
    plainBackup: string
    pcs: string
    rootCrl: string
  },
) {
  const policy = { trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' }
  const aci = { kind: 'aci', api_key: { env: 'UPSTREAM_KEY' }, policy, refresh_seconds: 600 }
  const openai = { kind: 'openai', api_key: { env: 'UPSTREAM_KEY' } }
  return {
    listen: { host: '127.0.0.1', port: 0 },
    admin: { port: 0 },
    enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
    collateral: { pcs_url: origins.pcs, root_crl_url: origins.rootCrl },
    limits: { body_bytes: 65_536, connect_seconds: 5, drain_seconds: 5 },
    providers: [
      { id: 'tee', origin: origins.model, ...aci },
      { id: 'tee-backup', origin: origins.backup, ...aci },
      { id: 'plain', base_url: `${origins.plain}/v1`, ...openai },
      { id: 'plain-backup', base_url: `${origins.plainBackup}/v1`, ...openai },
    ],
    models: [
      modelEntry('secure', 'attested', ['tee']),
      modelEntry('test-model', 'attested', ['tee']),
      modelEntry('resilient', 'attested', ['tee', 'tee-backup']),
      modelEntry('ordinary', 'plain', ['plain']),
      modelEntry('ordinary-resilient', 'plain', ['plain', 'plain-backup']),
      modelEntry('org/slashed', 'attested', ['tee']),
    ],
    keys: [
      keyEntry('everything', KEY, { models: '*', plain_models: 'allow' }),
      keyEntry('attested-only', ATTESTED_ONLY_KEY, { models: '*' }),
      keyEntry('narrow', NARROW_KEY, { models: ['resilient'] }),
    ],
  }
}

const modelEntry = (name: string, confidentiality: string, providers: string[]) => ({
  name,
  confidentiality,
  routes: providers.map((provider) => ({ provider, model: 'test-model' })),
})
const keyEntry = (id: string, secret: string, rest: object) => ({
  id,
  team: 'testers',
  sha256: sha256Hex(secret),
  ...rest,
})

export const pinnedRow = (mrtd: string) => [{ mrtd, ...measurements }]

export const readConfig = (file: unknown): Config =>
  parseConfig(
    stringify(file, { aliasDuplicateObjects: false }),
    { UPSTREAM_KEY: UPSTREAM_SECRET },
    () => {
      throw new Error('no files in tests')
    },
  )

/** A gateway with two attested and two plain providers, all over real sockets. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const clock = options.clock ?? fakeClock()
  const vendor = createTeeVendor({ now: clock.now() })
  const pcs = await vendor.pcsServer()
  const fields = options.modelFields
  const modelOptions = { vendor, clock, ...(options.boot ? { boot: options.boot } : {}) }
  const upstream = await startModelServer({ ...modelOptions, ...(fields ? { fields } : {}) })
  const backup = await startModelServer(modelOptions)
  const plain = await startPlainModelServer({ clock })
  const plainBackup = await startPlainModelServer({ clock })
  const file = configFile(vendor, {
    model: options.origin === undefined ? upstream.origin : await options.origin(upstream),
    backup: backup.origin,
    plain: plain.origin,
    plainBackup: plainBackup.origin,
    pcs: pcs.url,
    rootCrl: pcs.rootCrlUrl,
  })
  options.edit?.(file)
  const logs: string[] = []
  const source = vendor.quoteSource()
  const gateway = await startGateway({
    config: readConfig(withExtra(file, options.extra)),
    source: options.source?.(source) ?? source,
    clock,
    log: pinoLogger({ write: (line) => void logs.push(line) }),
    facts: {},
    jitter: () => 0,
    draw: options.draw ?? (() => 0),
    tickMs: 1_000_000,
    ...(options.recordTo === undefined ? {} : { recordTo: options.recordTo }),
  })
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  const call: World['call'] = (path, given = {}) => callGateway(gateway.url + path, agent, given)
  return {
    clock,
    vendor,
    pcs,
    model: upstream,
    backup,
    plain,
    plainBackup,
    logs,
    gateway,
    agent,
    call,
    admin: (path) => callGateway(`${gateway.adminUrl}${path}`, agent, { key: null }),
    chat: (body, given = {}) =>
      call('/v1/chat/completions', {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...given,
        headers: { 'content-type': 'application/json', ...given.headers },
      }),
    close: async () => {
      await agent.destroy()
      await gateway.close()
      await Promise.all([upstream, backup, plain, plainBackup, pcs].map((each) => each.close()))
    },
  }
}

const withExtra = (file: ConfigDocument, extra: WorldOptions['extra']): object => ({
  ...file,
  providers: [...file.providers, ...(extra?.providers ?? [])],
  models: [...file.models, ...(extra?.models ?? [])],
})

async function callGateway(url: string, agent: Agent, options: CallOptions): Promise<Answer> {
  const { method = 'GET', key: secret = KEY, headers = {}, body, signal } = options
  const response = await request(url, {
    method,
    dispatcher: agent,
    headers: { ...(secret === null ? {} : { authorization: `Bearer ${secret}` }), ...headers },
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
  })
  const bytes = Buffer.from(await response.body.arrayBuffer())
  const text = bytes.toString()
  return {
    status: response.statusCode,
    headers: response.headers,
    bytes,
    text,
    at: (path) => member(JSON.parse(text), path),
  }
}

export const prompt = (model: string, extra: object = {}) => ({
  model,
  messages: [{ role: 'user', content: `repeat ${CANARY}` }],
  ...extra,
})

/** The receipt that an answer's header names, fetched with the key that asked. */
export async function receiptOf(world: World, answer: Answer, secret = KEY): Promise<Receipt> {
  const id = answer.headers['x-receipt-id']
  if (typeof id !== 'string') throw new Error('no receipt id')
  const found = await world.call(`/v1/aci/receipts/${id}`, { key: secret })
  if (found.status !== 200) throw new Error(`receipt: ${found.status}`)
  return parseReceipt(JSON.parse(found.text))
}

export const eventOf = (receipt: Receipt, type: string): ReceiptEvent | undefined =>
  receipt.event_log.find((event) => event.type === type)

/** The ids of the sessions that the gateway lists as current. */
export async function sessionIds(world: World, query = ''): Promise<string[]> {
  const { text } = await world.call(`/v1/aci/sessions${query}`, { key: null })
  return [...text.matchAll(/"session_id":"([0-9a-f]{64})"/g)].map(([, id]) => id ?? '')
}

export function member(value: unknown, path: string): unknown {
  let found: unknown = value
  for (const name of path.split('.')) {
    if (typeof found !== 'object' || found === null) return undefined
    found = Reflect.get(found, name)
  }
  return found
}
