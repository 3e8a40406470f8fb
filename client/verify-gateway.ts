import {
  DEFAULT_POLICY,
  toHex,
  verifyEndpoint,
  type Bytes,
  type Clock,
  type Policy,
  type VerifiedAciService,
} from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { collectAci } from './collect.ts'
import { attestedFetch } from './evidence-fetch.ts'
import type { Recorder } from './recorder.ts'
import type { CollateralSource } from './collateral.ts'

export interface VerifyOptions {
  /** Must name expected measurements, or say `workload: any` itself. */
  readonly policy: Policy
  /** Asked where the gateway's report carries no collateral. */
  readonly pcs: CollateralSource
  readonly clock: Clock
  /** Bounds connecting and fetching the report together. Default 30 s: quotes are slow on real hardware. */
  readonly timeoutMs?: number
  /** Notes what is fetched. */
  readonly recorder?: Recorder
}

export interface VerifiedGateway {
  readonly endpoint: VerifiedAciService
  /** The bytes that were judged; keep them, and anyone can repeat the verdict offline. */
  readonly evidence: Bytes
}

const DEFAULT_VERIFY_TIMEOUT_MS = 30_000

/** The origin of a gateway's URL. Throws `TypeError` for anything but https. */
export function originOf(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null || parsed.protocol !== 'https:') {
    throw new TypeError('a gateway is reached at https://host[:port]')
  }
  return parsed.origin
}

/**
 * Verifies the gateway behind a URL over a fresh nonce (ACI §9.1).
 *
 * @throws EvidenceError, PolicyError, ChannelError; TypeError for the default policy, which names no
 * workload without anyone having written so.
 */
export async function verifyGateway(url: string, options: VerifyOptions): Promise<VerifiedGateway> {
  const { policy, pcs, clock, recorder, timeoutMs = DEFAULT_VERIFY_TIMEOUT_MS } = options
  if (policy === DEFAULT_POLICY) throw new TypeError('a policy must name a workload, or `any`')
  const nonce = toHex(randomBytes(32))
  const fetch = attestedFetch(timeoutMs, clock)
  const evidence = await collectAci({
    origin: originOf(url),
    nonce,
    pcs: recorder?.collateral(pcs) ?? pcs,
    fetch: recorder?.fetch(fetch) ?? fetch,
    clock,
  })
  const endpoint = await verifyEndpoint({ evidence, challenge: nonce, now: clock.now(), policy })
  return { endpoint, evidence }
}
