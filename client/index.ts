export {
  readCapture,
  replayedCertificate,
  replayedCollateral,
  replayedFetch,
  type Capture,
  type Exchange,
} from './capture.ts'
export { collectAci, type CollectInput } from './collect.ts'
export {
  fileCollateral,
  INTEL_PCS_URL,
  pcsCollateral,
  pcsFetch,
  type CollateralFetch,
  type CollateralSource,
  type PcsOptions,
} from './collateral.ts'
export {
  appraiseSession,
  auditSessions,
  type AppraisedSession,
  type AuditOptions,
  type FailedSession,
  type SessionPolicy,
} from './deep.ts'
export {
  ChannelError,
  ClientError,
  type ChannelErrorCode,
  type ClientErrorCode,
  type FailureKind,
} from './errors.ts'
export { pinnedConnector } from './pinned.ts'
export { PROXY_HEALTH_PATH, startProxy, type ProxyOptions, type VerifyingProxy } from './proxy.ts'
export { Recorder, type Subject } from './recorder.ts'
export { checkReceipt, type ReceiptCheck } from './receipt-check.ts'
export { verifiedFetch, type VerifiedFetch } from './verified-fetch.ts'
export {
  originOf,
  verifyGateway,
  type VerifiedGateway,
  type VerifyOptions,
} from './verify-gateway.ts'
