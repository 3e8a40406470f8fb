import {
  appraiseEvidence,
  isVerificationError,
  isVerifiedAciService,
  observingPolicy,
  PROVIDER_KINDS,
  type Bytes,
  type Claims,
  type ProviderPolicy,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { Option, type Command } from 'commander'
import { verifyRelease } from '../../client/sigstore.ts'
import { readCapture, type Capture } from '../../client/index.ts'
import { collectFromCapture, kindOf } from '../capture-provider.ts'
import { bindingJson, claimLines } from '../describe.ts'
import { CliError } from '../errors.ts'
import { EXIT, failureOf, type Failure } from '../exit.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, failureLines, type Report, type Style } from '../output.ts'
import { readSessionPolicy, RECORDED } from '../session-policy.ts'

interface Options extends JsonOption {
  readonly provider?: (typeof PROVIDER_KINDS)[number]
  readonly capture: string
  readonly policy?: string
}

export function addAppraise(program: Command, shell: Shell): void {
  const command = program
    .command('appraise')
    .description('judge a recorded exchange with a provider, offline and at its own time')
    .addOption(
      new Option('--provider <kind>', 'kind of provider (default: what the capture names)').choices(
        [...PROVIDER_KINDS],
      ),
    )
    .requiredOption('--capture <folder>', 'manifest.json and responses/ of one verification')
    .option(
      '--policy <file>',
      'what to accept (default: genuine, current, as far as it was recorded)',
    )
  withExample(command, 'appraise --provider near-direct --capture capture/ --json').action(
    async (options: Options) => {
      shell.finish(await execute(shell.io, options.json === true, () => appraise(options)))
    },
  )
}

type Verdict =
  | { readonly endpoints: readonly VerifiedEndpoint[]; readonly failure: null }
  | { readonly endpoints: null; readonly failure: Failure }

async function appraise(options: Options): Promise<Report> {
  const capture = await readCapture(options.capture)
  const kind = options.provider ?? kindOf(capture)
  if (kind === null) throw new CliError('provider_kind_required')
  const policy = options.policy === undefined ? RECORDED : await readSessionPolicy(options.policy)
  const evidence = await collectFromCapture(kind, capture).catch((error: unknown) => {
    // What cannot even be gathered was refused as well: the answer has the same shape.
    if (isVerificationError(error)) return failureOf(error)
    throw error
  })
  if ('code' in evidence) {
    return report({ kind, capture, verdict: { endpoints: null, failure: evidence }, shown: [] })
  }
  const wanted = policy(capture.provider, evidence)
  const verdict = await judge(evidence, capture, wanted)
  // What is refused is shown all the same, as far as it is genuine; it is not accepted by being shown.
  const shown =
    verdict.endpoints ?? (await judge(evidence, capture, observingPolicy(wanted))).endpoints
  return report({ kind, capture, verdict, shown: shown ?? [] })
}

async function judge(
  evidence: Bytes,
  { nonce, capturedAt }: Capture,
  policy: ProviderPolicy,
): Promise<Verdict> {
  try {
    const challenge = nonce ?? 'recorded'
    const endpoints = await appraiseEvidence({
      evidence,
      challenge,
      now: capturedAt,
      policy,
      verifyRelease,
    })
    return { endpoints, failure: null }
  } catch (error) {
    return { endpoints: null, failure: failureOf(error) }
  }
}

interface Shown {
  readonly kind: string
  readonly capture: Capture
  readonly verdict: Verdict
  readonly shown: readonly VerifiedEndpoint[]
}

function report({ kind, capture, verdict, shown }: Shown): Report {
  const { failure } = verdict
  const [first] = shown
  const extra = first?.claims.extra ?? {}
  const { extra: _, ...claims } = first?.claims ?? { extra: {} }
  const json = {
    provider: kind,
    model: capture.model,
    accepted: failure === null,
    nonceFresh: first !== undefined && answersNonce(first, capture),
    tcbStatus: extra['tcb_status'] ?? null,
    gpus: extra['gpu_count'] ?? 0,
    claims,
    channelBinding: shown.flatMap(({ bindings }) => bindings.map(bindingJson)),
    extra,
    error: failure === null ? null : { code: failure.code, step: failure.step },
  }
  return {
    exit: failure?.exit ?? EXIT.ok,
    json,
    lines: (style) => [...headLines(style, verdict), ...factLines(style, json)],
  }
}

/** What an ACI/1 service binds always holds the nonce that was sent, or says that there was none. */
const answersNonce = (endpoint: VerifiedEndpoint, { nonce }: Capture): boolean =>
  isVerifiedAciService(endpoint)
    ? nonce !== null
    : endpoint.claims.extra['freshness'] === 'client_nonce'

const headLines = (style: Style, { failure }: Verdict): string[] =>
  failure === null
    ? [style.good('accepted: the evidence holds and is wanted')]
    : failureLines(style, failure)

interface Facts {
  readonly nonceFresh: boolean
  readonly tcbStatus: unknown
  readonly gpus: unknown
  readonly claims: Partial<Claims>
  readonly channelBinding: readonly object[]
}

function factLines(style: Style, facts: Facts): string[] {
  const { nonceFresh, tcbStatus, gpus, claims, channelBinding } = facts
  return [
    style.fact('answers nonce', nonceFresh ? 'yes' : 'no'),
    style.fact('TCB status', String(tcbStatus)),
    style.fact('GPUs', String(gpus)),
    style.fact('channel', `${channelBinding.length} attested key(s)`),
    ...claimLines(style, claims),
  ]
}
