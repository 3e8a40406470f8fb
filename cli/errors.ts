import type { ConfigProblem } from '../src/config/index.ts'

interface Entry {
  readonly exit: 1 | 2 | 10 | 20 | 30
  readonly message: string
}

const entry = (exit: Entry['exit'], message: string): Entry => ({ exit, message })

const CLI_ERRORS = {
  usage: entry(2, 'the command line is not valid'),
  url_malformed: entry(2, 'the URL is not of the form https://host[:port]'),
  policy_required: entry(2, 'say what the gateway must be running: --policy FILE'),
  file_unreadable: entry(30, 'an input file cannot be read'),
  file_too_large: entry(30, 'an input file is over the size limit'),
  folder_too_large: entry(30, 'an input folder has more files than the limit'),
  file_not_written: entry(1, 'the output file cannot be written'),
  platform_required: entry(2, 'name the platform: --quote FILE, or --fmspc HEX and --ca NAME'),
  output_required: entry(2, 'say where the collateral goes: --out FILE, --bundle FILE or both'),
  provider_kind_required: entry(2, 'name the kind of provider: --provider KIND'),
  yaml_malformed: entry(30, 'the policy is not one YAML or JSON document'),
  policy_without_workload: entry(
    30,
    'the policy names no workload: list the expected measurements, or write `workload: any`',
  ),
  upstream_not_verified: entry(10, 'a session of the gateway does not hold'),
  provider_not_expected: entry(10, 'the policy names no provider of this name'),
  conformance_input_malformed: entry(30, 'the input is not a document of this conformance stage'),
  chains_malformed: entry(30, 'the file of CA certificates holds one that cannot be read'),
  stage_unsupported: entry(20, 'this conformance stage is not supported'),
  demo_absent: entry(20, 'the demo is not part of this installation; run it from the source tree'),
} as const satisfies Record<string, Entry>

export type CliErrorCode = keyof typeof CLI_ERRORS

/** What goes wrong before or around a verification. The message comes from the table, never from the input. */
export class CliError extends Error {
  override readonly name = 'CliError'
  readonly code: CliErrorCode
  readonly exit: Entry['exit']
  /** Places in a file and what to do there; none of them quotes the file. */
  readonly problems: readonly ConfigProblem[]

  constructor(code: CliErrorCode, problems: readonly ConfigProblem[] = []) {
    super(CLI_ERRORS[code].message)
    this.code = code
    this.exit = CLI_ERRORS[code].exit
    this.problems = problems
  }
}
