import { NO_OTHER_VENDORS } from '../support/collecting.ts'
import type { Clock, VerifiedEndpoint } from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { pcsCollateral } from '../../client/collateral.ts'
import type { AttestedProvider } from '../../src/config/index.ts'
import { attestedFetch, certificateFetch, webFetch } from '../../client/evidence-fetch.ts'
import { verifyProvider } from '../../src/providers/verify.ts'
import { startModelServer } from '../support/model-server.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { configFile, readConfig } from './harness.ts'

export interface VerifiedEndpoints {
  readonly provider: AttestedProvider
  /** Of one provider, each with a TLS key of its own. */
  readonly endpoints: readonly VerifiedEndpoint[]
}

/** Real ones: nothing but a verification makes them. The server behind them is gone. */
export async function verifiedEndpoints(clock: Clock, keys: number): Promise<VerifiedEndpoints> {
  const vendor = createTeeVendor({ now: clock.now() })
  const pcs = await vendor.pcsServer()
  const server = await startModelServer({ vendor, clock, lifetimeSeconds: 7 * 86_400 })
  const { origin } = server
  const plain = 'http://127.0.0.1:1'
  const origins = { model: origin, backup: origin, plain, plainBackup: plain }
  const { url: baseUrl, rootCrlUrl } = pcs
  const config = readConfig(configFile(vendor, { ...origins, pcs: baseUrl, rootCrl: rootCrlUrl }))
  const [provider] = config.providers.values()
  if (provider?.kind !== 'aci') throw new Error('expected an aci provider')
  const source = pcsCollateral({ baseUrl, rootCrlUrl, timeoutMs: 5000, clock })
  const options = {
    pcs: source,
    attested: attestedFetch(5000, clock),
    web: webFetch(5000, clock),
    gpus: async () => [],
    ...NO_OTHER_VENDORS,
    clock,
    random: randomBytes,
  }
  const endpoints: VerifiedEndpoint[] = []
  for (let key = 0; key < keys; key++) {
    endpoints.push((await verifyProvider(provider, options)).endpoints[0])
    server.rotate()
  }
  await server.close()
  await pcs.close()
  return { provider, endpoints }
}

export async function verifiedEndpoint(clock: Clock): Promise<VerifiedEndpoint> {
  const { endpoints } = await verifiedEndpoints(clock, 1)
  const [endpoint] = endpoints
  if (endpoint === undefined) throw new Error('expected an endpoint')
  return endpoint
}
