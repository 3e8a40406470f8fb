import {
  assembleCollateral,
  collateralKey,
  decodeUtf8,
  ISSUER_CHAIN_HEADERS,
  parseCollateral,
  parseJson,
  pcsRoutes,
  type Collateral,
  type PcsAnswer,
} from '@vouchgate/attestation'
import { createReadStream } from 'node:fs'
import { request } from 'undici'
import { discard, readBounded } from './bounded.ts'
import { ChannelError } from './errors.ts'

/** Finds the collateral that a quote needs. What it finds is verified with the quote, not here. */
export type CollateralSource = (quote: Uint8Array) => Promise<Collateral>

export const INTEL_PCS_URL = 'https://api.trustedservices.intel.com'
const INTEL_ROOT_CRL_URL = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
/** Intel serves the root CRL from another host; mirrors (PCCS) serve it at this path. */
const MIRROR_ROOT_CRL_PATH = '/sgx/certification/v4/rootcacrl'
const MAX_DOCUMENT = 1 << 20
const MAX_COLLATERAL_FILE = 8 << 20

export interface PcsOptions {
  /** Intel's service or a mirror with the same paths, e.g. `https://api.trustedservices.intel.com`. */
  readonly baseUrl: string
  /** Default Intel's host for Intel's service, the mirror's own path for any other. */
  readonly rootCrlUrl?: string | undefined
  readonly timeoutMs: number
}

/** Collateral from Intel's Provisioning Certification Service, API v4: four documents, fetched at once. */
export function pcsCollateral(options: PcsOptions): CollateralSource {
  const { timeoutMs } = options
  const base = options.baseUrl.replace(/\/+$/, '')
  const fallback = base === INTEL_PCS_URL ? INTEL_ROOT_CRL_URL : base + MIRROR_ROOT_CRL_PATH
  const rootCrlUrl = options.rootCrlUrl ?? fallback
  return async (quote) => {
    const routes = pcsRoutes(await collateralKey(quote))
    const signal = AbortSignal.timeout(timeoutMs)
    const [tcb, qeIdentity, pckCrl, rootCrl] = await Promise.all([
      fetchDocument(base + routes.tcb, signal, ISSUER_CHAIN_HEADERS.tcb),
      fetchDocument(base + routes.qeIdentity, signal, ISSUER_CHAIN_HEADERS.qeIdentity),
      fetchDocument(base + routes.pckCrl, signal, ISSUER_CHAIN_HEADERS.pckCrl),
      fetchDocument(rootCrlUrl, signal, null),
    ])
    return assembleCollateral({ tcb, qeIdentity, pckCrl, rootCrl: rootCrl.body })
  }
}

/** undici's errors carry the URL, so they are dropped. */
async function fetchDocument(
  url: string,
  signal: AbortSignal,
  chainHeader: string | null,
): Promise<PcsAnswer> {
  try {
    const { statusCode, headers, body } = await request(url, { signal })
    const issuerChain = chainHeader === null ? '' : headers[chainHeader]
    if (statusCode !== 200 || typeof issuerChain !== 'string') {
      discard(body)
      throw new ChannelError('collateral_unavailable')
    }
    const document = await readBounded(body, MAX_DOCUMENT)
    if (document === null) throw new ChannelError('collateral_too_large')
    return { body: document, issuerChain }
  } catch (error) {
    throw error instanceof ChannelError ? error : new ChannelError('collateral_unavailable')
  }
}

/** Collateral that was fetched before, as one JSON document. Its age is judged with the quote. */
export function fileCollateral(path: string): CollateralSource {
  return async () => {
    const bytes = await readFile(path)
    return parseCollateral(parseJson(decodeUtf8(bytes)))
  }
}

async function readFile(path: string): Promise<Uint8Array> {
  try {
    const bytes = await readBounded(createReadStream(path), MAX_COLLATERAL_FILE)
    if (bytes === null) throw new ChannelError('collateral_too_large')
    return bytes
  } catch (error) {
    throw error instanceof ChannelError ? error : new ChannelError('collateral_unavailable')
  }
}
