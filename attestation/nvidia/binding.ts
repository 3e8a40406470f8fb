import {
  concatBytes,
  decodeUtf8,
  equalBytes,
  fromHex,
  isZero,
  sha256,
  type Bytes,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { GenuineSnpReport } from '../sev-snp/verdict.ts'
import { GenuineQuote } from '../tdx/verdict.ts'
import { parseGpuEvidence } from './evidence.ts'
import { GenuineGpuEvidence } from './verdict.ts'

/**
 * How GPU evidence is tied to the CPU TEE that presents it, weakest first.
 *
 * - `none`: not at all.
 * - `shared-nonce`: CPU and GPU answered the same nonce. A host can ask a GPU elsewhere.
 * - `nonce-from-report-data`: the GPUs signed a value that the CPU quote commits to, so one that names the TEE's keys.
 * - `evidence-hash`: the CPU quote commits to the very evidence, which measured code collected.
 */
export type GpuBindingKind = 'none' | 'shared-nonce' | 'nonce-from-report-data' | 'evidence-hash'

/** What a provider's report data is made of, as far as its GPUs are concerned. */
export type GpuBindingRule =
  | { readonly kind: 'none' }
  /** NEAR AI, Phala: the client's nonce fills the second half of the report data, and is the GPUs' nonce. */
  | { readonly kind: 'shared-nonce' }
  /** Chutes (first half), SecretAI (second half): that half is the GPUs' nonce. */
  | { readonly kind: 'nonce-from-report-data'; readonly half: 'first' | 'second' }
  /**
   * Tinfoil: SHA-256 over `prefix` (the TEE's keys and the client's nonce) and the SHA-256 of each evidence
   * document fills the first half; the second is zero.
   */
  | {
      readonly kind: 'evidence-hash'
      readonly prefix: Bytes
      /** The exact bytes of the JSON values as received: GPUs, then switches where there are any. */
      readonly documents: readonly Bytes[]
    }

/** Proof that GPU evidence is bound to a genuine CPU TEE by a rule. Made only by `bindGpuEvidence`. */
export class GpuBinding {
  readonly #kind: GpuBindingKind

  constructor(kind: GpuBindingKind) {
    this.#kind = kind
  }

  get kind(): GpuBindingKind {
    return this.#kind
  }

  /** Whether the CPU quote commits to more than a nonce that anyone may know. */
  get strength(): 'none' | 'weak' | 'strong' {
    if (this.#kind === 'none') return 'none'
    return this.#kind === 'shared-nonce' ? 'weak' : 'strong'
  }

  static is(value: unknown): value is GpuBinding {
    return typeof value === 'object' && value !== null && #kind in value
  }
}

/**
 * Proves that the GPU evidence is bound to a CPU TEE in the way its provider does it. A relayed GPU stays possible
 * under every rule short of TDISP: even then, measured code must have asked its own GPUs.
 *
 * @throws EvidenceError `gpu_binding_mismatch`; TypeError for evidence that was not verified.
 */
export async function bindGpuEvidence(
  evidence: GenuineGpuEvidence,
  cpu: GenuineQuote | GenuineSnpReport,
  rule: GpuBindingRule,
): Promise<GpuBinding> {
  const isCpu = GenuineQuote.is(cpu) || GenuineSnpReport.is(cpu)
  if (!isCpu || !GenuineGpuEvidence.is(evidence)) throw new TypeError('not genuine evidence')
  if (!(await isBound(evidence, cpu.reportData, rule))) {
    throw new EvidenceError('gpu_binding_mismatch')
  }
  return new GpuBinding(rule.kind)
}

async function isBound(
  evidence: GenuineGpuEvidence,
  reportData: Bytes,
  rule: GpuBindingRule,
): Promise<boolean> {
  const nonce = fromHex(evidence.nonce)
  const [first, second] = [reportData.subarray(0, 32), reportData.subarray(32)]
  switch (rule.kind) {
    case 'none':
      return true
    case 'shared-nonce':
      return equalBytes(second, nonce)
    case 'nonce-from-report-data':
      return equalBytes(rule.half === 'first' ? first : second, nonce)
    case 'evidence-hash': {
      const digests = await Promise.all(rule.documents.map(sha256))
      const bound = await sha256(concatBytes(rule.prefix, ...digests))
      return equalBytes(first, bound) && isZero(second) && holdsSame(evidence, rule.documents)
    }
  }
}

/** The documents that were hashed are the ones the evidence was read from, device by device. */
const holdsSame = (evidence: GenuineGpuEvidence, documents: readonly Bytes[]): boolean =>
  evidence.wasReadFrom(
    documents.flatMap((document) => parseGpuEvidence(decodeUtf8(document)).items),
  )
