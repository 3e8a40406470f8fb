import { formatTime } from '@vouchgate/attestation'
import type { Command } from 'commander'
import { appraiseSession, type AppraisedSession } from '../../client/index.ts'
import { channelJson, channelLines } from '../describe.ts'
import { EXIT } from '../exit.ts'
import { readJson } from '../input.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, type Report } from '../output.ts'
import { readSessionPolicy, RECORDED } from '../session-policy.ts'

interface Options extends JsonOption {
  readonly policy?: string
}

export function addVerifySession(program: Command, shell: Shell): void {
  const command = program
    .command('verify-session')
    .description('judge the record of a verification again, offline and at its own time')
    .argument('<file>', 'the session, as the gateway served it')
    .option('--policy <file>', 'what the provider must have been running')
  withExample(command, 'verify-session session.json --policy provider-policy.yaml').action(
    async (file: string, options: Options) => {
      shell.finish(await execute(shell.io, options.json === true, () => check(file, options)))
    },
  )
}

async function check(file: string, { policy }: Options): Promise<Report> {
  const expected = policy === undefined ? RECORDED : await readSessionPolicy(policy)
  return report(await appraiseSession(await readJson(file), expected))
}

function report({ id, document, endpoint }: AppraisedSession): Report {
  return {
    exit: EXIT.ok,
    json: {
      ok: true,
      id,
      upstreamName: document.upstream_name,
      establishedAt: formatTime(document.established_at),
      sessionExpiresAt: formatTime(document.expires_at),
      claims: document.claims,
      ...channelJson(endpoint),
      error: null,
    },
    lines: (style) => [
      style.title('The session holds: its evidence, judged again, shows what it states.'),
      style.fact('session', id),
      style.fact('upstream', document.upstream_name),
      style.fact('established', formatTime(document.established_at)),
      style.fact('expires', formatTime(document.expires_at)),
      ...channelLines(style, endpoint),
    ],
  }
}
