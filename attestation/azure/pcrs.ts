import { PolicyError } from '../errors.ts'
import type { PcrValues } from './tpm.ts'

/** Expected values of PCRs by number, lower-case hex; `any` proves a paravisor and no guest. */
export type PcrPolicy = 'any' | ReadonlyMap<number, readonly string[]>

/** Throws `azure_pcr_not_expected`. */
export function checkPcrs(pcrs: PcrValues, policy: PcrPolicy): void {
  for (const [number, values] of policy === 'any' ? [] : policy) {
    const seen = pcrs.get(number) ?? 'not quoted'
    if (!values.includes(seen)) {
      throw new PolicyError(
        'azure_pcr_not_expected',
        `PCR ${number}: ${seen}`,
        `one of ${values.length} values`,
      )
    }
  }
}
