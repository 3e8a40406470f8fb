import { decodeUtf8, fromHex, isVerificationError, parseJson, toHex } from '@vouchgate/attestation'
import type { Bytes, JsonValue } from '@vouchgate/attestation'
import { Client } from 'undici'
import {
  copyReportData,
  EnclaveError,
  requireBoundQuote,
  type QuoteSource,
  type TeeEvidence,
} from './quote-source.ts'

const DSTACK_SOCKET = '/var/run/dstack.sock'

export interface DstackOptions {
  /** The guest agent's socket, or that of `quote-agent.ts`; `/var/run/dstack.sock`. */
  readonly socketPath?: string
  /** For the whole exchange; 60 s, of which the quoting enclave may take 30. */
  readonly timeoutMs?: number
}

const TIMEOUT_MS = 60_000
/** A quote is about 10 kB of hex; event logs were seen up to some 100 kB. */
const MAX_RESPONSE = 1 << 20
const RETRY_AFTER_SECONDS = 5

/**
 * Quotes from the dstack guest agent: `POST /GetQuote` over its unix socket.
 *
 * Rejects with `EnclaveError`: `quote_busy`, `quote_timeout`, `quote_unavailable`, `quote_malformed`,
 * `quote_mismatch`.
 */
export function dstackSource(options: DstackOptions = {}): QuoteSource {
  const { socketPath = DSTACK_SOCKET, timeoutMs = TIMEOUT_MS } = options
  return {
    kind: 'dstack',
    async quote(reportData) {
      const wanted = copyReportData(reportData)
      const evidence = parseAnswer(await ask(socketPath, timeoutMs, wanted))
      requireBoundQuote(evidence.quote, wanted)
      return evidence
    },
  }
}

async function ask(socketPath: string, timeoutMs: number, reportData: Bytes): Promise<Bytes> {
  const client = new Client('http://localhost', { socketPath, maxResponseSize: MAX_RESPONSE })
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const { statusCode, body } = await client.request({
      path: '/GetQuote',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ report_data: toHex(reportData) }),
      signal,
    })
    requireOk(statusCode)
    return Uint8Array.from(await body.bytes())
  } catch (error) {
    if (error instanceof EnclaveError) throw error
    // Errors of the transport name the socket; only what kind it was goes on.
    throw new EnclaveError(signal.aborted ? 'quote_timeout' : 'quote_unavailable')
  } finally {
    await client.destroy()
  }
}

function requireOk(status: number): void {
  if (status === 200) return
  if (status === 429) throw new EnclaveError('quote_busy', RETRY_AFTER_SECONDS)
  throw new EnclaveError(status === 504 ? 'quote_timeout' : 'quote_unavailable')
}

function parseAnswer(bytes: Bytes): TeeEvidence {
  try {
    const answer = parseJson(decodeUtf8(bytes))
    const quote = text(answer, 'quote')
    if (quote === null) throw new EnclaveError('quote_malformed')
    return {
      quote: fromHex(quote),
      eventLog: text(answer, 'event_log'),
      vmConfig: text(answer, 'vm_config'),
    }
  } catch (error) {
    if (isVerificationError(error)) throw new EnclaveError('quote_malformed')
    throw error
  }
}

/** A member that is a string; absent and empty mean that the agent has none. */
function text(answer: JsonValue, name: string): string | null {
  if (!isObject(answer)) throw new EnclaveError('quote_malformed')
  const value = answer[name] ?? ''
  if (typeof value !== 'string') throw new EnclaveError('quote_malformed')
  return value === '' ? null : value
}

const isObject = (value: JsonValue): value is { readonly [member: string]: JsonValue } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
