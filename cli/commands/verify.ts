import type { Command } from 'commander'
import { writeFile } from 'node:fs/promises'
import {
  auditSessions,
  Recorder,
  verifiedFetch,
  verifyGateway,
  type AppraisedSession,
  type FailedSession,
  type SessionPolicy,
  type VerifiedGateway,
  type VerifyOptions,
} from '../../client/index.ts'
import { channelJson, channelLines, endpointJson, endpointLines } from '../describe.ts'
import { CliError } from '../errors.ts'
import { EXIT, failureOf, type ExitCode } from '../exit.ts'
import {
  collateralSource,
  requiredPolicy,
  requireOrigin,
  withExample,
  withGatewayOptions,
  type GatewayOptions,
  type Shell,
} from '../options.ts'
import { execute, failureLines, type Report, type Style } from '../output.ts'
import { readSessionPolicy } from '../session-policy.ts'

interface Options extends GatewayOptions {
  readonly deep?: true
  readonly upstreamPolicy?: string
  readonly save?: string
  readonly record?: string
}

export function addVerify(program: Command, shell: Shell): void {
  const command = program
    .command('verify')
    .description('verify a gateway: its report over a fresh nonce, and the key of the connection')
    .argument('<url>', 'https://host[:port]')
  withExample(
    withGatewayOptions(command)
      .option('--deep', 'judge the evidence of every current session of the gateway as well')
      .option('--upstream-policy <file>', 'what its providers must be running; required for --deep')
      .option('--record <folder>', 'keep what was fetched as a capture, for `appraise`')
      .option('--save <file>', 'keep the evidence, to repeat the verdict offline'),
    'verify https://gateway.example.com --policy gateway-policy.yaml',
  ).action(async (url: string, options: Options) => {
    shell.finish(await execute(shell.io, options.json === true, () => verify(url, options, shell)))
  })
}

async function verify(url: string, options: Options, { io }: Shell): Promise<Report> {
  const origin = requireOrigin(url)
  const policy = await requiredPolicy(options.policy)
  const upstreamPolicy = options.deep === true ? await deepPolicy(options.upstreamPolicy) : null
  const verifying = { policy, pcs: collateralSource(options, io.clock), clock: io.clock }
  const gateway = await recordedVerification(origin, verifying, options.record)
  const { save } = options
  if (save !== undefined) {
    await writeFile(save, gateway.evidence).catch(() => {
      throw new CliError('file_not_written')
    })
  }
  const sessions = upstreamPolicy && (await audit(gateway, verifying, upstreamPolicy))
  return report(gateway, sessions, save ?? null)
}

/** The capture is written whether or not the gateway holds: a refusal is what one wants to look at. */
async function recordedVerification(
  origin: string,
  verifying: VerifyOptions,
  dir: string | undefined,
): Promise<VerifiedGateway> {
  if (dir === undefined) return verifyGateway(origin, verifying)
  const recorder = new Recorder()
  const at = verifying.clock.now()
  try {
    return await verifyGateway(origin, { ...verifying, recorder })
  } finally {
    const { nonce } = recorder
    await recorder.write(dir, { provider: 'aci', model: null, nonce, at })
  }
}

function deepPolicy(path: string | undefined): Promise<SessionPolicy> {
  if (path !== undefined) return readSessionPolicy(path)
  const hint = '--deep needs --upstream-policy FILE: what the providers must be running'
  throw new CliError('usage', [{ path: '', hint }])
}

async function audit(
  gateway: VerifiedGateway,
  options: VerifyOptions,
  policy: SessionPolicy,
): Promise<(AppraisedSession | FailedSession)[]> {
  const fetch = verifiedFetch(gateway, options)
  try {
    return await auditSessions({ fetch, policy, clock: options.clock })
  } finally {
    await fetch.close()
  }
}

type Sessions = readonly (AppraisedSession | FailedSession)[]

function report(gateway: VerifiedGateway, sessions: Sessions | null, saved: string | null): Report {
  const { endpoint } = gateway
  const exit = sessionsExit(sessions ?? [])
  const failure = exit === EXIT.ok ? null : failureOf(new CliError('upstream_not_verified'))
  return {
    exit,
    json: {
      ok: exit === EXIT.ok,
      ...endpointJson(endpoint),
      sessions: sessions?.map(sessionJson) ?? null,
      evidence: saved,
      error: failure && { code: failure.code, step: 'session', message: failure.message },
    },
    lines: (style) => [
      style.title(
        exit === EXIT.ok
          ? 'The gateway is verified.'
          : 'The gateway is verified, but not every session behind it holds.',
      ),
      ...endpointLines(style, endpoint),
      ...(sessions === null ? [] : sessionsLines(style, sessions)),
      ...(saved === null ? [] : [style.fact('evidence', saved)]),
    ],
  }
}

/** The gravest outcome: a session that was judged and refused counts before one that could not be had. */
function sessionsExit(sessions: Sessions): ExitCode {
  const exits = sessions.map((session) =>
    'error' in session ? failureOf(session.error).exit : EXIT.ok,
  )
  const gravest = [EXIT.rejected, EXIT.malformed, EXIT.unsupported, EXIT.internal] as const
  return gravest.find((exit) => exits.includes(exit)) ?? EXIT.ok
}

function sessionJson(session: AppraisedSession | FailedSession) {
  if ('error' in session) {
    const { exit: _, ...error } = failureOf(session.error)
    return { id: session.id, ok: false, error }
  }
  const { id, document, endpoint } = session
  const { upstream_name: upstreamName } = document
  return { id, ok: true, upstreamName, ...channelJson(endpoint), error: null }
}

function sessionsLines(style: Style, sessions: Sessions): string[] {
  return [
    '',
    style.title(`Sessions with providers, judged again from their evidence: ${sessions.length}`),
    ...sessions.flatMap((session) => {
      if ('error' in session) {
        return [style.fact('session', session.id), ...failureLines(style, failureOf(session.error))]
      }
      const { id, document, endpoint } = session
      return [
        style.good(`${document.upstream_name} at ${endpoint.origin}`),
        style.fact('session', id),
        ...channelLines(style, endpoint),
      ]
    }),
  ]
}
