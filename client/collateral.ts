import {
  assembleCollateral,
  collateralKey,
  decodeUtf8,
  ISSUER_CHAIN_HEADERS,
  parseCollateral,
  parseJson,
  pcsRoutes,
  type Clock,
  type Collateral,
  type CollateralKey,
  type PcsAnswer,
} from '@vouchgate/attestation'
import { createReadStream } from 'node:fs'
import { request } from 'undici'
import { discard, readBounded } from './bounded.ts'
import { ChannelError, type ChannelErrorCode } from './errors.ts'
import { retryAfter } from './retry-after.ts'

/** Finds the collateral that a quote needs. What it finds is verified with the quote, not here. */
export type CollateralSource = (quote: Uint8Array) => Promise<Collateral>

/** Chooses between offered collateral and what the caller knows. */
export type CollateralWeigh = (quote: Uint8Array, offered: Collateral) => Promise<Collateral>

/** Fetches the collateral of a platform. What it fetches is verified by the caller. */
export type CollateralFetch = (key: CollateralKey) => Promise<Collateral>

export const INTEL_PCS_URL = 'https://api.trustedservices.intel.com'
export const INTEL_ROOT_CRL_URL =
  'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
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
  /** By which a date is a wait, where the service gives one. */
  readonly clock: Clock
}

/**
 * Collateral from Intel's Provisioning Certification Service, API v4, or a mirror of it: four documents, fetched
 * at once. Rejects with `ChannelError`, or `EvidenceError` where an answer cannot be read.
 */
export function pcsFetch(options: PcsOptions): CollateralFetch {
  const { timeoutMs, clock } = options
  const base = options.baseUrl.replace(/\/+$/, '')
  const fallback = base === INTEL_PCS_URL ? INTEL_ROOT_CRL_URL : base + MIRROR_ROOT_CRL_PATH
  const rootCrlUrl = options.rootCrlUrl ?? fallback
  return async (key) => {
    const routes = pcsRoutes(key)
    const signal = AbortSignal.timeout(timeoutMs)
    const ask = (url: string, expected: Expected) => fetchDocument(url, { signal, clock }, expected)
    const [tcb, qeIdentity, pckCrl, rootCrl] = await Promise.all([
      ask(base + routes.tcb, { header: ISSUER_CHAIN_HEADERS.tcb, byFmspc: true }),
      ask(base + routes.qeIdentity, { header: ISSUER_CHAIN_HEADERS.qeIdentity }),
      ask(base + routes.pckCrl, { header: ISSUER_CHAIN_HEADERS.pckCrl }),
      ask(rootCrlUrl, {}),
    ])
    return assembleCollateral({ tcb, qeIdentity, pckCrl, rootCrl: rootCrl.body })
  }
}

/** The same for the platform that a quote names. */
export function pcsCollateral(options: PcsOptions): CollateralSource {
  const fetch = pcsFetch(options)
  return async (quote) => fetch(await collateralKey(quote))
}

interface Asking {
  readonly signal: AbortSignal
  readonly clock: Clock
}

interface Expected {
  /** That carries the issuer chain. */
  readonly header?: string
  /** Whether the service answers 400 or 404 for a platform that it does not know. */
  readonly byFmspc?: boolean
}

/** undici's errors carry the URL, so they are dropped. */
async function fetchDocument(
  url: string,
  { signal, clock }: Asking,
  expected: Expected,
): Promise<PcsAnswer> {
  try {
    const { statusCode, headers, body } = await request(url, { signal })
    const issuerChain = expected.header === undefined ? '' : headers[expected.header]
    if (statusCode !== 200 || typeof issuerChain !== 'string') {
      discard(body)
      throw statusError(statusCode, retryAfter(headers, clock.now()), expected)
    }
    const document = await readBounded(body, MAX_DOCUMENT)
    if (document === null) throw new ChannelError('collateral_too_large')
    return { body: document, issuerChain }
  } catch (error) {
    throw error instanceof ChannelError ? error : new ChannelError('collateral_unavailable')
  }
}

/** The statuses of Intel's API v4. */
const STATUSES: Readonly<Record<number, ChannelErrorCode>> = {
  410: 'collateral_withdrawn',
  429: 'collateral_rate_limited',
}

function statusError(
  status: number,
  retryAfterSeconds: number | null,
  { byFmspc = false }: Expected,
): ChannelError {
  const unknown = byFmspc && (status === 400 || status === 404)
  if (unknown) return new ChannelError('collateral_platform_unknown')
  const other = status >= 500 ? 'collateral_service_failed' : 'collateral_unavailable'
  return new ChannelError(STATUSES[status] ?? other, retryAfterSeconds)
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
