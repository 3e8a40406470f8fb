import OpenAI from 'openai'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterEach } from 'vitest'
import { startGateway } from '../../src/gateway.ts'
import { pinoLogger } from '../../src/log.ts'
import { fakeClock } from '../support/clock.ts'
import {
  startKdsService,
  startReleaseService,
  startTinfoilEnclave,
  type TinfoilEnclave,
} from '../support/tinfoil-service.ts'
import {
  attestAs,
  gpu,
  hardwareRelease,
  imageRelease,
  policyDocument,
  REPOSITORY,
  snp,
  vendor,
  type Enclaved,
} from '../support/tinfoil-world.ts'
import { KEY, readConfig, sha256Hex } from './harness.ts'

const HARDWARE = 'tinfoilsh/hardware-measurements'

export interface Options {
  readonly platform?: 'tdx' | 'sev-snp'
  readonly enclaved?: Enclaved
  readonly policy?: object
  /** Before the gateway starts, and so before the first verification. */
  readonly broken?: (services: Services) => void | Promise<void>
  /** Where captures of verifications are kept. */
  readonly recordTo?: string
}

export interface Services {
  readonly enclave: TinfoilEnclave
  readonly other: TinfoilEnclave
  readonly releases: Awaited<ReturnType<typeof startReleaseService>>
  readonly kds: Awaited<ReturnType<typeof startKdsService>>
}

const running: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of running.splice(0).toReversed()) await close()
})
const closing = <T extends { close(): Promise<unknown> }>(service: T): T => {
  running.push(() => service.close())
  return service
}

/** A gateway before one enclave, over real sockets; `other` is a second enclave of the same release. */
export async function startWorld(options: Options = {}) {
  const { platform = 'tdx' } = options
  const clock = fakeClock()
  const attest = attestAs({ platform, ...options.enclaved })
  const gpus = platform === 'tdx' ? [gpu] : []
  const enclave = closing(await startTinfoilEnclave({ clock, platform, attest, gpus }))
  const other = closing(await startTinfoilEnclave({ clock, platform, attest, gpus }))
  const releases = closing(await startReleaseService())
  releases.releases.set(REPOSITORY, imageRelease()).set(HARDWARE, hardwareRelease())
  const kds = closing(await startKdsService(snp))
  const pcs = closing(await vendor.pcsServer())
  await options.broken?.({ enclave, other, releases, kds })
  const policy = {
    ...policyDocument,
    ...(platform === 'tdx' ? {} : { gpu: 'unchecked' }),
    ...options.policy,
  }
  const provider = { kind: 'tinfoil', origin: enclave.origin, policy, refresh_seconds: 600 }
  const logs: string[] = []
  const gateway = closing(
    await startGateway({
      config: readConfig({
        listen: { host: '127.0.0.1', port: 0 },
        enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
        collateral: { pcs_url: pcs.url, root_crl_url: pcs.rootCrlUrl },
        amd: { kds_url: kds.url },
        releases: { url: releases.url },
        limits: { connect_seconds: 1, drain_seconds: 5 },
        providers: [{ id: 'enclave', api_key: { env: 'UPSTREAM_KEY' }, ...provider }],
        models: [
          {
            name: 'private',
            confidentiality: 'attested',
            routes: [{ provider: 'enclave', model: 'test-model' }],
          },
        ],
        keys: [{ id: 'tester', team: 'testers', sha256: sha256Hex(KEY), models: '*' }],
      }),
      source: vendor.quoteSource(),
      clock,
      log: pinoLogger({ write: (line) => void logs.push(line) }),
      facts: {},
      jitter: () => 0,
      tickMs: 1_000_000,
      ...(options.recordTo === undefined ? {} : { recordTo: options.recordTo }),
    }),
  )
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  running.push(() => agent.destroy())
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: KEY,
    maxRetries: 0,
    fetchOptions: { dispatcher: agent },
    fetch: Object.assign(undiciFetch),
  })
  return { clock, enclave, other, releases, kds, logs, gateway, client, agent, policy }
}

export type World = Awaited<ReturnType<typeof startWorld>>
