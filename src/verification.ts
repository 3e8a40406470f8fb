import type { Clock } from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { captureFolder } from './captures.ts'
import type { CollateralService } from './collateral.ts'
import type { Config } from './config/index.ts'
import { collateralService } from './configured-collateral.ts'
import { pooled, type Random } from './ids.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { collectors } from './providers/collectors.ts'
import type { VerifyOptions } from './providers/verify.ts'

export interface VerificationOptions {
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly random?: Random | undefined
  readonly jitter?: (() => number) | undefined
  /** Where captures of verifications are written; left out, none is. */
  readonly recordTo?: string | undefined
}

export interface Verification {
  readonly collateral: CollateralService
  /** What evidence is collected through. */
  readonly collecting: VerifyOptions
}

/** What verifies providers: of a gateway of several processes in its leader alone. */
export async function openVerification(
  options: VerificationOptions,
  metrics: Metrics,
): Promise<Verification> {
  const { config, clock, log, random = pooled(randomBytes), jitter = Math.random } = options
  const collateral = await collateralService(config, { clock, jitter, log, metrics })
  const collecting = await collectors(config, {
    collateral,
    clock,
    random,
    timeoutMs: 1000 * config.limits.connect_seconds,
    ...(options.recordTo === undefined ? {} : { record: captureFolder(options.recordTo, log) }),
  })
  return { collateral, collecting }
}
