import { randomBytes } from 'node:crypto'
import { selfCheck, type Facts } from '../enclave/index.ts'
import { listen, openAdmin } from './admin.ts'
import { buildApp } from './app.ts'
import { bootEnclave, rotateIfDue, type BootOptions } from './boot.ts'
import { Metrics } from './metrics.ts'
import { NO_PEERS } from './peers.ts'
import { verifyProvider } from './providers/verify.ts'
import { adminView } from './routes/state.ts'
import { buildContext, RunningServer, type ServingOptions } from './serving.ts'
import { openVerification, type VerificationOptions } from './verification.ts'

export interface GatewayOptions extends BootOptions, VerificationOptions, ServingOptions {
  /** Default: the facts of this process, looked at now. */
  readonly facts?: Facts
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

/**
 * Composes and starts a gateway that is one process: keys, quotes, first verification of every provider, listener, timer.
 * Rejects with `SelfCheckError`, `SessionFileError` or `EnclaveError`, or where the address cannot be listened on.
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, clock, log, random = randomBytes } = options
  const enclave = await bootEnclave(options, options.facts ?? selfCheck().facts)
  const metrics = new Metrics()
  const { collateral, collecting } = await openVerification(options, metrics)
  const context = await buildContext(options, {
    enclave,
    metrics,
    collateral,
    verify: (provider) => verifyProvider(provider, collecting),
    peers: NO_PEERS,
    tenantSecret: random(32),
    instance: null,
  })
  const app = buildApp(context)
  const admin = await openAdmin({ config, log, view: adminView(context) })
  const url = await listen(app, config, admin)
  const server = new RunningServer({
    context,
    app,
    tickMs: options.tickMs ?? 1000,
    duties: async () => {
      const rotating = rotateIfDue({ enclave, clock, log })
      await Promise.all([rotating, context.sessions.refreshDue(), collateral.refreshDue()])
    },
    alsoClose: async () => admin?.close(),
  })
  log({ event: 'started', port: Number(new URL(url).port), providers: config.providers.size })
  return {
    url,
    adminUrl: admin?.url ?? null,
    keysetDigest: () => enclave.current.keysetDigest,
    certificate: () => enclave.current.tls.cert,
    tick: () => server.tick(),
    close: () => server.close(),
  }
}
