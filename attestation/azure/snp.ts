import { equalBytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { acceptSnpReport } from '../sev-snp/accept.ts'
import type { SnpPolicy } from '../sev-snp/policy.ts'
import type { AcceptedSnpReport, GenuineSnpReport } from '../sev-snp/verdict.ts'
import { verifySnpReport, type SnpInput } from '../sev-snp/verify.ts'
import {
  hclReportData,
  parseHclReport,
  parseHclRuntime,
  type HclReport,
  type HclRuntimeClaims,
} from './hcl.ts'
import { checkPcrs, type PcrPolicy } from './pcrs.ts'
import { verifyTpmQuote, type PcrValues, type TpmQuote } from './tpm.ts'

export interface AzureSnpInput extends Omit<SnpInput, 'report'> {
  /** The content of vTPM NV index 0x01400001. */
  readonly hclReport: Uint8Array
  readonly tpmQuote: TpmQuote
  /** What the verifier asked to be quoted; the recorded one where old evidence is appraised again. */
  readonly nonce: Uint8Array
}

interface AzureSnpFacts {
  readonly snp: GenuineSnpReport
  readonly runtime: HclRuntimeClaims
  readonly pcrs: PcrValues
}

/**
 * An Azure confidential VM whose hardware report, runtime data and vTPM quote are genuine and belong
 * together. Made only by `verifyAzureSnp`.
 */
export class GenuineAzureSnp {
  readonly #facts: AzureSnpFacts

  constructor(facts: AzureSnpFacts) {
    this.#facts = Object.freeze(facts)
  }

  /** Its measurement is of the paravisor; the guest's own boot is in the PCRs. */
  get snp(): GenuineSnpReport {
    return this.#facts.snp
  }

  get runtime(): HclRuntimeClaims {
    return this.#facts.runtime
  }

  get pcrs(): PcrValues {
    return this.#facts.pcrs
  }

  static is(value: unknown): value is GenuineAzureSnp {
    return typeof value === 'object' && value !== null && #facts in value
  }
}

/**
 * Proves that a vTPM quote was made for this nonce inside a genuine SEV-SNP VM of Azure's kind.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifyAzureSnp(input: AzureSnpInput): Promise<GenuineAzureSnp> {
  const { leaf, chain, crl, now, roots } = input
  // 1. The bytes are an HCL report about an SNP guest.
  const hcl = parseHclReport(input.hclReport)
  if (hcl.tee !== 'snp') throw new EvidenceError('hcl_unsupported')
  // 2. The hardware report inside is genuine.
  const snp = await verifySnpReport({ report: hcl.hardwareReport, leaf, chain, crl, now, roots })
  // 3. It commits to the runtime data, and so to the vTPM's attestation key.
  await checkRuntimeData(hcl, snp)
  const runtime = parseHclRuntime(hcl)
  // 4. That key signed these PCR values and this nonce.
  const pcrs = await verifyTpmQuote(input.tpmQuote, runtime.attestationKey, input.nonce)
  return new GenuineAzureSnp({ snp, runtime, pcrs })
}

async function checkRuntimeData(hcl: HclReport, snp: GenuineSnpReport): Promise<void> {
  if (!equalBytes(snp.reportData, await hclReportData(hcl))) {
    throw new EvidenceError('hcl_runtime_data_mismatch')
  }
}

/**
 * Decides whether a genuine Azure VM is a wanted one.
 *
 * @throws PolicyError naming the rule, what was seen and what would have passed.
 */
export function acceptAzureSnp(
  genuine: GenuineAzureSnp,
  policy: SnpPolicy,
  pcrs: PcrPolicy,
): AcceptedSnpReport {
  if (!GenuineAzureSnp.is(genuine)) throw new TypeError('not a GenuineAzureSnp')
  const accepted = acceptSnpReport(genuine.snp, policy)
  checkPcrs(genuine.pcrs, pcrs)
  return accepted
}
