import {
  acceptQuote,
  INTEL_SGX_ROOT,
  isVerificationError,
  parseJson,
  parseQuote,
  parseTime,
  testPkiRoot,
  verifyQuote,
  type EvidenceErrorCode,
  type JsonValue,
  type PolicyErrorCode,
  type QuoteInput,
} from '@vouchgate/attestation'
import { z } from 'zod'
import { NO_CHAIN, type Published } from './published.ts'
import {
  judged,
  readInput,
  rejection,
  UNSPECIFIED,
  type Beside,
  type Stage,
  type Verdict,
} from './stage.ts'
import { collateralOf, policyOf, tdxInputSchema, type TdxInput } from './tdx-input.ts'
import { tdxOutputs } from './tdx-outputs.ts'
import { brokenPin, brokenSpecRule } from './tdx-rules.ts'

/** What our refusals are called by the contract; anything else is {@link UNSPECIFIED}. */
const REJECTIONS: Partial<Record<EvidenceErrorCode | PolicyErrorCode, string>> = {
  quote_malformed: 'QUOTE_FORMAT_UNSUPPORTED',
  quote_trailing_bytes: 'QUOTE_FORMAT_UNSUPPORTED',
  quote_version_unsupported: 'QUOTE_FORMAT_UNSUPPORTED',
  quote_tee_type_unsupported: 'QUOTE_FORMAT_UNSUPPORTED',
  quote_body_unsupported: 'QUOTE_FORMAT_UNSUPPORTED',
  quote_key_type_unsupported: 'ATTESTATION_KEY_TYPE_UNSUPPORTED',
  qe_vendor_unknown: 'QE_VENDOR_UNKNOWN',
  certification_data_unsupported: 'PCK_CHAIN_INCOMPLETE',
  certificate_chain_length: 'PCK_CHAIN_INCOMPLETE',
  certificate_malformed: 'PCK_CHAIN_INVALID',
  certificate_name_mismatch: 'PCK_CHAIN_INVALID',
  certificate_role_invalid: 'PCK_CHAIN_INVALID',
  certificate_signature_invalid: 'PCK_CHAIN_INVALID',
  certificate_critical_extension: 'PCK_CHAIN_INVALID',
  pck_extension_malformed: 'PCK_CHAIN_INVALID',
  certificate_root_untrusted: 'ROOT_CA_UNTRUSTED',
  certificate_not_valid_now: 'PCK_EXPIRED',
  certificate_revoked: 'PCK_REVOKED',
  crl_malformed: 'PCK_CHAIN_INVALID',
  crl_issuer_mismatch: 'PCK_CHAIN_INVALID',
  crl_signature_invalid: 'PCK_CHAIN_INVALID',
  crl_extension_unsupported: 'PCK_CHAIN_INVALID',
  crl_not_valid_now: 'PCK_CRL_EXPIRED',
  tcb_info_signature_invalid: 'TCB_INFO_SIGNATURE_INVALID',
  tcb_info_not_valid_now: 'TCB_INFO_EXPIRED',
  tcb_info_wrong_platform: 'PCK_FMSPC_MISMATCH',
  qe_identity_signature_invalid: 'QE_IDENTITY_SIGNATURE_INVALID',
  qe_identity_not_valid_now: 'QE_IDENTITY_EXPIRED',
  qe_identity_wrong_enclave: 'QE_IDENTITY_VERSION_INVALID',
  qe_report_signature_invalid: 'QE_REPORT_SIGNATURE_INVALID',
  qe_report_mismatch: 'QE_IDENTITY_FIELD_MISMATCH',
  qe_key_binding_invalid: 'AK_BINDING_INVALID',
  quote_signature_invalid: 'QUOTE_SIGNATURE_INVALID',
  tcb_status_not_accepted: 'QV_RESULT_NOT_ACCEPTED_BY_POLICY',
  tcb_evaluation_too_old: 'TCB_EVAL_DATA_NUMBER_TOO_LOW',
}

const NAMES: ReadonlyMap<string, string> = new Map(Object.entries(REJECTIONS))

export const TDX: Stage = {
  name: 'verify-attestation-tdx',
  judge: (document: JsonValue, beside) => {
    const input = readInput(tdxInputSchema, document)
    return judged(
      () => judge(input, beside),
      async ({ code, step }) => {
        if (step === 'tcb_signing_chain') return 'TCB_INFO_CHAIN_INVALID'
        if (code === 'crl_not_valid_now') return expired(input, beside.published)
        if (
          code === 'qe_identity_wrong_enclave' &&
          qeIdentityId(input, beside.published) !== 'TD_QE'
        ) {
          return 'QE_IDENTITY_ID_INVALID'
        }
        return NAMES.get(code) ?? UNSPECIFIED
      },
    )
  },
}

async function judge(input: TdxInput, { note, published }: Beside): Promise<Verdict> {
  const bytes = quoteOf(input, note)
  const { body } = parseQuote(bytes)
  if (body.tee !== 'tdx') return rejection('WRONG_TEE_TYPE')
  const given = await quoteInput(input, bytes, published)
  const { tcb_info_issuer_chain, qe_identity_issuer_chain } = given.collateral
  if ([tcb_info_issuer_chain, qe_identity_issuer_chain].includes('')) note(NO_CHAIN)
  const quote = await verifyQuote(given)
  const seen = { quote, report: body.report, bytes }
  const broken = brokenSpecRule(seen)
  if (broken !== null) return rejection(broken)
  // Without TCB evaluation every signature, certificate, CRL and date is checked all the same, and every
  // status that a policy can accept is accepted. A quote that matches no level passes no policy of ours: for
  // it alone the policy is left out, which the contract's own sample needs.
  const evaluated = input.policy.tcb_evaluation_required
  if (evaluated || quote.tcb.status !== 'TcbNotSupported') acceptQuote(quote, policyOf(input))
  if (!evaluated) note('accepted whatever the TCB status, as the input asks')
  const unmet = brokenPin(input.policy, seen)
  if (unmet !== null) return rejection(unmet)
  if (quote.root !== 'intel') note('judged under a root of the input, not under Intel')
  return { accepted: true, outputs: tdxOutputs(seen) }
}

const quoteInput = async (
  input: TdxInput,
  quote: Uint8Array,
  published: Published,
): Promise<QuoteInput> => {
  const pem = input.collateral.intel_root_ca_pem
  return {
    quote,
    collateral: collateralOf(input, published),
    now: input.expiration_check_date_unix,
    trustedRoot: pem === undefined ? INTEL_SGX_ROOT : await testPkiRoot(pem),
  }
}

/**
 * The quote by the lengths that it states itself. The contract's own sample is followed by text, which the
 * library refuses; it is left out here, where that is said, and never there.
 */
function quoteOf({ quote_b64: bytes }: TdxInput, note: (text: string) => void): Uint8Array {
  try {
    parseQuote(bytes)
    return bytes
  } catch (error) {
    if (!isVerificationError(error) || error.code !== 'quote_trailing_bytes') throw error
  }
  const length = statedLength(bytes)
  note(`left out ${bytes.length - length} bytes after the quote`)
  return bytes.subarray(0, length)
}

const HEADER = 48
const TEE_TDX = 0x81
const TD_REPORT = 584
const ENCLAVE_REPORT = 384
const BODY_DESCRIPTOR = 6

/** Of a quote that the library has read up to the end of its signature data. */
function statedLength(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fixed = view.getUint32(4, true) === TEE_TDX ? TD_REPORT : ENCLAVE_REPORT
  const isV5 = view.getUint16(0, true) === 5
  const body = isV5 ? BODY_DESCRIPTOR + view.getUint32(HEADER + 2, true) : fixed
  return HEADER + body + 4 + view.getUint32(HEADER + body, true)
}

const datedDocument = z.object({
  id: z.string(),
  nextUpdate: z.string().transform(parseTime),
})

/** What a document says of itself, for naming a refusal and nothing else. Null where it cannot be read. */
function read(text: string): z.output<typeof datedDocument> | null {
  try {
    return datedDocument.parse(parseJson(text))
  } catch {
    return null
  }
}

const qeIdentityId = (input: TdxInput, published: Published): string | undefined =>
  read(collateralOf(input, published).qe_identity)?.id

/** Which of the collateral's dates the contract names, where a CRL and perhaps more is out of date. */
async function expired(input: TdxInput, published: Published): Promise<string> {
  const verification = await quoteInput(
    input,
    quoteOf(input, () => undefined),
    published,
  )
  const { collateral, now } = verification
  const isPast = (text: string): boolean => (read(text)?.nextUpdate ?? now) < now
  if (isPast(collateral.tcb_info)) return 'TCB_INFO_EXPIRED'
  if (isPast(collateral.qe_identity)) return 'QE_IDENTITY_EXPIRED'
  // The library judges the root CRL first. With another CRL in the place of the second it says the same
  // again only where the root CRL was meant.
  const swapped = {
    ...verification,
    collateral: { ...collateral, pck_crl: collateral.root_ca_crl },
  }
  const again = await verifyQuote(swapped).catch((error: unknown) => error)
  const isRoot = isVerificationError(again) && again.code === 'crl_not_valid_now'
  return isRoot ? 'ROOT_CRL_EXPIRED' : 'PCK_CRL_EXPIRED'
}
