/** One statement of a session (ACI §8.3). */
export interface Claim {
  readonly status: 'asserted' | 'refuted' | 'unknown'
  readonly source?:
    | 'hardware_proven'
    | 'verifier_derived'
    | 'provider_asserted'
    | 'operator_asserted'
    | undefined
  readonly reason?: string | undefined
}

/** What was not looked at. */
export const UNKNOWN: Claim = { status: 'unknown' }
