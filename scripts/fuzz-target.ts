import { encodeUtf8, type Bytes } from '@vouchgate/attestation'

/** A parser, and good inputs to begin with. All of them are made here: no real evidence is ever a seed. */
export interface Target {
  readonly name: string
  readonly seeds: readonly Uint8Array[]
  /** Returns, or throws an `EvidenceError`; anything else is a finding. */
  readonly run: (input: Uint8Array) => unknown
}

/** What a parser accepted means something else than it should. */
export class Disagreement extends Error {
  override readonly name = 'Disagreement'
}

export const text = (input: Uint8Array): string => new TextDecoder().decode(input)
export const json = (value: unknown): Bytes => encodeUtf8(JSON.stringify(value))
