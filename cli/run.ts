import { Command, CommanderError } from 'commander'
import { SOFTWARE } from '../src/version.ts'
import { addCollateral } from './commands/collateral-fetch.ts'
import { addConfig } from './commands/config-check.ts'
import { addConformance } from './commands/conformance.ts'
import { addConnect } from './commands/connect.ts'
import { addDemo } from './commands/demo.ts'
import { addServe } from './commands/serve.ts'
import { addVerify } from './commands/verify.ts'
import { addAppraise } from './commands/appraise.ts'
import { addVerifyGpu } from './commands/verify-gpu.ts'
import { addVerifyQuote } from './commands/verify-quote.ts'
import { addVerifyReceipt } from './commands/verify-receipt.ts'
import { addVerifySession } from './commands/verify-session.ts'
import { CliError } from './errors.ts'
import { EXIT, failureOf, type ExitCode } from './exit.ts'
import type { Io } from './io.ts'
import type { Shell } from './options.ts'
import { failureReport } from './output.ts'

const EXIT_CODES = `
Exit codes:
  0 accepted or done    10 rejected by verification or policy    20 not supported
  30 malformed input     2 wrong usage                            1 internal, or unreachable`

/** Runs one command line (without node and script). Never rejects; gives the exit code. */
export async function run(argv: readonly string[], io: Io): Promise<ExitCode> {
  let exit: ExitCode = EXIT.ok
  const finish = (code: ExitCode): void => {
    exit = code
  }
  try {
    await buildProgram({ io, finish }).parseAsync([...argv], { from: 'user' })
    return exit
  } catch (error) {
    return usageExit(error, argv, io)
  }
}

const SHOWN = new Set(['commander.helpDisplayed', 'commander.version'])

function usageExit(error: unknown, argv: readonly string[], io: Io): ExitCode {
  if (error instanceof CommanderError && SHOWN.has(error.code)) return EXIT.ok
  const failure = failureOf(error instanceof CommanderError ? new CliError('usage') : error)
  if (argv.includes('--json')) io.out(`${JSON.stringify(failureReport(failure).json)}\n`)
  return failure.exit
}

function buildProgram(shell: Shell): Command {
  const { io } = shell
  const program = new Command('vouchgate')
    .description('No proof, no prompt: an AI gateway in a confidential VM, and what verifies it.')
    .version(SOFTWARE)
    .addHelpText('after', EXIT_CODES)
    .showHelpAfterError('(--help says more)')
    .exitOverride()
    .configureOutput({
      writeOut: io.out,
      writeErr: io.err,
      getOutHasColors: () => io.color,
      getErrHasColors: () => io.color,
    })
  // Subcommands inherit what is set before they are added.
  for (const add of COMMANDS) add(program, shell)
  return program
}

const COMMANDS = [
  addDemo,
  addServe,
  addConfig,
  addVerify,
  addConnect,
  addAppraise,
  addVerifyGpu,
  addVerifyQuote,
  addVerifyReceipt,
  addVerifySession,
  addCollateral,
  addConformance,
]
