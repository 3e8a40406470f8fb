import { equalBytes, type UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseTime } from '../time.ts'
import { parseCrlHex, type Crl } from '../x509-crl.ts'
import { parsePemChain, type Certificate } from '../x509.ts'
import { beginSignatures } from './begin.ts'
import { verifyPckChain, verifyTcbSigningChain, type PckChain } from './chain.ts'
import {
  verifyQeIdentity,
  verifyTcbInfo,
  type Collateral,
  type QeIdentity,
  type TcbInfo,
} from './collateral.ts'
import { checkNotRevoked, verifyCrl } from './crl.ts'
import { verifyTdxModule } from './module.ts'
import { checkPckProfile, pckIdentity, type PckIdentity } from './pck.ts'
import { verifyQeReport } from './qe.ts'
import { parseQuote, type Quote } from './quote.ts'
import type { TrustedRoot } from './root.ts'
import { checkQeIdentitySubject, checkTcbInfoSubject } from './subject.ts'
import { evaluateTcb } from './tcb.ts'
import { GenuineQuote } from './verdict.ts'

export interface QuoteInput {
  readonly quote: Uint8Array
  readonly collateral: Collateral
  readonly now: UnixSeconds
  readonly trustedRoot: TrustedRoot
}

/**
 * Proves that a quote was made by a genuine Intel TEE, and how up to date its platform is.
 *
 * The steps are those of Intel's quote verification library, in this order, none of them optional. What
 * this says nothing about is whether the measured workload is the wanted one: that is `acceptQuote`.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifyQuote(input: QuoteInput): Promise<GenuineQuote> {
  const { collateral, now, trustedRoot } = input
  // 1. The bytes are a quote and nothing else.
  const quote = parseQuote(input.quote)
  // Signatures are computed side by side from here on; each is judged in its step.
  beginSignatures(quote, collateral)
  // 2. The platform's PCK certificate chains to the pinned root.
  const chain = await verifyPckChain(pckChainOf(quote, collateral), trustedRoot, now)
  const pck = pckIdentity(chain.leaf, chain.intermediate)
  checkPckProfile(pck, trustedRoot)
  // 3. No certificate of that chain is revoked; silence counts only in a fresh, authentic CRL.
  const crls = await verifyRevocation(collateral, chain, now)
  // 4. Collateral is signed by the TCB signing role, and by no other certificate under the root.
  const tcbSigner = await tcbSigningCertificate(collateral.tcb_info_issuer_chain, input, crls.root)
  const qeSigner = await tcbSigningCertificate(
    collateral.qe_identity_issuer_chain,
    input,
    crls.root,
  )
  // 5. The TCB info is authentic, current, and about this TEE and this platform.
  const tcbInfo = await verifyTcbInfo(collateral, tcbSigner, now)
  checkTcbInfoSubject(tcbInfo, quote.body.tee, pck)
  // 6. The QE identity is authentic, current, and about this TEE's quoting enclave.
  const qeIdentity = await verifyQeIdentity(collateral, qeSigner, now)
  checkQeIdentitySubject(qeIdentity, quote.body.tee)
  // 7. The quoting enclave is Intel's and vouches for the attestation key.
  await verifyQeReport(quote, chain, qeIdentity)
  // 8. The attestation key signed header and body.
  await verifyQuoteSignature(quote)
  // 9. The TDX module is one Intel signed.
  if (quote.body.tee === 'tdx') verifyTdxModule(quote.body.report, tcbInfo)
  // 10. Platform, module and quoting enclave are matched with their TCB levels.
  const tcb = evaluateTcb(tcbInput(quote, pck, tcbInfo, qeIdentity))
  return new GenuineQuote({
    root: trustedRoot.kind,
    verifiedAt: now,
    quoteVersion: quote.version,
    padding: quote.padding,
    body: quote.body,
    tcb,
    fmspc: pck.fmspc,
    ppid: pck.ppid,
    expiresAt: earliestExpiry(
      [chain.leaf, chain.intermediate, chain.root, tcbSigner, qeSigner],
      crls,
      [tcbInfo, qeIdentity],
    ),
  })
}

/**
 * The chain is the quote's own wherever it carries one. One brought along serves only quotes without; that it
 * is the right one shows when its key must verify the QE report.
 */
function pckChainOf({ certification }: Quote, collateral: Collateral): string {
  if (certification.type === 'pck-chain') return certification.pem
  const pem = collateral.pck_certificate_chain
  if (pem === undefined) throw new EvidenceError('certification_data_unsupported')
  if (certification.type === 'pck-leaf') {
    const [[inQuote], [brought]] = [parsePemChain(certification.pem), parsePemChain(pem)]
    const same = inQuote !== undefined && brought !== undefined
    if (!same || !equalBytes(inQuote.der, brought.der)) {
      throw new EvidenceError('certificate_chain_mismatch')
    }
  }
  return pem
}

interface Crls {
  readonly root: Crl
  readonly pck: Crl
}

async function verifyRevocation(
  collateral: Collateral,
  chain: PckChain,
  now: UnixSeconds,
): Promise<Crls> {
  const root = parseCrlHex(collateral.root_ca_crl)
  const pck = parseCrlHex(collateral.pck_crl)
  await verifyCrl(root, chain.root, now)
  const [delivered] = parsePemChain(collateral.pck_crl_issuer_chain)
  if (delivered !== undefined && !equalBytes(delivered.der, chain.intermediate.der)) {
    throw new EvidenceError('crl_issuer_mismatch')
  }
  await verifyCrl(pck, chain.intermediate, now)
  checkNotRevoked(chain, root, pck)
  return { root, pck }
}

const tcbSigningCertificate = (
  pem: string,
  input: QuoteInput,
  rootCrl: Crl,
): Promise<Certificate> => verifyTcbSigningChain(pem, input.trustedRoot, input.now, rootCrl)

async function verifyQuoteSignature(quote: Quote): Promise<void> {
  if (!(await quote.signed.isSignedBy(quote.attestationKey))) {
    throw new EvidenceError('quote_signature_invalid')
  }
}

function tcbInput(quote: Quote, pck: PckIdentity, tcbInfo: TcbInfo, qeIdentity: QeIdentity) {
  const report = quote.body.tee === 'tdx' ? quote.body.report : null
  return {
    pck,
    tcbInfo,
    qeIdentity,
    qeIsvSvn: quote.qeReport.isvSvn,
    teeTcbSvn: report?.teeTcbSvn ?? null,
    teeTcbSvn2: report?.teeTcbSvn2 ?? null,
  }
}

function earliestExpiry(
  certificates: readonly Certificate[],
  crls: Crls,
  documents: readonly { readonly nextUpdate: string }[],
): UnixSeconds {
  return Math.min(
    ...certificates.map(({ notAfter }) => notAfter),
    crls.root.nextUpdate ?? 0,
    crls.pck.nextUpdate ?? 0,
    ...documents.map(({ nextUpdate }) => parseTime(nextUpdate)),
  )
}
