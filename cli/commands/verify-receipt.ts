import {
  DEFAULT_POLICY,
  formatTime,
  parseReceipt,
  parseSession,
  verifyEndpoint,
  verifyReceipt,
  verifySession,
  type Receipt,
  type VerifiedAciService,
} from '@vouchgate/attestation'
import type { Command } from 'commander'
import { provenLine, rootLines } from '../describe.ts'
import { EXIT } from '../exit.ts'
import { readInput, readJson, readPolicy } from '../input.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, type Report } from '../output.ts'

interface Options extends JsonOption {
  readonly evidence: string
  readonly policy?: string
  readonly request?: string
  readonly response?: string
  readonly session?: string
}

export function addVerifyReceipt(program: Command, shell: Shell): void {
  const command = program
    .command('verify-receipt')
    .description('check a receipt, offline, under the keys that kept evidence proves')
    .argument('<file>', 'the receipt, as the gateway served it')
    .requiredOption('--evidence <file>', 'the file that `verify --save` wrote')
    .option('--policy <file>', 'what the gateway must have been running')
    .option('--request <file>', 'the exact bytes of the request body')
    .option('--response <file>', 'the exact bytes of the response body, SSE framing included')
    .option('--session <file>', 'the session that must have served the request')
  withExample(
    command,
    'verify-receipt receipt.json --evidence evidence.json --request request.json --response response.txt',
  ).action(async (file: string, options: Options) => {
    shell.finish(await execute(shell.io, options.json === true, () => check(file, options)))
  })
}

async function check(file: string, options: Options): Promise<Report> {
  const receipt = parseReceipt(await readJson(file))
  const policy = options.policy === undefined ? DEFAULT_POLICY : await readPolicy(options.policy)
  const endpoint = await verifyEndpoint({
    evidence: await readInput(options.evidence),
    challenge: 'recorded',
    now: 'recorded',
    policy,
  })
  const { request, response, session } = options
  const bound = {
    ...(request === undefined ? {} : { requestBody: await readInput(request) }),
    ...(response === undefined ? {} : { responseBody: await readInput(response) }),
    ...(session === undefined ? {} : { sessionId: await idOf(session) }),
  }
  const { keyset, keysetDigest } = endpoint
  await verifyReceipt({ receipt, keyset, keysetDigest, ...bound })
  return report(receipt, endpoint, bound)
}

const idOf = async (file: string): Promise<string> =>
  (await verifySession(parseSession(await readJson(file)))).id

function report(receipt: Receipt, endpoint: VerifiedAciService, bound: object): Report {
  const served = formatTime(receipt.served_at)
  const checked = {
    request: 'requestBody' in bound,
    response: 'responseBody' in bound,
    session: 'sessionId' in bound,
  }
  const unchecked = Object.entries(checked).flatMap(([name, was]) => (was ? [] : [name]))
  return {
    exit: EXIT.ok,
    json: {
      ok: true,
      receiptId: receipt.receipt_id,
      chatId: receipt.chat_id,
      model: receipt.model,
      servedAt: served,
      keysetDigest: endpoint.keysetDigest,
      checked,
      proven: endpoint.workload === 'pinned' ? 'identity' : 'genuineness',
      trustedRoot: endpoint.quote.root,
      events: receipt.event_log,
      error: null,
    },
    lines: (style) => [
      style.title('The receipt holds.'),
      style.fact('receipt', receipt.receipt_id),
      style.fact('model', receipt.model ?? 'none'),
      style.fact('served at', served),
      style.fact('keyset', endpoint.keysetDigest),
      style.fact('events', receipt.event_log.map(({ type }) => type).join(', ')),
      ...unchecked.map((name) => style.warn(`Not compared with a ${name}: none was given.`)),
      ...rootLines(style, endpoint.quote),
      provenLine(style, endpoint),
    ],
  }
}
