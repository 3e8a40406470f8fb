import { VerifiedEndpoint } from './endpoint.ts'

export { bootSubject, type BootDocument } from './aci/boot.ts'
export { claimsOf, type Claim, type Claims } from './aci/claims.ts'
export { decodeAciEvidence, encodeAciEvidence, type AciEvidence } from './aci/evidence.ts'
export { jcs } from './aci/jcs.ts'
export {
  isNonce,
  keysetDigest,
  reportDataFor,
  statement,
  type Keyset,
  type PublicKey,
  type TlsKey,
} from './aci/keyset.ts'
export {
  parseReceipt,
  receiptSigningInput,
  verifyReceipt,
  type Receipt,
  type ReceiptEvent,
  type ReceiptInput,
  type UnsignedReceipt,
} from './aci/receipt.ts'
export {
  parseReport,
  type AttestationReport,
  type ParsedReport,
  type ReportEvidence,
  type SourceProvenance,
} from './aci/report.ts'
export {
  buildSession,
  checkSessionClaims,
  parseSession,
  sessionId,
  verifySession,
  VERIFIER_ID,
  type SessionDocument,
  type SessionInput,
} from './aci/session.ts'
export {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  fromBase64,
  fromHex,
  sha256,
  sha256Label,
  sha384,
  sha512,
  toBase64,
  toHex,
  type Bytes,
  type Clock,
  type UnixSeconds,
} from './bytes.ts'
export type { ChannelBinding, VerifiedEndpoint } from './endpoint.ts'
export {
  EvidenceError,
  isVerificationError,
  PolicyError,
  type ErrorKind,
  type EvidenceErrorCode,
  type PolicyErrorCode,
  type Step,
} from './errors.ts'
export { memberSpans, parseJson, type JsonValue, type MemberSpans } from './json.ts'
export {
  DEFAULT_POLICY,
  namesWorkload,
  parsePolicy,
  trustedRoot,
  type Policy,
  type WorkloadRow,
} from './policy.ts'
export { acceptQuote, workloadRow } from './tdx/accept.ts'
export type { EnclaveReport, TdReport } from './tdx/body.ts'
export { parseCollateral, type Collateral } from './tdx/collateral.ts'
export {
  assembleCollateral,
  collateralKey,
  ISSUER_CHAIN_HEADERS,
  pcsRoutes,
  type CollateralKey,
  type PcsAnswer,
  type PcsAnswers,
} from './tdx/pcs.ts'
export { parseQuote, type Quote, type QuoteBody, type TeeType } from './tdx/quote.ts'
export { INTEL_SGX_ROOT, testPkiRoot, type TrustedRoot } from './tdx/root.ts'
export type { Tcb, TcbStatus } from './tdx/tcb.ts'
export type { AcceptedQuote, GenuineQuote } from './tdx/verdict.ts'
export { verifyQuote, type QuoteInput } from './tdx/verify.ts'
export { formatTime, parseTime } from './time.ts'
export { verifyEndpoint, type EndpointInput } from './verify.ts'

/** Whether a value is a real `VerifiedEndpoint`; a spread, clone or look-alike is not. */
export const isVerifiedEndpoint = (value: unknown): value is VerifiedEndpoint =>
  VerifiedEndpoint.is(value)
