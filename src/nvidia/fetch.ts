import type { Bytes, Clock, EvidenceErrorCode } from '@vouchgate/attestation'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'undici'
import { discard, readBounded } from '../../client/bounded.ts'
import { ChannelError, type ChannelErrorCode } from '../../client/errors.ts'
import { retryAfter } from '../../client/retry-after.ts'

/** Where one of NVIDIA's services, or a mirror of it, is. */
export interface NvidiaService {
  readonly url: string
  /** For a whole answer. */
  readonly timeoutMs: number
}

export interface NvidiaRequest extends NvidiaService {
  /** By which a date is a wait, where the service gives one. */
  readonly clock: Clock
  /** A request with a body is a POST. */
  readonly body?: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
  readonly maxBytes: number
  /** What a status other than 200 means here, where it has a meaning of its own. */
  readonly statuses?: Readonly<Record<number, ChannelErrorCode>>
}

/** A service gave an answer that does not hold. That says nothing of the devices, nor of who showed them. */
export class NvidiaAnswerRefused extends ChannelError {
  readonly reason: EvidenceErrorCode

  constructor(code: 'ocsp_answer_refused' | 'nras_answer_refused', reason: EvidenceErrorCode) {
    super(code)
    this.reason = reason
  }
}

const STATUSES: Readonly<Record<number, ChannelErrorCode>> = { 429: 'nvidia_rate_limited' }

/**
 * The body of one answer with status 200, byte for byte. Redirects are not followed: the service is the one that
 * was configured. Nothing is verified here.
 *
 * @throws ChannelError `nvidia_unreachable`, `nvidia_timeout`, `nvidia_too_large`, `nvidia_rate_limited`,
 * `nvidia_status` or a code of `statuses`; never undici's own errors, which carry the URL.
 */
export async function fetchNvidia(input: NvidiaRequest): Promise<Bytes> {
  const { url, body, headers = {}, timeoutMs, maxBytes } = input
  const signal = AbortSignal.timeout(timeoutMs)
  const method = body === undefined ? 'GET' : 'POST'
  try {
    const answer = await request(url, { method, headers, body: body ?? null, signal })
    if (answer.statusCode !== 200) {
      discard(answer.body)
      throw statusError(answer.statusCode, answer.headers, input)
    }
    const bytes = await readBounded(answer.body, maxBytes)
    if (bytes === null) throw new ChannelError('nvidia_too_large')
    return bytes
  } catch (error) {
    if (error instanceof ChannelError) throw error
    throw new ChannelError(signal.aborted ? 'nvidia_timeout' : 'nvidia_unreachable')
  }
}

function statusError(
  status: number,
  headers: IncomingHttpHeaders,
  { statuses = {}, clock }: NvidiaRequest,
): ChannelError {
  const code = statuses[status] ?? STATUSES[status] ?? 'nvidia_status'
  return new ChannelError(code, retryAfter(headers, clock.now()))
}
