export { systemClock } from './clock.ts'
export { configfsTsmSource, type ConfigfsTsmOptions } from './configfs-tsm.ts'
export { dstackSource, type DstackOptions } from './dstack.ts'
export {
  Enclave,
  MAX_LIFETIME_SECONDS,
  type EnclaveOptions,
  type ReceiptDraft,
  type WorkerEnclaveOptions,
} from './enclave.ts'
export type { Generation } from './generation.ts'
export type { HandedGeneration } from './handover.ts'
export type { Probe } from './probe.ts'
export { quoteQueue, type QuoteQueueOptions } from './quote-queue.ts'
export {
  EnclaveError,
  type EnclaveErrorCode,
  type QuoteSource,
  type TeeEvidence,
} from './quote-source.ts'
export { SealedReceipt } from './sealed-receipt.ts'
export { selfCheck, selfCheckOfLeader, worstFacts, type Fact, type Facts } from './self-check.ts'
export { workerFlags } from './launch-flags.ts'
export { tlsOptions, type TlsOptions } from './tls.ts'
