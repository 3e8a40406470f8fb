import { parseCrlHex } from '../x509-crl.ts'
import { parsePemChain, type Certificate } from '../x509.ts'
import { readQeIdentity, readTcbInfo, type Collateral } from './collateral.ts'
import type { Quote } from './quote.ts'

/**
 * Begins every signature of the evidence at once, so that each step of `verifyQuote` finds its own computed.
 *
 * This judges nothing and gives nothing. What is computed is whether one key signed some bytes, which is kept beside
 * those bytes under that key; the steps ask again, in their order, with keys that they have proven. What fails
 * here fails there too, with its code.
 */
export function beginSignatures(quote: Quote, collateral: Collateral): void {
  void Promise.allSettled([
    beginDocument(collateral.tcb_info_issuer_chain, (signer) => readTcbInfo(collateral, signer)),
    beginDocument(collateral.qe_identity_issuer_chain, (signer) =>
      readQeIdentity(collateral, signer),
    ),
    beginPlatform(quote, collateral),
  ])
}

async function beginDocument(
  pem: string,
  read: (signer: Certificate) => Promise<unknown>,
): Promise<void> {
  const chain = parsePemChain(pem)
  const [signer] = chain
  // The document comes first: only when its signature holds it can be read, meanwhile the others are computed.
  await Promise.allSettled([
    ...(signer === undefined ? [] : [read(signer)]),
    ...signaturesOf(chain),
  ])
}

async function beginPlatform(quote: Quote, collateral: Collateral): Promise<void> {
  const { certification } = quote
  const brought = collateral.pck_certificate_chain
  const chain = parsePemChain(
    certification.type === 'pck-chain' ? certification.pem : (brought ?? ''),
  )
  const [leaf, intermediate, root] = chain
  await Promise.allSettled([
    ...signaturesOf(chain),
    quote.signed.isSignedBy(quote.attestationKey),
    quote.qeReportSigned.isSignedBy(leaf?.p256 ?? null),
    beginCrl(collateral.pck_crl, intermediate),
    beginCrl(collateral.root_ca_crl, root),
  ])
}

async function beginCrl(hex: string, issuer: Certificate | undefined): Promise<void> {
  await parseCrlHex(hex).isSignedBy(issuer?.p256 ?? null)
}

/** Each certificate by the next one, the last by itself. */
const signaturesOf = (chain: readonly Certificate[]): Promise<boolean>[] =>
  chain.map((certificate, index) => certificate.isSignedBy((chain[index + 1] ?? certificate).p256))
