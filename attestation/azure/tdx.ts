import { equalBytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { Policy } from '../policy.ts'
import { acceptQuote } from '../tdx/accept.ts'
import type { AcceptedQuote, GenuineQuote } from '../tdx/verdict.ts'
import { verifyQuote, type QuoteInput } from '../tdx/verify.ts'
import { hclReportData, parseHclReport, parseHclRuntime, type HclRuntimeClaims } from './hcl.ts'
import { checkPcrs, type PcrPolicy } from './pcrs.ts'
import { verifyTpmQuote, type PcrValues, type TpmQuote } from './tpm.ts'

/** The quote is the one that Azure's IMDS made from the TDREPORT inside the HCL report. */
export interface AzureTdxInput extends QuoteInput {
  /** The content of vTPM NV index 0x01400001. */
  readonly hclReport: Uint8Array
  readonly tpmQuote: TpmQuote
  /** What the verifier asked to be quoted; the recorded one where old evidence is appraised again. */
  readonly nonce: Uint8Array
}

interface AzureTdxFacts {
  readonly quote: GenuineQuote
  readonly runtime: HclRuntimeClaims
  readonly pcrs: PcrValues
}

/** An Azure TD whose quote, runtime data and vTPM quote are genuine and belong together. Made only by `verifyAzureTdx`. */
export class GenuineAzureTdx {
  readonly #facts: AzureTdxFacts

  constructor(facts: AzureTdxFacts) {
    this.#facts = Object.freeze(facts)
  }

  /** Its measurements are of the paravisor; the guest's own boot is in the PCRs. */
  get quote(): GenuineQuote {
    return this.#facts.quote
  }

  get runtime(): HclRuntimeClaims {
    return this.#facts.runtime
  }

  get pcrs(): PcrValues {
    return this.#facts.pcrs
  }

  static is(value: unknown): value is GenuineAzureTdx {
    return typeof value === 'object' && value !== null && #facts in value
  }
}

/**
 * Proves that a vTPM quote was made for this nonce inside a genuine TD of Azure's kind.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifyAzureTdx(input: AzureTdxInput): Promise<GenuineAzureTdx> {
  // 1. The bytes are an HCL report about a TD.
  const hcl = parseHclReport(input.hclReport)
  if (hcl.tee !== 'tdx') throw new EvidenceError('hcl_unsupported')
  // 2. The quote is genuine. The TDREPORT inside is not looked at: only its own machine could check it.
  const quote = await verifyQuote(input)
  // 3. The quote commits to the runtime data, and so to the vTPM's attestation key.
  if (!equalBytes(quote.reportData, await hclReportData(hcl))) {
    throw new EvidenceError('hcl_runtime_data_mismatch')
  }
  const runtime = parseHclRuntime(hcl)
  // 4. That key signed these PCR values and this nonce.
  const pcrs = await verifyTpmQuote(input.tpmQuote, runtime.attestationKey, input.nonce)
  return new GenuineAzureTdx({ quote, runtime, pcrs })
}

/**
 * Decides whether a genuine Azure TD is a wanted one.
 *
 * @throws PolicyError naming the rule, what was seen and what would have passed.
 */
export function acceptAzureTdx(
  genuine: GenuineAzureTdx,
  policy: Policy,
  pcrs: PcrPolicy,
): AcceptedQuote {
  if (!GenuineAzureTdx.is(genuine)) throw new TypeError('not a GenuineAzureTdx')
  const accepted = acceptQuote(genuine.quote, policy)
  checkPcrs(genuine.pcrs, pcrs)
  return accepted
}
