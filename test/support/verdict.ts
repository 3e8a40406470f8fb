import { EvidenceError, PolicyError } from '@vouchgate/attestation'

/** The code that a verdict was refused with; `none` where it was not. Anything else is thrown on. */
export async function refusal(verdict: Promise<unknown>): Promise<string> {
  try {
    await verdict
  } catch (error) {
    if (error instanceof EvidenceError || error instanceof PolicyError) return error.code
    throw error
  }
  return 'none'
}
