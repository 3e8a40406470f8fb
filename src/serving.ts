import type { Clock, VerifiedEndpoint } from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import type { Enclave } from '../enclave/index.ts'
import type { App } from './app.ts'
import type { AttestedProvider, Config } from './config/index.ts'
import { RunningPrompts, type Context } from './context.ts'
import { pooled, type Random } from './ids.ts'
import { KeyRing } from './keys.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { openSessions } from './open-sessions.ts'
import { Prices } from './prices/prices.ts'
import { ChutesTokenPools } from './providers/chutes-tokens.ts'
import { ATTESTED_KINDS, sealFor } from './providers/kinds.ts'
import { ReceiptStore } from './receipt-store.ts'
import { RouteTimes } from './route-times.ts'
import { Routing } from './routing.ts'
import type { Verified } from './session-slot.ts'
import { Telemetry } from './telemetry/telemetry.ts'
import { TenantNames } from './tenant.ts'
import { VerifiedChannel, type ChannelLimits } from './upstream/channel.ts'
import { connectAttempts } from './upstream/nodes.ts'
import { openUpstream } from './upstream/open.ts'
import { ServingBreakers } from './upstream/serving.ts'

export interface ServingOptions {
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly random?: Random | undefined
  readonly jitter?: (() => number) | undefined
  readonly draw?: (() => number) | undefined
}

/** What a process that serves is given: by itself where it is alone, else by its leader. */
export interface Given extends Pick<Context, 'collateral' | 'peers'> {
  readonly enclave: Enclave
  readonly metrics: Metrics
  readonly verify: (provider: AttestedProvider) => Promise<Verified>
  /** 32 random bytes of this start of the gateway. */
  readonly tenantSecret: Uint8Array
  /** Of this process in telemetry; null where it is the only one. */
  readonly instance: string | null
}

/** Everything that requests are served with. Rejects with `SessionFileError`. */
export async function buildContext(options: ServingOptions, given: Given): Promise<Context> {
  const { config, clock, log, random = pooled(randomBytes), jitter } = options
  const { enclave, metrics, verify, collateral, peers } = given
  const limits = channelLimits(config)
  const sealing = { chutesTokens: new ChutesTokenPools({ clock, timeoutMs: limits.connectMs }) }
  const openChannel = (endpoint: VerifiedEndpoint): VerifiedChannel => {
    const seal = sealFor(endpoint, sealing)
    const attempts = connectAttempts(ATTESTED_KINDS[endpoint.kind].nodes)
    return new VerifiedChannel(endpoint, { clock, limits, seal, attempts })
  }
  const { sessions, store, sessionFile } = await openSessions(
    { config, clock, log, metrics, jitter },
    { verify, openChannel },
  )
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
  const watched = watching(config, given.instance)
  const { prices } = watched
  const draw = options.draw ?? Math.random
  const routing = new Routing({ sessions, serving, times, prices, random: draw })
  const tenants = new TenantNames(given.tenantSecret)
  const shared = { config, clock, enclave, upstreams, log, metrics, random }
  const pipeline = { ...shared, routing, tenants, receipts }
  const kept = { sessions, store, sessionFile, serving, collateral, peers }
  return { ...pipeline, ...watched, ...kept, running: new RunningPrompts(), keys }
}

const watching = (config: Config, instance: string | null) => ({
  prices: new Prices(config),
  telemetry: new Telemetry(config.telemetry, instance),
})

const channelLimits = ({ limits }: Config): ChannelLimits => ({
  connectMs: 1000 * limits.connect_seconds,
  firstByteMs: 1000 * limits.first_byte_seconds,
  idleMs: 1000 * limits.idle_seconds,
  connections: limits.connections_per_provider,
})

interface ServerParts {
  readonly context: Context
  /** Listens. */
  readonly app: App
  readonly tickMs: number
  /** What the timer does beside dropping what is old. */
  readonly duties: () => Promise<void>
  /** What ends with it. */
  readonly alsoClose: () => Promise<unknown>
}

/** A process that serves, from its first request to the end of its last one. */
export class RunningServer {
  readonly #parts: ServerParts
  readonly #timer: NodeJS.Timeout
  #closing: Promise<void> | null = null

  constructor(parts: ServerParts) {
    this.#parts = parts
    // Prewarm: the first tick verifies every provider before anyone asks.
    void this.tick()
    this.#timer = setInterval(() => void this.tick(), parts.tickMs)
  }

  async tick(): Promise<void> {
    const { receipts, sessionFile } = this.#parts.context
    receipts.sweep()
    // Here and not in a request: a write may wait for the disk.
    sessionFile?.flush()
    await this.#parts.duties()
  }

  /** Stops taking requests, lets running ones end within the configured time, then closes everything. */
  close(): Promise<void> {
    this.#closing ??= this.#drain()
    return this.#closing
  }

  async #drain(): Promise<void> {
    const { app, context, alsoClose } = this.#parts
    const { running, sessions, sessionFile, upstreams, log, config, telemetry } = context
    log({ event: 'draining', inFlight: running.size })
    clearInterval(this.#timer)
    running.drain()
    const deadline = setTimeout(() => {
      running.abortAll()
      app.server.closeAllConnections()
    }, 1000 * config.limits.drain_seconds)
    // A connection that was busy at the start is idle once its request has ended, and would hold the server open.
    const sweeper = setInterval(() => app.server.closeIdleConnections(), 50)
    await app.close()
    clearInterval(sweeper)
    clearTimeout(deadline)
    sessions.close()
    await Promise.all([...upstreams.values()].map((upstream) => upstream.close()))
    sessionFile?.close()
    await Promise.all([alsoClose(), telemetry.close()])
    log({ event: 'stopped' })
  }
}
