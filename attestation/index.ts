import { VerifiedAciService } from './aci/service.ts'
import { VerifiedEndpoint } from './endpoint.ts'

export { bootSubject, type BootDocument } from './aci/boot.ts'
export type { Claim } from './aci/claim.ts'
export type { Claims } from './aci/claims.ts'
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
  acceptAzureSnp,
  verifyAzureSnp,
  type AzureSnpInput,
  type GenuineAzureSnp,
} from './azure/snp.ts'
export type { PcrPolicy } from './azure/pcrs.ts'
export {
  acceptAzureTdx,
  verifyAzureTdx,
  type AzureTdxInput,
  type GenuineAzureTdx,
} from './azure/tdx.ts'
export { parseHclReport, type HclReport, type HclRuntimeClaims } from './azure/hcl.ts'
export type { PcrValues, TpmQuote } from './azure/tpm.ts'
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
export type { EndpointEventLog, VerifiedAciService } from './aci/service.ts'
export {
  e2eeBindingOf,
  tlsBindingOf,
  type ChannelBinding,
  type E2eeBinding,
  type E2eeProtocol,
  type TlsBinding,
} from './binding.ts'
export type { VerifiedEndpoint } from './endpoint.ts'
export {
  chutesBinding,
  chutesCollateral,
  CHUTES_DOCUMENTS,
  readChutesRound,
  type ChutesCandidate,
} from './providers/chutes-evidence.ts'
export { parseChutesInstances, type ChutesInstances } from './providers/chutes-instances.ts'
export { readSecretAiQuote } from './providers/secretai.ts'
export { RA_TLS_CERTIFICATE, SECRETAI_DOCUMENTS } from './providers/unchallenged.ts'
export { readEvidenceCertificate } from './ra-tls/certificate.ts'
export { appraiseEvidence, type AppraiseInput } from './providers/appraise.ts'
export { encodeCollateral, SNP_DOCUMENTS, TDX_COLLATERAL } from './providers/cpu.ts'
export {
  decodeProviderEvidence,
  encodeProviderEvidence,
  numbered,
  type ProviderEvidence,
} from './providers/evidence.ts'
export { NVIDIA_DOCUMENTS } from './providers/gpus.ts'
export { PROVIDER_KINDS, type ProviderKind } from './providers/kinds.ts'
export { readVllmReport, VLLM_REPORT } from './providers/dstack-vllm.ts'
export { readNearCloudReport } from './providers/near-cloud-report.ts'
export { NEAR_CLOUD_DOCUMENTS } from './providers/near-cloud.ts'
export { NEAR_REPORT } from './providers/near-direct.ts'
export { readNearReport } from './providers/near-report.ts'
export {
  asRecorded,
  observingPolicy,
  recordedPolicyOf,
  parseProviderPolicy,
  recordedPolicy,
  tdxOnlyPolicy,
  type ProviderPolicy,
  type ReleaseRequirement,
} from './providers/policy.ts'
export {
  EvidenceError,
  isVerificationError,
  PolicyError,
  type ErrorKind,
  type EvidenceErrorCode,
  type PolicyErrorCode,
  type Step,
} from './errors.ts'
export { parseCcel } from './eventlog/ccel.ts'
export { parseDstackLog } from './eventlog/dstack.ts'
export type {
  BootEvent,
  EventContent,
  EventLog,
  LogEvent,
  Rtmr,
  RuntimeEvent,
} from './eventlog/event.ts'
export {
  launchClaims,
  type ExpectedPlatform,
  type KeyProvider,
  type LaunchClaim,
  type LaunchClaims,
  type LaunchInput,
  type LaunchUnknown,
} from './eventlog/launch.ts'
export { replay, verifyEventLog, type VerifiedEventLog } from './eventlog/replay.ts'
export { memberSpans, parseJson, type JsonValue, type MemberSpans } from './json.ts'
export { acceptGpuEvidence, type GpuAcceptance } from './nvidia/accept.ts'
export type { AcceptedGpuEvidence } from './nvidia/accepted.ts'
export { gpuClaims, NO_GPU_CLAIMS, type GpuClaims } from './nvidia/claims.ts'
export { measureGpu, type GpuMeasurements } from './nvidia/measure.ts'
export {
  bindGpuEvidence,
  type GpuBinding,
  type GpuBindingKind,
  type GpuBindingRule,
} from './nvidia/binding.ts'
export type { DeviceKind, GpuArch } from './nvidia/chip.ts'
export type { DeviceInfo, GpuMode } from './nvidia/device-info.ts'
export {
  parseGpuEvidence,
  parseGpuNonce,
  type GpuEvidence,
  type GpuEvidenceItem,
} from './nvidia/evidence.ts'
export type { FirmwareIdentity } from './nvidia/fwid.ts'
export { checkGpuPlatform, type GpuPlatform, type SwitchEvidence } from './nvidia/platform.ts'
export { DEFAULT_GPU_POLICY, gpuRoots, parseGpuPolicy, type GpuPolicy } from './nvidia/policy.ts'
export { parseSpdmReport, type SpdmReport } from './nvidia/spdm.ts'
export type { GenuineGpuDevice, GenuineGpuEvidence } from './nvidia/verdict.ts'
export { verifyGpuDevice, verifyGpuEvidence, type GpuInput } from './nvidia/verify.ts'
export {
  compareMeasurements,
  type MeasuredDevice,
  type MeasurementComparison,
  type MeasurementMismatch,
} from './nvidia/measurements.ts'
export { parseRimAnswer } from './nvidia/rim/answer.ts'
export type { RimSlot } from './nvidia/rim/document.ts'
export { rimIds, type RimId, type RimIdInput } from './nvidia/rim/ids.ts'
export { matchRims, type RimSubject } from './nvidia/rim/match.ts'
export type { GoldenValues } from './nvidia/rim/resource.ts'
export type { GenuineRim, RimSigner } from './nvidia/rim/verdict.ts'
export { verifyRim, type RimInput } from './nvidia/rim/verify.ts'
export { NrasFailure, type NrasFinding } from './nvidia/nras/failure.ts'
export { parseNrasJwks, type NrasJwk, type NrasKeys } from './nvidia/nras/jwks.ts'
export { DEFAULT_NRAS_POLICY, parseNrasPolicy, type NrasPolicy } from './nvidia/nras/policy.ts'
export type { GenuineNrasVerdict, NrasArchive, NrasDevice } from './nvidia/nras/verdict.ts'
export { verifyNrasResponse, type NrasInput } from './nvidia/nras/verify.ts'
export type { Issued, NvidiaChain } from './nvidia/chain.ts'
export { ocspRequest, type OcspRequestInput } from './nvidia/ocsp/request.ts'
export {
  checkRevocation,
  subjectsForRevocation,
  type CertificateRevocation,
  type ChainKind,
  type RevocationInput,
  type RevocationResult,
} from './nvidia/ocsp/revocation.ts'
export { verifyOcspResponse, type OcspInput, type OcspVerdict } from './nvidia/ocsp/verify.ts'
export { NVIDIA_ROOTS, testNvidiaRoots, type NvidiaRoots } from './nvidia/root.ts'
export {
  DEFAULT_POLICY,
  namesWorkload,
  parsePolicy,
  trustedRoot,
  type Policy,
  type WorkloadRow,
} from './policy.ts'
export {
  acceptRelease,
  releasePolicy,
  type AcceptedStatement,
  type ReleaseInput,
  type ReleasePolicy,
  type ReleaseStatement,
  type SignedStatement,
  type SigstoreRoot,
  type VerifyRelease,
} from './providers/release.ts'
export { tinfoilGpuJson } from './providers/tinfoil.ts'
export { parseTinfoilDocument, type TinfoilDocument } from './providers/tinfoil-document.ts'
export { TINFOIL_DOCUMENTS, TINFOIL_HARDWARE_REPOSITORY } from './providers/tinfoil-image.ts'
export { kdsRoutes } from './sev-snp/kds.ts'
export {
  findTinfoilHardware,
  tinfoilMeasurements,
  type TinfoilMeasurements,
} from './providers/tinfoil-release.ts'
export { acceptSnpReport } from './sev-snp/accept.ts'
export {
  parseSnpCertificateTable,
  verifyExtendedSnpReport,
  type ExtendedSnpInput,
  type SnpCertificateTable,
} from './sev-snp/certificate-table.ts'
export { parseSnpPolicy, type SnpPolicy } from './sev-snp/policy.ts'
export type { SnpProduct, SnpTcb } from './sev-snp/product.ts'
export { parseSnpReport, type SnpGuestPolicy, type SnpReport } from './sev-snp/report.ts'
export { AMD_ROOTS, testSnpRoots, type SnpRoots } from './sev-snp/root.ts'
export type { AcceptedSnpReport, GenuineSnpReport, SnpTcbs } from './sev-snp/verdict.ts'
export { verifySnpReport, type SnpInput } from './sev-snp/verify.ts'
export { acceptQuote } from './tdx/accept.ts'
export type { EnclaveReport, TdReport } from './tdx/body.ts'
export { parseCollateral, type Collateral } from './tdx/collateral.ts'
export {
  assembleCollateral,
  collateralKey,
  collateralName,
  ISSUER_CHAIN_HEADERS,
  parseCollateralBundle,
  pcsRoutes,
  type BundleEntry,
  type CollateralKey,
  type CollateralName,
  type PcsAnswer,
  type PcsAnswers,
  type QuoteCollateralKey,
} from './tdx/pcs.ts'
export { parseQuote, type Quote, type QuoteBody, type TeeType } from './tdx/quote.ts'
export { INTEL_SGX_ROOT, testPkiRoot, type TrustedRoot } from './tdx/root.ts'
export type { Tcb, TcbStatus } from './tdx/tcb.ts'
export type { AcceptedQuote, GenuineQuote } from './tdx/verdict.ts'
export { verifyQuote, type QuoteInput } from './tdx/verify.ts'
export {
  collateralIssuedAt,
  renewCollateral,
  verifyCollateral,
  type CollateralInput,
  type CollateralPart,
  type Renewal,
  type VerifiedCollateral,
} from './tdx/verify-collateral.ts'
export { workloadRow } from './tdx/workload.ts'
export { formatTime, parseTime } from './time.ts'
export { verifyEndpoint, type EndpointInput } from './verify.ts'

/** Whether a value is a real `VerifiedEndpoint`; a spread, clone or look-alike is not. */
export const isVerifiedEndpoint = (value: unknown): value is VerifiedEndpoint =>
  VerifiedEndpoint.is(value)

/** Whether an endpoint is an ACI/1 service, which has a keyset. */
export const isVerifiedAciService = (value: unknown): value is VerifiedAciService =>
  VerifiedAciService.isService(value)
