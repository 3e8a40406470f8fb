import type { BootDocument, Clock } from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import {
  configfsTsmSource,
  dstackSource,
  Enclave,
  selfCheck,
  type Fact,
  type QuoteSource,
} from '../enclave/index.ts'
import { listen, openAdmin, type Admin } from './admin.ts'
import { buildApp, type App } from './app.ts'
import { captureFolder } from './captures.ts'
import { isAttested, type Config } from './config/index.ts'
import { collateralService } from './configured-collateral.ts'
import { RunningPrompts, type Context } from './context.ts'
import { pooled, type Random } from './ids.ts'
import { keptSessions } from './kept.ts'
import { KeyRing } from './keys.ts'
import type { Logger } from './log.ts'
import { Metrics } from './metrics.ts'
import { Prices } from './prices/prices.ts'
import { ReceiptStore } from './receipt-store.ts'
import { RouteTimes } from './route-times.ts'
import { Routing } from './routing.ts'
import { AttestedSessions } from './sessions.ts'
import { TenantNames } from './tenant.ts'
import { ChutesTokenPools } from './providers/chutes-tokens.ts'
import { collectors } from './providers/collectors.ts'
import { ATTESTED_KINDS, sealFor } from './providers/kinds.ts'
import { verifyProvider } from './providers/verify.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { VerifiedChannel, type ChannelLimits } from './upstream/channel.ts'
import { openUpstream } from './upstream/open.ts'
import { connectAttempts } from './upstream/nodes.ts'
import { ServingBreakers } from './upstream/serving.ts'
import { SOFTWARE } from './version.ts'

export interface GatewayOptions {
  readonly config: Config
  readonly source: QuoteSource
  readonly clock: Clock
  readonly log: Logger
  /** Default: the facts of this process, looked at now. */
  readonly facts?: Readonly<Record<string, Fact>>
  /** Default: the operating system's random bytes. */
  readonly random?: Random
  /** In [0, 1): spreads refreshes. Default `Math.random`. */
  readonly jitter?: () => number
  /** In [0, 1): draws among routes of one priority. Default `Math.random`. */
  readonly draw?: () => number
  /** Where captures of verifications are written; left out, none is. */
  readonly recordTo?: string
  /** How often the gateway looks whether something is due. Default 1000 ms. */
  readonly tickMs?: number
}

export interface Gateway {
  /** `https://host:port` as listened on. */
  readonly url: string
  /** `http://host:port` of the admin listener, null where there is none. */
  readonly adminUrl: string | null
  keysetDigest(): string
  /** PEM of the current self-signed certificate, for clients that pin instead of verifying. */
  certificate(): string
  /** What the timer does: rotate keys, refresh sessions, drop old receipts, each if due. */
  tick(): Promise<void>
  /** Stops taking requests, lets running ones end within the configured time, then closes everything. */
  close(): Promise<void>
}

/** The process does not meet the launch contract, and the configuration says to enforce it. */
export class SelfCheckError extends Error {
  override readonly name = 'SelfCheckError'
  /** Names of the facts that do not hold. */
  readonly facts: readonly string[]

  constructor(facts: readonly string[]) {
    super('the self-check found that this process could retain prompts')
    this.facts = facts
  }
}

/** The quote source that the configuration names. */
export function quoteSource({ enclave }: Config): QuoteSource {
  if (enclave.quote_source === 'configfs-tsm') return configfsTsmSource()
  const { dstack_socket: socketPath } = enclave
  return dstackSource(socketPath === undefined ? {} : { socketPath })
}

/**
 * Composes and starts a gateway: keys, quotes, first verification of every provider, listener, timer.
 * Rejects with `SelfCheckError`, `SessionFileError` or `EnclaveError`, or where the address cannot be listened on.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, log } = options
  const boot = bootDocument(options)
  const enclave = await Enclave.boot({
    source: options.source,
    clock: options.clock,
    boot,
    domain: config.listen.domain,
    lifetimeSeconds: config.enclave.keyset_lifetime_seconds,
    provenance: config.provenance,
    maxWaitingQuotes: config.enclave.max_waiting_quotes,
  })
  const context = await buildContext(options, enclave)
  const app = buildApp(context)
  const admin = await openAdmin(context)
  const url = await listen(app, config, admin)
  const running = new RunningGateway({ context, app, url, admin, tickMs: options.tickMs ?? 1000 })
  log({ event: 'started', port: Number(new URL(url).port), providers: config.providers.size })
  return running
}

function bootDocument({
  config,
  facts: found = selfCheck().facts,
  log,
}: GatewayOptions): BootDocument {
  // Whatever the flags of the process allow: it is about to write a file.
  const facts: typeof found =
    config.sessions.path === null ? found : { ...found, fs_write_denied: 'not_held' }
  const missing = Object.keys(facts).filter((fact) => facts[fact] !== 'held')
  for (const fact of missing) log({ event: 'fact_not_held', fact })
  // `unknown` is not a pass: what could not be looked at may be what retains the prompt.
  if (missing.length > 0 && config.enclave.self_check === 'enforce') {
    throw new SelfCheckError(missing)
  }
  return { software: SOFTWARE, config_digest: config.digest, self_check: { ...facts } }
}

async function buildContext(options: GatewayOptions, enclave: Enclave): Promise<Context> {
  const { config, clock, log, random = pooled(randomBytes), jitter = Math.random } = options
  const limits = channelLimits(config)
  const metrics = new Metrics()
  const collateral = await collateralService(config, { clock, jitter, log, metrics })
  const { store, identities, sessionFile } = await keptSessions({ config, clock, log, metrics })
  const attested = [...config.providers.values()].filter(isAttested)
  const timeoutMs = limits.connectMs
  const collecting = await collectors(config, {
    collateral,
    clock,
    random,
    timeoutMs,
    ...(options.recordTo === undefined ? {} : { record: captureFolder(options.recordTo, log) }),
  })
  const sealing = { chutesTokens: new ChutesTokenPools({ clock, timeoutMs }) }
  const sessions = new AttestedSessions<VerifiedChannel>(attested, {
    verify: (provider) => verifyProvider(provider, collecting),
    openChannel: (endpoint) => {
      const seal = sealFor(endpoint, sealing)
      const attempts = connectAttempts(ATTESTED_KINDS[endpoint.kind].nodes)
      return new VerifiedChannel(endpoint, { clock, limits, seal, attempts })
    },
    nodes: ({ kind }) => ATTESTED_KINDS[kind].nodes,
    clock,
    jitter,
    store,
    identities,
    log,
    metrics,
  })
  const upstreams = new Map(
    [...config.providers].map(([id, provider]) => [
      id,
      openUpstream(provider, { sessions, limits, clock }),
    ]),
  )
  const { max_entries: maxEntries, ttl_seconds: ttlSeconds } = config.receipts
  const receipts = new ReceiptStore({ maxEntries, ttlSeconds, clock, sessions: store })
  // Or receipts that nobody asks for would keep the keys of earlier generations in memory.
  enclave.onRotate(() => void receipts.signAll())
  const keys = new KeyRing(config.keys)
  const serving = new ServingBreakers({ clock, log })
  const times = new RouteTimes(() => performance.now())
  const watched = watching(config)
  const { prices } = watched
  const draw = options.draw ?? Math.random
  const routing = new Routing({ sessions, serving, times, prices, random: draw })
  const tenants = new TenantNames(random(32))
  const shared = { config, clock, enclave, upstreams, log, metrics, random }
  const pipeline = { ...shared, routing, tenants, receipts }
  const kept = { sessions, store, sessionFile, serving, collateral }
  return { ...pipeline, ...watched, ...kept, running: new RunningPrompts(), keys }
}

const watching = (config: Config) => ({
  prices: new Prices(config),
  telemetry: new Telemetry(config.telemetry),
})

const channelLimits = ({ limits }: Config): ChannelLimits => ({
  connectMs: 1000 * limits.connect_seconds,
  firstByteMs: 1000 * limits.first_byte_seconds,
  idleMs: 1000 * limits.idle_seconds,
  connections: limits.connections_per_provider,
})

interface Parts {
  readonly context: Context
  readonly app: App
  readonly url: string
  readonly admin: Admin | null
  readonly tickMs: number
}

class RunningGateway implements Gateway {
  readonly url: string
  readonly #context: Context
  readonly #app: App
  readonly #admin: Admin | null
  readonly #timer: NodeJS.Timeout
  #closing: Promise<void> | null = null

  constructor({ context, app, url, admin, tickMs }: Parts) {
    this.url = url
    this.#context = context
    this.#app = app
    this.#admin = admin
    // Prewarm: the first tick verifies every provider before anyone asks.
    void this.tick()
    this.#timer = setInterval(() => void this.tick(), tickMs)
  }

  get adminUrl(): string | null {
    return this.#admin?.url ?? null
  }

  keysetDigest(): string {
    return this.#context.enclave.current.keysetDigest
  }

  certificate(): string {
    return this.#context.enclave.current.tls.cert
  }

  async tick(): Promise<void> {
    const { sessions, sessionFile, receipts, collateral } = this.#context
    receipts.sweep()
    // Here and not in a request: a write may wait for the disk.
    sessionFile?.flush()
    await Promise.all([this.#rotateIfDue(), sessions.refreshDue(), collateral.refreshDue()])
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain()
    return this.#closing
  }

  async #rotateIfDue(): Promise<void> {
    const { enclave, clock, log } = this.#context
    if (clock.now() < enclave.rotationDueAt) return
    try {
      await enclave.rotate()
      log({ event: 'keyset_rotated', notAfter: enclave.current.notAfter })
    } catch {
      // The old keyset serves on; the next tick tries again.
      log({ event: 'keyset_rotation_failed' })
    }
  }

  async #drain(): Promise<void> {
    const { running, sessions, sessionFile, upstreams, log, config, telemetry } = this.#context
    log({ event: 'draining', inFlight: running.size })
    clearInterval(this.#timer)
    running.drain()
    const deadline = setTimeout(() => {
      running.abortAll()
      this.#app.server.closeAllConnections()
    }, 1000 * config.limits.drain_seconds)
    // A connection that was busy at the start is idle once its request has ended, and would hold the server open.
    const sweeper = setInterval(() => this.#app.server.closeIdleConnections(), 50)
    await this.#app.close()
    clearInterval(sweeper)
    clearTimeout(deadline)
    sessions.close()
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()))
    sessionFile?.close()
    await Promise.all([this.#admin?.close(), telemetry.close()])
    log({ event: 'stopped' })
  }
}
