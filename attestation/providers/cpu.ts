import { decodeUtf8, encodeUtf8, type Bytes } from '../bytes.ts'
import { PolicyError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { trustedRoot } from '../policy.ts'
import { acceptSnpReport } from '../sev-snp/accept.ts'
import { AMD_ROOTS, testSnpRoots } from '../sev-snp/root.ts'
import type { AcceptedSnpReport } from '../sev-snp/verdict.ts'
import { verifySnpReport } from '../sev-snp/verify.ts'
import { acceptQuote } from '../tdx/accept.ts'
import { parseCollateral, type Collateral } from '../tdx/collateral.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { verifyQuote } from '../tdx/verify.ts'
import { documentOf } from './evidence.ts'
import type { KindInput } from './kind.ts'

/** The name under which the collateral of a TDX quote is kept: JSON of `Collateral`. */
export const TDX_COLLATERAL = 'tdx/collateral'

export const encodeCollateral = (collateral: Collateral): Bytes =>
  encodeUtf8(JSON.stringify(collateral))

/**
 * A TDX quote that is genuine and wanted. Throws `tee_not_accepted` and what `verifyQuote` and `acceptQuote` throw.
 *
 * @param collateral the name of the document with its collateral.
 */
export async function acceptTdx(
  quote: Bytes,
  input: KindInput,
  collateral = TDX_COLLATERAL,
): Promise<AcceptedQuote> {
  const { tdx } = input.policy
  if (tdx === 'reject') throw new PolicyError('tee_not_accepted', 'tdx', 'sev-snp')
  const genuine = await verifyQuote({
    quote,
    collateral: parseCollateral(parseJson(decodeUtf8(documentOf(input.evidence, collateral)))),
    now: input.now,
    trustedRoot: await trustedRoot(tdx),
  })
  return acceptQuote(genuine, tdx)
}

/** DER of the VCEK or VLEK, PEM of its chain, and DER of the ARK's CRL where there is one. */
export const SNP_DOCUMENTS = { leaf: 'snp/leaf', chain: 'snp/chain', crl: 'snp/crl' } as const

/** An SNP report that is genuine and wanted. Throws `tee_not_accepted` and what the SNP verifiers throw. */
export async function acceptSnp(report: Bytes, input: KindInput): Promise<AcceptedSnpReport> {
  const { evidence, policy, now } = input
  const { snp, snp_trusted_root: root } = policy
  if (snp === 'reject') throw new PolicyError('tee_not_accepted', 'sev-snp', 'tdx')
  const genuine = await verifySnpReport({
    report,
    leaf: documentOf(evidence, SNP_DOCUMENTS.leaf),
    chain: decodeUtf8(documentOf(evidence, SNP_DOCUMENTS.chain)),
    crl: evidence.documents.get(SNP_DOCUMENTS.crl) ?? null,
    now,
    roots: root === 'amd' ? AMD_ROOTS : await testSnpRoots(root.test_pki_pem),
  })
  return acceptSnpReport(genuine, snp)
}
