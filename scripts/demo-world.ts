import { parsePolicy, type Clock, type Policy } from '@vouchgate/attestation'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { parseConfig } from '../src/config/index.ts'
import { startGateway, type Gateway } from '../src/gateway.ts'
import { startModelServer, type ModelServer } from '../test/support/model-server.ts'
import type { PcsServer } from '../test/support/pcs-server.ts'
import { createTeeVendor, type TeeVendor } from '../test/support/tee-vendor.ts'

/** The measurements that the simulated TDs report. */
export const GATEWAY_MRTD = measurement('demo gateway image')
export const PROVIDER_MRTD = measurement('demo model server image')
export const MODEL = 'demo-model'
export const DEBUG_MODEL = 'demo-debug-model'
/** DEBUG and SEPT_VE_DISABLE. */
const DEBUG_ATTRIBUTES = '0100001000000000'

function measurement(label: string): string {
  return createHash('sha384').update(label).digest('hex')
}

/** Everything that was started, to be closed in reverse order. */
export class Cleanup {
  readonly #closers: (() => Promise<unknown>)[] = []

  add<T>(thing: T, close: (thing: T) => Promise<unknown>): T {
    this.#closers.push(() => close(thing))
    return thing
  }

  async run(): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed()) await close()
  }
}

/** Temporary files that the copy-paste examples name. */
export interface DemoFiles {
  readonly gatewayPolicy: string
  readonly providerPolicy: string
}

export interface VendorParts {
  readonly vendor: TeeVendor
  readonly pcs: PcsServer
}

export async function startVendor(clock: Clock, cleanup: Cleanup): Promise<VendorParts> {
  const vendor = createTeeVendor({ now: clock.now() })
  const pcs = cleanup.add(await vendor.pcsServer(), (server) => server.close())
  return { vendor, pcs }
}

export async function startProviders(
  { vendor }: VendorParts,
  clock: Clock,
  cleanup: Cleanup,
): Promise<{ honest: ModelServer; debuggable: ModelServer }> {
  const start = async (models: readonly string[], tdAttributes?: string): Promise<ModelServer> => {
    const fields = { mrtd: PROVIDER_MRTD, ...(tdAttributes === undefined ? {} : { tdAttributes }) }
    const server = await startModelServer({ vendor, clock, models, fields })
    return cleanup.add(server, (one) => one.close())
  }
  return {
    honest: await start([MODEL]),
    debuggable: await start([DEBUG_MODEL], DEBUG_ATTRIBUTES),
  }
}

const row = (mrtd: string, config_digest: string) => ({
  mrtd,
  rtmr0: 'any',
  rtmr1: 'any',
  rtmr2: 'any',
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest,
})

/** What a relying party of the demo writes: the test root by name, and the expected measurements. */
const policyDocument = ({ vendor }: VendorParts, mrtd: string, configDigest = 'any') => ({
  trusted_root: { test_pki_pem: vendor.rootPem },
  workload: [row(mrtd, configDigest)],
})

export interface GatewayParts {
  readonly gateway: Gateway
  readonly apiKey: string
  readonly configDigest: string
}

export interface GatewayInput {
  readonly parts: VendorParts
  readonly providers: { readonly honest: ModelServer; readonly debuggable: ModelServer }
  readonly clock: Clock
  readonly cleanup: Cleanup
}

/** The gateway as `serve` runs it, but for where its quotes come from. */
export async function startDemoGateway(input: GatewayInput): Promise<GatewayParts> {
  const { parts, clock, cleanup } = input
  const apiKey = `demo-${randomBytes(16).toString('hex')}`
  const config = parseConfig(configText(input, apiKey), { PROVIDER_KEY: 'demo' }, () => '')
  const gateway = await startGateway({
    config,
    source: parts.vendor.quoteSource({ mrtd: GATEWAY_MRTD }),
    clock,
    log: () => undefined,
  })
  cleanup.add(gateway, (running) => running.close())
  return { gateway, apiKey, configDigest: config.digest }
}

function configText({ parts, providers }: GatewayInput, apiKey: string): string {
  const policy = policyDocument(parts, PROVIDER_MRTD)
  const provider = (id: string, origin: string) => ({
    id,
    kind: 'aci',
    origin,
    api_key: { env: 'PROVIDER_KEY' },
    policy,
  })
  const model = (name: string, id: string) => ({
    name,
    confidentiality: 'attested',
    routes: [{ provider: id, model: name }],
  })
  const document = {
    listen: { port: 0 },
    // The source of quotes is given by the demo; this machine could not meet the launch contract either.
    enclave: { quote_source: 'dstack', self_check: 'report' },
    limits: { drain_seconds: 1 },
    collateral: { pcs_url: parts.pcs.url, root_crl_url: parts.pcs.rootCrlUrl },
    providers: [
      provider('honest', providers.honest.origin),
      provider('debuggable', providers.debuggable.origin),
    ],
    models: [model(MODEL, 'honest'), model(DEBUG_MODEL, 'debuggable')],
    keys: [{ id: 'demo', team: 'demo', sha256: sha256(apiKey), models: '*' }],
  }
  // A configuration allows no aliases.
  return stringify(document, { aliasDuplicateObjects: false })
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Writes both policies into a temporary folder and reads them as a relying party would. */
export async function writePolicies(
  parts: VendorParts,
  configDigest: string,
  cleanup: Cleanup,
): Promise<{ files: DemoFiles; gatewayPolicy: Policy; providerPolicy: Policy }> {
  const folder = cleanup.add(await mkdtemp(join(tmpdir(), 'vouchgate-demo-')), (path) =>
    rm(path, { recursive: true, force: true }),
  )
  const files = {
    gatewayPolicy: join(folder, 'gateway-policy.yaml'),
    providerPolicy: join(folder, 'provider-policy.yaml'),
  }
  const gateway = policyDocument(parts, GATEWAY_MRTD, configDigest)
  const provider = policyDocument(parts, PROVIDER_MRTD)
  await writeFile(files.gatewayPolicy, stringify(gateway))
  await writeFile(files.providerPolicy, stringify(provider))
  return { files, gatewayPolicy: parsePolicy(gateway), providerPolicy: parsePolicy(provider) }
}
