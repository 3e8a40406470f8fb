import type { BootDocument, Clock } from '@vouchgate/attestation'
import {
  configfsTsmSource,
  dstackSource,
  Enclave,
  type Facts,
  type QuoteSource,
} from '../enclave/index.ts'
import type { Config } from './config/index.ts'
import type { Logger } from './log.ts'
import { SOFTWARE } from './version.ts'

/** The process does not meet the launch contract, and the configuration says to enforce it. */
export class SelfCheckError extends Error {
  override readonly name = 'SelfCheckError'
  /** Names of the facts that do not hold. */
  readonly facts: readonly string[]

  constructor(facts: readonly string[]) {
    super('the self-check found that this process could retain prompts')
    this.facts = facts
  }
}

/** The quote source that the configuration names. */
export function quoteSource({ enclave }: Config): QuoteSource {
  if (enclave.quote_source === 'configfs-tsm') return configfsTsmSource()
  const { dstack_socket: socketPath } = enclave
  return dstackSource(socketPath === undefined ? {} : { socketPath })
}

export interface BootOptions {
  readonly config: Config
  readonly source: QuoteSource
  readonly clock: Clock
  readonly log: Logger
}

/** Who this gateway is from now on. Rejects with `SelfCheckError` or `EnclaveError`. */
export async function bootEnclave(
  { config, source, clock, log }: BootOptions,
  facts: Facts,
): Promise<Enclave> {
  return Enclave.boot({
    source,
    clock,
    boot: bootDocument(config, log, facts),
    domain: config.listen.domain,
    lifetimeSeconds: config.enclave.keyset_lifetime_seconds,
    provenance: config.provenance,
    maxWaitingQuotes: config.enclave.max_waiting_quotes,
  })
}

function bootDocument(config: Config, log: Logger, found: Facts): BootDocument {
  // Whatever the flags of the process allow: it is about to write a file.
  const facts: Facts =
    config.sessions.path === null ? found : { ...found, fs_write_denied: 'not_held' }
  const missing = Object.keys(facts).filter((fact) => facts[fact] !== 'held')
  for (const fact of missing) log({ event: 'fact_not_held', fact })
  // `unknown` is not a pass: what could not be looked at may be what retains the prompt.
  if (missing.length > 0 && config.enclave.self_check === 'enforce') {
    throw new SelfCheckError(missing)
  }
  return { software: SOFTWARE, config_digest: config.digest, self_check: { ...facts } }
}

export interface Rotating {
  readonly enclave: Enclave
  readonly clock: Clock
  readonly log: Logger
}

/** Never rejects: where there is no new keyset the old one serves on, and the next call tries again. */
export async function rotateIfDue({ enclave, clock, log }: Rotating): Promise<void> {
  if (clock.now() < enclave.rotationDueAt) return
  try {
    await enclave.rotate()
    log({ event: 'keyset_rotated', notAfter: enclave.current.notAfter })
  } catch {
    log({ event: 'keyset_rotation_failed' })
  }
}
