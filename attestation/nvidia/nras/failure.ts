import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'

/** What NRAS says against one device. */
export interface NrasFinding {
  /** `GPU-0`: the place of the device among those of its kind. */
  readonly device: string
  /** NVIDIA's own number of the error, where it is one this library knows. */
  readonly errorCode: number | null
  /** Names of the checks that are not stated as passed. */
  readonly checks: readonly string[]
}

/** A signed statement of NRAS against the evidence, and what it says of which device. */
export class NrasFailure extends EvidenceError {
  readonly findings: readonly NrasFinding[]

  constructor(code: EvidenceErrorCode, findings: readonly NrasFinding[]) {
    super(code)
    this.findings = findings
  }
}
