import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'

/** Paths of OpenAI's and Anthropic's APIs below which content is kept between requests. */
export const STATEFUL_PATHS: readonly string[] = [
  '/v1/assistants',
  '/v1/batches',
  '/v1/containers',
  '/v1/conversations',
  '/v1/evals',
  '/v1/files',
  '/v1/fine_tuning',
  '/v1/messages/batches',
  '/v1/threads',
  '/v1/uploads',
  '/v1/vector_stores',
]

/** Paths that are one thing by themselves, and kept things below. */
export const STATEFUL_BELOW: readonly string[] = ['/v1/chat/completions', '/v1/responses']

/** These stand below `/v1/responses` and keep nothing; the gateway does not have them. */
const STATELESS = ['/v1/responses/input_tokens', '/v1/responses/compact']

/** Says before a body is read that nothing is kept here, whatever the method is. */
export async function refuseToKeep({ url }: FastifyRequest): Promise<never> {
  const [path = ''] = url.split('?')
  throw new GatewayError(STATELESS.includes(path) ? 'route_not_found' : 'not_stateless')
}
