import {
  acceptQuote,
  DEFAULT_POLICY,
  isVerificationError,
  parseCollateral,
  parseQuote,
  testPkiRoot,
  trustedRoot,
  verifyQuote,
  type EvidenceError,
  type GenuineQuote,
  type Policy,
  type PolicyError,
  type TrustedRoot,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { Command } from 'commander'
import { quoteJson, quoteLines, rootLines } from '../describe.ts'
import { EXIT, failureOf } from '../exit.ts'
import { parseMoment, readJson, readQuote, readQuotePolicy, readText } from '../input.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, failureLines, type Report, type Style } from '../output.ts'

interface Options extends JsonOption {
  readonly quote: string
  readonly collateral: string
  readonly at: UnixSeconds
  readonly policy?: string
  readonly trustedRoot?: string
}

export function addVerifyQuote(program: Command, shell: Shell): void {
  const command = program
    .command('verify-quote')
    .description('judge one TDX or SGX quote, offline')
    .requiredOption('--quote <file>', 'the quote: raw bytes, hex or base64')
    .requiredOption('--collateral <file>', 'its collateral, as one JSON document')
    .requiredOption('--at <time>', 'the moment to judge at: ISO 8601 or unix seconds', parseMoment)
    .option('--policy <file>', 'what to accept (default: UpToDate, production, any workload)')
    .option('--trusted-root <pem>', "a test PKI's root in place of Intel's; no proof of hardware")
  withExample(
    command,
    'verify-quote --quote quote.bin --collateral collateral.json --at 2026-11-20T00:00:00Z',
  ).action(async (options: Options) => {
    shell.finish(await execute(shell.io, options.json === true, () => verifyQuoteFiles(options)))
  })
}

/** The verdict on one quote. */
type Verdict =
  | { readonly accepted: true; readonly quote: GenuineQuote; readonly error: null }
  | { readonly accepted: false; readonly quote: GenuineQuote; readonly error: PolicyError }
  | { readonly accepted: false; readonly quote: null; readonly error: EvidenceError }

async function verifyQuoteFiles(options: Options): Promise<Report> {
  const policy =
    options.policy === undefined ? DEFAULT_POLICY : await readQuotePolicy(options.policy)
  const root =
    options.trustedRoot === undefined
      ? await trustedRoot(policy)
      : await testPkiRoot(await readText(options.trustedRoot))
  const bytes = await readQuote(options.quote)
  const judged = await judge(options, bytes, { policy, root })
  return report(judged, bytes, root)
}

async function judge(
  options: Options,
  quote: Uint8Array,
  { policy, root }: { policy: Policy; root: TrustedRoot },
): Promise<Verdict> {
  let genuine: GenuineQuote | null = null
  try {
    const collateral = parseCollateral(await readJson(options.collateral))
    genuine = await verifyQuote({ quote, collateral, now: options.at, trustedRoot: root })
    return { accepted: true, quote: acceptQuote(genuine, policy), error: null }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    if (error.name === 'EvidenceError') return { accepted: false, quote: null, error }
    if (genuine === null) throw error
    return { accepted: false, quote: genuine, error }
  }
}

/** What was not proven is null; only the kind of quote is told, so that the reader knows what was refused. */
function unproven(bytes: Uint8Array) {
  return {
    ...kindOf(bytes),
    tcbStatus: null,
    advisoryIds: [],
    tcbDate: null,
    fmspc: null,
    debug: null,
    reportData: null,
    measurements: {},
  }
}

function kindOf(bytes: Uint8Array) {
  try {
    const { body, version } = parseQuote(bytes)
    return { teeType: body.tee, quoteVersion: version }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return { teeType: null, quoteVersion: null }
  }
}

function report(verdict: Verdict, bytes: Uint8Array, root: TrustedRoot): Report {
  const { accepted, quote, error } = verdict
  return {
    exit: error === null ? EXIT.ok : failureOf(error).exit,
    json: {
      genuine: quote !== null,
      accepted,
      ...(quote === null ? unproven(bytes) : quoteJson(quote)),
      error: error && { code: error.code, step: error.step },
      // Said only where it is not Intel's, and then always.
      ...(root.kind === 'intel' ? {} : { trustedRoot: { kind: root.kind, sha256: root.sha256 } }),
    },
    lines: (style) => verdictLines(style, verdict, root),
  }
}

function verdictLines(style: Style, { quote, error }: Verdict, root: TrustedRoot): string[] {
  if (quote === null) {
    return [
      style.title('The quote is not genuine.'),
      ...failureLines(style, failureOf(error)),
      ...(root.kind === 'intel' ? [] : [style.warn('Judged under a test root, not under Intel.')]),
    ]
  }
  const title = error === null ? 'genuine and accepted.' : 'genuine, and not accepted.'
  return [
    style.title(`The quote is ${title}`),
    ...quoteLines(style, quote),
    ...rootLines(style, quote),
    ...(error === null ? [] : failureLines(style, failureOf(error))),
  ]
}
