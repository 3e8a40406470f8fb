import type { Clock } from '@vouchgate/attestation'

/** Everything a command touches of its process, so that tests can run commands in their own. */
export interface Io {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether human output may be coloured. */
  readonly color: boolean
  readonly clock: Clock
  /** Standard input, in pieces; read at most once. */
  readonly stdin: () => AsyncIterable<unknown>
  /** Resolves when the user or the platform asks the process to end. */
  readonly stopped: () => Promise<void>
}
