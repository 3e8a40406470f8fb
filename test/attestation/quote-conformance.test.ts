import {
  acceptQuote,
  DEFAULT_POLICY,
  INTEL_SGX_ROOT,
  isVerificationError,
  parseCollateral,
  testPkiRoot,
  verifyQuote,
  type GenuineQuote,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { hasVectors, vectorBytes, vectorCases, vectorJson, vectorText } from '../support/vectors.ts'

/**
 * What the library itself says of the contract's TDX cases, before any policy of theirs: the code of a
 * refusal, or the TCB status of a genuine quote. The cases with their policies are in
 * `test/cli/conformance.test.ts`.
 */
const ANSWERS: Readonly<Record<string, string>> = {
  '300': 'TcbNotSupported',
  '310': 'quote_tee_type_unsupported',
  '311': 'quote_malformed',
  '312': 'quote_key_type_unsupported',
  '313': 'qe_vendor_unknown',
  '314': 'quote_malformed',
  '315': 'quote_malformed',
  '320': 'certificate_signature_invalid',
  '321': 'certificate_signature_invalid',
  '322': 'certificate_root_untrusted',
  '323': 'certificate_malformed',
  '324': 'certificate_not_valid_now',
  '325': 'TcbNotSupported',
  '326': 'crl_signature_invalid',
  '327': 'crl_signature_invalid',
  '328': 'crl_not_valid_now',
  '329': 'crl_not_valid_now',
  '330': 'quote_signature_invalid',
  '331': 'quote_signature_invalid',
  '332': 'qe_report_signature_invalid',
  '333': 'quote_signature_invalid',
  '334': 'certificate_revoked',
  '335': 'certificate_root_untrusted',
  '336': 'qe_report_mismatch',
  '337': 'qe_report_mismatch',
  '338': 'qe_identity_not_valid_now',
  '340': 'tcb_info_signature_invalid',
  '341': 'crl_not_valid_now',
  '342': 'qe_identity_signature_invalid',
  '343': 'crl_not_valid_now',
  '344': 'tcb_info_signature_invalid',
  '345': 'qe_identity_signature_invalid',
  '346': 'UpToDate',
  '347': 'qe_key_binding_invalid',
  '348': 'qe_identity_wrong_enclave',
  '349': 'qe_identity_wrong_enclave',
  '350': 'UpToDate',
  '360': 'SWHardeningNeeded',
  '361': 'ConfigurationNeeded',
  '362': 'ConfigurationAndSWHardeningNeeded',
  '363': 'OutOfDate',
  '364': 'OutOfDateConfigurationNeeded',
  '365': 'SWHardeningNeeded',
  '368': 'Revoked',
  '390': 'UpToDate',
  '400': 'TcbNotSupported',
  '401': 'UpToDate',
  '402': 'UpToDate',
  '403': 'UpToDate',
  '404': 'UpToDate',
  '405': 'UpToDate',
  '410': 'TcbNotSupported',
  '412': 'UpToDate',
  '413': 'UpToDate',
  '420': 'TcbNotSupported',
  '421': 'TcbNotSupported',
  '430': 'TcbNotSupported',
  '440': 'TcbNotSupported',
  '450': 'TcbNotSupported',
  '460': 'TcbNotSupported',
  '470': 'TcbNotSupported',
  '471': 'TcbNotSupported',
  '472': 'TcbNotSupported',
  '480': 'TcbNotSupported',
  '490': 'TcbNotSupported',
}

/** Cases that the contract accepts under a policy of its own, and the default policy does not. */
const STRICTER: Readonly<Record<string, string>> = {
  // The contract leaves the TCB levels of this one out: none matches.
  '300': 'tcb_status_not_accepted',
  // It asks for SEPT_VE_DISABLE by a pin alone, and accepts four statuses by default.
  '350': 'sept_ve_not_disabled',
  '360': 'tcb_status_not_accepted',
  '361': 'tcb_status_not_accepted',
  '362': 'tcb_status_not_accepted',
}

const caseSchema = z.object({
  verification_time: z.number(),
  synthetic_root: z.boolean(),
  expected: z.object({ accepted: z.boolean() }),
})

const HEADER_AND_BODY = 48 + 584

/** The contract's sample is followed by text, which is refused; here the rest of it is what is judged. */
function withoutText(quote: Uint8Array): Uint8Array {
  const lengthEnd = HEADER_AND_BODY + 4
  if (quote.length < lengthEnd) return quote
  const view = new DataView(quote.buffer, quote.byteOffset)
  return quote.subarray(0, lengthEnd + view.getUint32(HEADER_AND_BODY, true))
}

async function verify(name: string): Promise<GenuineQuote> {
  const given = caseSchema.parse(vectorJson('tdx', name, 'expected.json'))
  return verifyQuote({
    quote: withoutText(vectorBytes('tdx', name, 'quote.bin')),
    collateral: parseCollateral(vectorJson('tdx', name, 'collateral.json')),
    now: given.verification_time,
    trustedRoot: given.synthetic_root
      ? await testPkiRoot(vectorText('tdx', name, 'trusted_root.pem'))
      : INTEL_SGX_ROOT,
  })
}

const codeOf = (error: unknown): string => {
  // A crash is not a rejection.
  if (isVerificationError(error)) return error.code
  throw error
}

const verdict = (quote: GenuineQuote): string => {
  try {
    acceptQuote(quote, DEFAULT_POLICY)
    return 'accepted'
  } catch (error) {
    return codeOf(error)
  }
}

const numberOf = (name: string): string => name.slice('conf-'.length, 'conf-'.length + 3)
const cases = vectorCases('tdx', 'conf-', ['quote.bin', 'collateral.json', 'expected.json'])

describe.skipIf(!hasVectors)('the contract’s TDX cases (65 of 65)', () => {
  test.for(cases)('%s', async (name) => {
    const quote = await verify(name).catch(codeOf)
    expect(typeof quote === 'string' ? quote : quote.tcb.status).toBe(ANSWERS[numberOf(name)])
    const { expected } = caseSchema.parse(vectorJson('tdx', name, 'expected.json'))
    const answer = typeof quote === 'string' ? quote : verdict(quote)
    const accepted = answer === 'accepted'
    const stricter = STRICTER[numberOf(name)]
    expect([expected.accepted, stricter ?? answer]).toEqual([
      accepted || stricter !== undefined,
      answer,
    ])
  })

  test('every case was found', () => {
    expect(cases.map(numberOf)).toEqual(Object.keys(ANSWERS))
  })
})

test.skipIf(!hasVectors)(
  'text after the contract’s sample is refused where it is not left out',
  async () => {
    const name = cases.find((found) => numberOf(found) === '300') ?? ''
    const given = caseSchema.parse(vectorJson('tdx', name, 'expected.json'))
    const judged = verifyQuote({
      quote: vectorBytes('tdx', name, 'quote.bin'),
      collateral: parseCollateral(vectorJson('tdx', name, 'collateral.json')),
      now: given.verification_time,
      trustedRoot: INTEL_SGX_ROOT,
    })
    await expect(judged).rejects.toMatchObject({ code: 'quote_trailing_bytes' })
  },
)
