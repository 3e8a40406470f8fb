import type { UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { verifyP384 } from '../signature.ts'
import { verifySnpChain, verifySnpRevocation, type SnpChain } from './chain.ts'
import { checkEndorsement, signedTcb } from './endorsement.ts'
import { parseSnpReport, type SnpReport } from './report.ts'
import type { SnpRoots } from './root.ts'
import { GenuineSnpReport } from './verdict.ts'

export interface SnpInput {
  /** 1184 bytes. */
  readonly report: Uint8Array
  /** DER of the VCEK or VLEK. */
  readonly leaf: Uint8Array
  /** PEM of ASK or ASVK, then ARK: what `https://kdsintf.amd.com/vcek/v1/<product>/cert_chain` answers. */
  readonly chain: string
  /** DER of the ARK's CRL, or null: then `revocation` is `unknown` and the policy decides. */
  readonly crl: Uint8Array | null
  readonly now: UnixSeconds
  readonly roots: SnpRoots
}

/**
 * Proves that a report was made by a genuine AMD SEV-SNP processor, and on which TCB.
 *
 * None of the steps is optional. What this says nothing about is whether the guest is the wanted one, or
 * its policy and platform good enough: that is `acceptSnpReport`.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifySnpReport(input: SnpInput): Promise<GenuineSnpReport> {
  // 1. The bytes are a report of a known version, and every reserved bit is what it must be.
  const report = parseSnpReport(input.report)
  // 2. The endorsement certificate chains to the pinned root of a known product.
  const chain = await verifySnpChain(input.leaf, input.chain, input.roots, input.now)
  // 3. Its issuer is not revoked, as far as the caller has a CRL.
  const crl = input.crl === null ? null : await verifySnpRevocation(input.crl, chain, input.now)
  // 4. The certificate is for this report's product, kind of key, chip and TCB.
  const reported = checkEndorsement(report, chain)
  // 5. The endorsement key signed the report.
  await verifySignature(report, chain)
  const { product, leaf, signer, root } = chain
  return new GenuineSnpReport({
    root: input.roots.kind,
    product,
    report,
    tcb: {
      reported,
      committed: signedTcb(report.committedTcb, product),
      current: signedTcb(report.currentTcb, product),
      launch: signedTcb(report.launchTcb, product),
    },
    revocation: crl === null ? 'unknown' : 'checked',
    expiresAt: Math.min(
      ...[leaf, signer, root].map(({ notAfter }) => notAfter),
      crl?.nextUpdate ?? Number.POSITIVE_INFINITY,
    ),
  })
}

async function verifySignature(report: SnpReport, { leaf }: SnpChain): Promise<void> {
  const { signature, signedRegion } = report
  const holds = leaf.p384 !== null && (await verifyP384(leaf.p384, signature, signedRegion))
  if (!holds) throw new EvidenceError('snp_signature_invalid')
}
