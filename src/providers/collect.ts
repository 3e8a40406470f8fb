import type { Bytes, Clock, GpuPolicy } from '@vouchgate/attestation'
import type { CollateralSource, CollateralWeigh } from '../../client/collateral.ts'
import type { AmdSource } from '../amd/kds.ts'
import type { CertificateFetch, EvidenceFetch } from '../../client/evidence-fetch.ts'
import type { AttestedProvider } from '../config/index.ts'
import type { ReleaseSource } from './releases.ts'

/** What a verification of GPUs needs beside their evidence, by the names of `NVIDIA_DOCUMENTS`. */
export type NamedDocuments = readonly (readonly [name: string, document: Bytes])[]

interface GpuQuestion {
  /** In any shape that `parseGpuEvidence` reads. */
  readonly json: string
  /** 32 bytes: what the devices were asked with. */
  readonly nonce: Bytes
  readonly policy: GpuPolicy | 'unchecked'
}

/** Reference values and revocation, or the word of NVIDIA's service, as the policy wants them. */
export type GpuDocuments = (question: GpuQuestion) => Promise<NamedDocuments>

export interface CollectDeps {
  /** Fresh, 64 lower-case hex digits. */
  readonly nonce: string
  readonly clock: Clock
  /** The value of the `authorization` header at the provider, for routes that ask for one. */
  readonly authorization: string
  /** From origins that attest their own key. */
  readonly attested: EvidenceFetch
  /** From everybody else. */
  readonly web: EvidenceFetch
  /** What a TLS server shows of itself. */
  readonly certificate: CertificateFetch
  readonly pcs: CollateralSource
  readonly weigh?: CollateralWeigh | undefined
  readonly gpus: GpuDocuments
  readonly amd: AmdSource
  readonly releases: ReleaseSource
}

/**
 * The half of a kind of provider that does the I/O: everything one verification consumes, as the bytes that
 * `appraiseEvidence` judges now and anyone can judge again later. Nothing is verified here.
 *
 * @throws ChannelError where it cannot be collected, EvidenceError where it cannot be read.
 */
export type Collect = (provider: AttestedProvider, deps: CollectDeps) => Promise<Bytes>
