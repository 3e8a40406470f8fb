import type { IncomingMessage } from 'node:http'
import { GatewayError } from './errors.ts'
import { Gathered } from './gathered.ts'
import type { Prompt } from './prompt.ts'
import { Sensitive } from './sensitive.ts'

export interface BodyLimits {
  readonly bytes: number
  /** For the whole body: one that comes byte by byte is never silent. */
  readonly ms: number
}

/**
 * Reads a request body. Throws `body_too_large` before more than the limit is held, `request_timeout` where it is late,
 * `bad_request` where it ends early.
 */
export function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Prompt> {
  return new Promise((resolve, reject) => {
    const expected = Number(request.headers['content-length'] ?? 0)
    const gathered = new Gathered(expected)
    const refuse = (code: 'body_too_large' | 'request_timeout' | 'bad_request'): void => {
      clearTimeout(late)
      request.off('data', take)
      // The rest is discarded rather than left in the socket, so that the client can read the refusal.
      request.resume()
      reject(new GatewayError(code))
    }
    const late = setTimeout(() => refuse('request_timeout'), limits.ms)
    const take = (chunk: Buffer): void => {
      if (gathered.length + chunk.length > limits.bytes) refuse('body_too_large')
      else gathered.push(chunk)
    }
    if (expected > limits.bytes) {
      refuse('body_too_large')
      return
    }
    request.on('data', take)
    request.once('end', () => {
      clearTimeout(late)
      resolve(new Sensitive(gathered.take()))
    })
    request.once('error', () => refuse('bad_request'))
    request.once('close', () => {
      if (!request.complete) refuse('bad_request')
    })
  })
}
