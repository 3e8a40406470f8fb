import { PROVIDER_EQUIVALENT } from './steps-providers.ts'
import { RELEASE_EQUIVALENT } from './steps-release.ts'
import { SESSION_EQUIVALENT } from './steps-sessions.ts'

/** Refusals that another one, further on, makes again: no input can tell them from their absence. */
export const EQUIVALENT: readonly (readonly [file: string, name: string, why: string])[] = [
  [
    'attestation/json.ts',
    'refusal 4:',
    'a scan that found no scalar goes on at the start, where nothing it expects stands',
  ],
  ['attestation/json.ts', 'refusal 2:', 'what was scanned as a string literal parses to a string'],
  [
    'client/pinned.ts',
    'refusal 1:',
    'undici finds the destroyed socket itself; this gives the error its code',
  ],
  [
    'client/collect.ts',
    'refusal 3:',
    'the discarded body cannot be read either, with the same code',
  ],
  ...RELEASE_EQUIVALENT,
  ...PROVIDER_EQUIVALENT,
  ...SESSION_EQUIVALENT,
  ['src/prompt.ts', 'refusal 5:', 'a body whose shape was read has been parsed already'],
  [
    'src/routes/prompt.ts',
    'refusal 2:',
    'a request id is always minted; this only narrows its type',
  ],
]
