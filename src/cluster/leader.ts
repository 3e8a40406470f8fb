import { randomBytes } from 'node:crypto'
import { selfCheckOfLeader, worstFacts, type Enclave } from '../../enclave/index.ts'
import { openAdmin } from '../admin.ts'
import { bootEnclave, rotateIfDue } from '../boot.ts'
import type { Gateway, GatewayOptions } from '../gateway.ts'
import { Metrics } from '../metrics.ts'
import { openSessions } from '../open-sessions.ts'
import { collectEvidence } from '../providers/verify.ts'
import { measureVerification } from '../routes/providers.ts'
import { isReady, providersJson, readyJson, type AdminView } from '../routes/state.ts'
import type { AttestedSessions } from '../sessions.ts'
import type { Closable } from '../attested-session.ts'
import { openVerification, type Verification } from '../verification.ts'
import { Answers } from './answers.ts'
import { Counters } from './counters.ts'
import { Crew } from './crew.ts'
import { forkWorker, requirePermission, type WorkerProcess } from './processes.ts'
import { LeaderRounds } from './rounds.ts'

export interface LeaderOptions extends GatewayOptions {
  /** Starts a worker. Default: this command line again, in a process of its own. */
  readonly fork?: () => WorkerProcess
}

/** What the leader verifies providers for: nothing is sent from here. */
const NO_CHANNEL: Closable = {
  close: async () => undefined,
  revoke: () => undefined,
  connected: false,
}

/**
 * A gateway of several processes. This one holds the keys, asks for quotes, collects evidence and watches the workers, which
 * serve; it ends no TLS and sees no prompt. Rejects as `startGateway` does, and with `ClusterError`.
 */
export async function startLeader(options: LeaderOptions): Promise<Gateway> {
  const { config, clock, log, fork = forkWorker } = options
  if (fork === forkWorker) requirePermission()
  const counters = new Counters()
  const metrics = new Metrics()
  let answers: Answers | null = null
  const crew = new Crew({
    count: config.workers,
    fork,
    configDigest: config.digest,
    clock,
    log,
    answer: (question, from) => answers?.to(question, from) ?? null,
    onLost: ({ number }) => {
      counters.lost(number)
      metrics.add('vouchgate_workers_ended_total')
    },
  })
  try {
    // What is attested is true of every process that gets the keys, so they speak before there are any.
    const facts = worstFacts([options.facts ?? selfCheckOfLeader().facts, ...(await crew.muster())])
    const enclave = await bootEnclave(options, facts)
    const verification = await openVerification(options, metrics)
    const verifying = await verifyForAll(options, { verification, metrics, crew })
    const { sessions, rounds } = verifying
    const { collateral } = verification
    answers = new Answers({ clock, enclave, collateral, crew, ...verifying })
    enclave.onRotate(() => crew.push({ type: 'keys', handed: enclave.handOver() }))
    const tenantSecret = (options.random ?? randomBytes)(32)
    const equipment = () => ({ handed: enclave.handOver(), tenantSecret, rounds: rounds.replay() })
    const port = await crew.serve({ equipment, facts })
    const parts = { options, crew, enclave, sessions, collateral, metrics, counters }
    return await running(parts, port)
  } catch (error) {
    await crew.close(0)
    throw error
  }
}

interface Sharing {
  readonly verification: Verification
  readonly metrics: Metrics
  readonly crew: Crew
}

/** The state of every provider as all workers see it. */
async function verifyForAll(
  { config, clock, log, jitter }: LeaderOptions,
  { verification, metrics, crew }: Sharing,
) {
  const rounds = new LeaderRounds({
    clock,
    collect: (provider) => collectEvidence(provider, verification.collecting),
    push: (round) => crew.push({ type: 'round', round }),
  })
  const own = { verify: rounds.verify, openChannel: () => NO_CHANNEL }
  const { sessions } = await openSessions({ config, clock, log, metrics, jitter }, own)
  return {
    rounds,
    sessions,
    attested: new Set(sessions.views().map(({ provider }) => provider.id)),
  }
}

interface Leading {
  readonly options: LeaderOptions
  readonly crew: Crew
  readonly enclave: Enclave
  readonly sessions: AttestedSessions<Closable>
  readonly collateral: Verification['collateral']
  readonly metrics: Metrics
  readonly counters: Counters
}

async function running(parts: Leading, port: number): Promise<Gateway> {
  const { options, crew, enclave, sessions, collateral } = parts
  const { config, clock, log } = options
  const state = { draining: false }
  const admin = await openAdmin({ config, log, view: viewOf(parts, state) })
  const tick = async (): Promise<void> => {
    crew.tick()
    const rotating = rotateIfDue({ enclave, clock, log })
    await Promise.all([rotating, sessions.refreshDue(), collateral.refreshDue()])
  }
  void tick()
  const timer = setInterval(() => void tick(), options.tickMs ?? 1000)
  const close = async (): Promise<void> => {
    state.draining = true
    clearInterval(timer)
    await crew.close(config.limits.drain_seconds)
    sessions.close()
    await admin?.close()
    log({ event: 'stopped' })
  }
  let closing: Promise<void> | null = null
  log({ event: 'started', port, providers: config.providers.size })
  return {
    url: urlOf(config.listen.host, port),
    adminUrl: admin?.url ?? null,
    keysetDigest: () => enclave.current.keysetDigest,
    certificate: () => enclave.current.tls.cert,
    tick,
    close: () => (closing ??= close()),
  }
}

const urlOf = (host: string, port: number): string =>
  `https://${host.includes(':') ? `[${host}]` : host}:${port}`

/** What the admin listener of several processes shows: their sums, and how providers stand here, where they are verified. */
function viewOf(
  { options, crew, enclave, sessions, metrics, counters }: Leading,
  state: { readonly draining: boolean },
): AdminView {
  const { clock, config } = options
  return {
    ready: () => {
      const workers = { configured: config.workers, serving: crew.serving.length }
      const known = isReady({ sessions, clock, enclave, running: state })
      const ready = known && workers.serving > 0
      const providers = providersJson(sessions.views())
      return { ready, body: { ...readyJson(ready, { enclave }), workers, providers } }
    },
    metrics: async () => {
      const asking = crew.serving.map(async (link) => {
        const answer = await link.ask({ kind: 'metrics' })
        if (answer?.kind === 'metrics') counters.said(link.number, answer.samples)
      })
      await Promise.all(asking)
      metrics.set('vouchgate_workers', crew.serving.length)
      metrics.set('vouchgate_keyset_not_after_seconds', enclave.current.notAfter)
      measureVerification({ sessions, metrics, clock })
      return counters.text(metrics)
    },
  }
}
