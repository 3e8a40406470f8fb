import type { UnixSeconds } from '../bytes.ts'
import type { AcceptedSnpReport } from '../sev-snp/verdict.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { BoundGpus } from './gpus.ts'

/** The first moment at which a document behind the evidence no longer holds. */
export const expiryOf = (
  cpu: AcceptedQuote | AcceptedSnpReport,
  gpus: BoundGpus | null,
): UnixSeconds => Math.min(cpu.expiresAt, gpus?.gpus.expiresAt ?? Number.POSITIVE_INFINITY)
