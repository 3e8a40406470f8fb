import type { IncomingMessage } from 'node:http'
import { GatewayError } from './errors.ts'
import { Gathered } from './gathered.ts'
import type { Prompt } from './prompt.ts'
import { Sensitive } from './sensitive.ts'

/**
 * Reads a request body. Throws `body_too_large` before more than `limit` bytes are held, `bad_request` where it ends early.
 */
export function readBody(request: IncomingMessage, limit: number): Promise<Prompt> {
  return new Promise((resolve, reject) => {
    const expected = Number(request.headers['content-length'] ?? 0)
    const gathered = new Gathered(expected)
    const refuse = (code: 'body_too_large' | 'bad_request'): void => {
      request.off('data', take)
      // The rest is discarded rather than left in the socket, so that the client can read the refusal.
      request.resume()
      reject(new GatewayError(code))
    }
    const take = (chunk: Buffer): void => {
      if (gathered.length + chunk.length > limit) refuse('body_too_large')
      else gathered.push(chunk)
    }
    if (expected > limit) {
      refuse('body_too_large')
      return
    }
    request.on('data', take)
    request.once('end', () => resolve(new Sensitive(gathered.take())))
    request.once('error', () => refuse('bad_request'))
    request.once('close', () => {
      if (!request.complete) refuse('bad_request')
    })
  })
}
