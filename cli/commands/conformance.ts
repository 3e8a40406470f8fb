import { decodeUtf8, parseJson } from '@vouchgate/attestation'
import type { Command } from 'commander'
import { readBounded } from '../../client/bounded.ts'
import { EHBP_BINDING } from '../conformance/ehbp-binding.ts'
import { FULL } from '../conformance/full.ts'
import { HARDWARE } from '../conformance/hardware.ts'
import { MEASUREMENT } from '../conformance/measurement.ts'
import { NOTHING_PUBLISHED, parsePublished } from '../conformance/published.ts'
import { SEV } from '../conformance/sev.ts'
import { SIGSTORE } from '../conformance/sigstore.ts'
import { TDX } from '../conformance/tdx.ts'
import { CliError } from '../errors.ts'
import { EXIT } from '../exit.ts'
import { readText } from '../input.ts'
import type { Io } from '../io.ts'
import { withExample, type Shell } from '../options.ts'
import { execute, type Report } from '../output.ts'

const STAGES = [TDX, SEV, SIGSTORE, MEASUREMENT, HARDWARE, EHBP_BINDING, FULL]
/** A quote with its collateral is some 30 KB. */
const MAX_INPUT = 4 << 20
const MAX_CHAINS = 1 << 20

interface ConformanceOptions {
  readonly chains?: string
}

export function addConformance(program: Command, shell: Shell): void {
  const command = program
    .command('conformance')
    .description('judge one document of the conformance contract: JSON on stdin, JSON on stdout')
    .argument('<stage>', STAGES.map(({ name }) => name).join(', '))
    .option('--chains <file>', 'PEM of Intel and AMD CAs, for inputs that bring no issuer chain')
  withExample(command, 'conformance verify-attestation-tdx < input.json').action(
    async (stage: string, { chains }: ConformanceOptions) => {
      // The contract is between programs: there is no other output than JSON.
      shell.finish(await execute(shell.io, true, () => judge(stage, chains, shell.io)))
    },
  )
}

async function judge(name: string, chains: string | undefined, io: Io): Promise<Report> {
  const stage = STAGES.find((known) => known.name === name)
  if (stage === undefined) throw new CliError('stage_unsupported')
  const bytes = await readBounded(io.stdin(), MAX_INPUT)
  if (bytes === null) throw new CliError('file_too_large')
  // The output schema is closed, so what else a reader should know goes beside it.
  const note = (text: string): void => io.err(`${text}\n`)
  const published =
    chains === undefined ? NOTHING_PUBLISHED : parsePublished(await readText(chains, MAX_CHAINS))
  const verdict = await stage.judge(parseJson(decodeUtf8(bytes)), { note, published })
  return {
    // Evidence that cannot be read or is of another kind is refused like any that does not hold.
    exit: verdict.accepted ? EXIT.ok : EXIT.rejected,
    json: { stage: stage.name, ...verdict },
    lines: () => [],
  }
}
