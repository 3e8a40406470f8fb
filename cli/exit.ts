import { EvidenceError, PolicyError } from '@vouchgate/attestation'
import { ChannelError, ClientError, type FailureKind } from '../client/index.ts'
import { EnclaveError } from '../enclave/index.ts'
import { ClusterError, type ClusterErrorCode } from '../src/cluster/error.ts'
import { ConfigError } from '../src/config/index.ts'
import { SelfCheckError } from '../src/boot.ts'
import { isListenError } from '../src/listen-error.ts'
import { SessionFileError } from '../src/session-file-error.ts'
import { CliError } from './errors.ts'

/** The exit codes of the command line. They are API. */
export const EXIT = {
  /** Accepted, or done. */
  ok: 0,
  /** Internal error, or something could not be reached: nothing was judged. */
  internal: 1,
  usage: 2,
  /** Rejected by verification or policy. */
  rejected: 10,
  unsupported: 20,
  malformed: 30,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

const BY_KIND = {
  rejected: EXIT.rejected,
  unsupported: EXIT.unsupported,
  malformed: EXIT.malformed,
  unavailable: EXIT.internal,
} as const satisfies Record<FailureKind, ExitCode>

/** An error as the command line shows it. */
export interface Failure {
  readonly exit: ExitCode
  readonly code: string
  /** The step of a verification that refused; null outside of one. */
  readonly step: string | null
  readonly message: string
  /** What a policy saw and what it wanted. */
  readonly seen?: string
  readonly wanted?: string
  /** Mistakes in a file, each with its place and a hint. */
  readonly problems?: readonly { readonly path: string; readonly hint: string }[]
}

const CLUSTER_EXITS = {
  workers_not_permitted: EXIT.usage,
  worker_failed: EXIT.internal,
  listen_failed: EXIT.internal,
} as const satisfies Record<ClusterErrorCode, ExitCode>

/** Anything that is not one of ours becomes `internal` without its message, because messages quote input. */
export function failureOf(error: unknown): Failure {
  if (error instanceof PolicyError) {
    const { code, step, message, seen, wanted } = error
    return { exit: EXIT.rejected, code, step, message, seen, wanted }
  }
  if (error instanceof EvidenceError) {
    const { code, step, message, kind } = error
    return { exit: BY_KIND[kind], code, step, message }
  }
  if (error instanceof ChannelError) {
    const { code, message, kind } = error
    return { exit: BY_KIND[kind], code, step: 'channel', message }
  }
  if (error instanceof ClientError) {
    const { code, message, kind } = error
    return { exit: BY_KIND[kind], code, step: null, message }
  }
  return localFailure(error)
}

function localFailure(error: unknown): Failure {
  if (error instanceof CliError) {
    const { exit, code, message, problems } = error
    return { exit, code, step: null, message, ...(problems.length > 0 ? { problems } : {}) }
  }
  if (error instanceof ConfigError) {
    const { message, problems } = error
    return { exit: EXIT.malformed, code: 'config_malformed', step: null, message, problems }
  }
  if (error instanceof SelfCheckError) {
    const problems = error.facts.map((path) => ({ path, hint: 'does not hold in this process' }))
    const { message } = error
    return { exit: EXIT.internal, code: 'self_check_failed', step: null, message, problems }
  }
  if (error instanceof EnclaveError || error instanceof SessionFileError) {
    return { exit: EXIT.internal, code: error.code, step: null, message: error.message }
  }
  if (error instanceof ClusterError) {
    const { code, message } = error
    return { exit: CLUSTER_EXITS[code], code, step: null, message }
  }
  return systemFailure(error)
}

function systemFailure(error: unknown): Failure {
  if (isListenError(error)) {
    const message = 'the address cannot be listened on'
    return { exit: EXIT.internal, code: 'listen_failed', step: null, message }
  }
  const message = 'an internal error; please report it'
  return { exit: EXIT.internal, code: 'internal', step: null, message }
}
