import type { Command } from 'commander'
import type { Clock, Policy } from '@vouchgate/attestation'
import {
  fileCollateral,
  INTEL_PCS_URL,
  originOf,
  pcsCollateral,
  type CollateralSource,
} from '../client/index.ts'
import { CliError } from './errors.ts'
import type { ExitCode } from './exit.ts'
import { readPolicy } from './input.ts'
import type { Io } from './io.ts'

/** What a command gets from the program that runs it. */
export interface Shell {
  readonly io: Io
  readonly finish: (exit: ExitCode) => void
}

export interface JsonOption {
  readonly json?: true
}

/** `--json`, and an example at the end of the help text. */
export const withExample = (command: Command, example: string): Command =>
  command
    .option('--json', 'print one JSON document instead of text')
    .addHelpText('after', `\nExample:\n  $ vouchgate ${example}`)

export interface GatewayOptions extends JsonOption {
  readonly policy?: string
  readonly collateral?: string
  readonly pcs?: string
}

export const withGatewayOptions = (command: Command): Command =>
  command
    .option('--policy <file>', 'what the gateway must be running (YAML or JSON); required')
    .option('--collateral <file>', 'collateral to use where the report carries none')
    .option(
      '--pcs <url>',
      'where to fetch collateral that the report does not carry',
      INTEL_PCS_URL,
    )

const COLLATERAL_TIMEOUT_MS = 20_000

export function collateralSource(
  { collateral, pcs = INTEL_PCS_URL }: GatewayOptions,
  clock: Clock,
): CollateralSource {
  if (collateral !== undefined) return fileCollateral(collateral)
  if (URL.parse(pcs) === null) throw new CliError('url_malformed')
  return pcsCollateral({ baseUrl: pcs, timeoutMs: COLLATERAL_TIMEOUT_MS, clock })
}

/** Without a policy there is no question to answer: "is it genuine?" alone has to be asked by name. */
export async function requiredPolicy(path: string | undefined): Promise<Policy> {
  if (path === undefined) throw new CliError('policy_required', HOW_TO_WRITE_A_POLICY)
  return readPolicy(path)
}

const HOW_TO_WRITE_A_POLICY = [
  'A policy is a small YAML file with the measurements you expect:',
  '',
  '  workload:',
  '    - mrtd: "<96 hex digits>"',
  '      rtmr0: any',
  '      rtmr1: "<96 hex digits>"',
  '      rtmr2: "<96 hex digits>"',
  '      rtmr3: any',
  '      mr_config_id: any',
  '      mr_owner: any',
  '      mr_owner_config: any',
  '      config_digest: "sha256:<64 hex digits>"',
  '',
  'To see what a gateway runs before you decide, say so by name, and only genuineness is proven:',
  '',
  '  workload: any',
].map((hint) => ({ path: '', hint }))

export function requireOrigin(url: string): string {
  try {
    return originOf(url)
  } catch {
    throw new CliError('url_malformed')
  }
}
