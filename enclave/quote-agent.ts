import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'
import { decodeUtf8, fromHex, isVerificationError, parseJson, toHex } from '@vouchgate/attestation'
import type { Bytes } from '@vouchgate/attestation'
import { configfsTsmSource } from './configfs-tsm.ts'
import { quoteQueue } from './quote-queue.ts'
import { EnclaveError, REPORT_DATA_LENGTH, type QuoteSource } from './quote-source.ts'

/**
 * A process of its own that answers `POST /GetQuote`, the request of the dstack guest agent, from another
 * source. configfs-tsm needs the right to write files; with this helper the gateway, which sees prompts, has none.
 */

const MAX_REQUEST = 1024
const MAX_WAITING = 16
const REQUEST_TIMEOUT_MS = 5_000

interface Answer {
  readonly status: number
  readonly body: object
  readonly retryAfter?: number
}

export interface QuoteAgentOptions {
  /** A path that does not exist yet. */
  readonly socketPath: string
  readonly source: QuoteSource
}

/** Listens on the socket. Closing the server removes it. */
export async function startQuoteAgent(options: QuoteAgentOptions): Promise<Server> {
  const source = quoteQueue(options.source, { maxWaiting: MAX_WAITING })
  const server = createServer((request, response) => {
    void respond(source, request, response)
  })
  server.requestTimeout = REQUEST_TIMEOUT_MS
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.socketPath, resolve)
  })
  return server
}

async function respond(
  source: QuoteSource,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, body, retryAfter } = await answer(source, request)
  response.writeHead(status, {
    'content-type': 'application/json',
    connection: 'close',
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
  })
  response.end(JSON.stringify(body))
}

async function answer(source: QuoteSource, request: IncomingMessage): Promise<Answer> {
  if (request.url !== '/GetQuote') return { status: 404, body: { error: 'not_found' } }
  if (request.method !== 'POST') return { status: 405, body: { error: 'method_not_allowed' } }
  const reportData = requestedReportData(await readBody(request))
  if (reportData === null) return { status: 400, body: { error: 'invalid_request' } }
  try {
    const { quote, eventLog, vmConfig } = await source.quote(reportData)
    const body = {
      quote: toHex(quote),
      event_log: eventLog ?? '',
      report_data: toHex(reportData),
      vm_config: vmConfig ?? '',
    }
    return { status: 200, body }
  } catch (error) {
    return failure(error)
  }
}

function failure(error: unknown): Answer {
  if (!(error instanceof EnclaveError)) return { status: 500, body: { error: 'internal' } }
  const body = { error: error.code }
  if (error.code === 'quote_timeout') return { status: 504, body }
  if (error.code !== 'quote_busy') return { status: 503, body }
  return { status: 429, body, retryAfter: error.retryAfterSeconds ?? 1 }
}

/** Null where the body is too long or the connection broke. */
async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of request) {
      if (!Buffer.isBuffer(chunk)) return null
      length += chunk.length
      if (length > MAX_REQUEST) return null
      chunks.push(chunk)
    }
  } catch {
    return null
  }
  return Buffer.concat(chunks)
}

/** Shorter report data is padded with zeros on the right, as the guest agent does. */
function requestedReportData(body: Buffer | null): Bytes | null {
  if (body === null) return null
  try {
    const request = parseJson(decodeUtf8(body))
    if (typeof request !== 'object' || request === null || !('report_data' in request)) return null
    const hex = request['report_data']
    if (typeof hex !== 'string') return null
    const bytes = fromHex(hex)
    if (bytes.length > REPORT_DATA_LENGTH) return null
    const padded = new Uint8Array(REPORT_DATA_LENGTH)
    padded.set(bytes)
    return padded
  } catch (error) {
    if (isVerificationError(error)) return null
    throw error
  }
}

function readArguments(): { socket: string; tsmRoot: string | null } | null {
  try {
    const { values } = parseArgs({
      options: { socket: { type: 'string' }, 'tsm-root': { type: 'string' } },
    })
    return values.socket === undefined
      ? null
      : { socket: values.socket, tsmRoot: values['tsm-root'] ?? null }
  } catch {
    return null
  }
}

async function main(): Promise<void> {
  const given = readArguments()
  if (given === null) {
    process.stderr.write('usage: quote-agent.ts --socket PATH [--tsm-root DIR]\n')
    process.exitCode = 2
    return
  }
  // Only the gateway's own user may ask for quotes: whoever can obtain one over chosen report data can pass for us.
  process.umask(0o177)
  const source = configfsTsmSource(given.tsmRoot === null ? {} : { root: given.tsmRoot })
  const starting = startQuoteAgent({ socketPath: given.socket, source })
  // Before it listens: whoever sees the socket may end it.
  process.once('SIGTERM', () => void starting.then((server) => server.close()))
  await starting
}

if (import.meta.main) await main()
