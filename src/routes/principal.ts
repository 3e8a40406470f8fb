import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import type { Principal } from '../keys.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, established before the body is read, so that nobody without a key can make us hold one. */
    principal: Principal | null
  }
}

/** Throws `missing_api_key` on a route that has not looked at the key. */
export function principalOf({ principal }: FastifyRequest): Principal {
  if (principal === null) throw new GatewayError('missing_api_key')
  return principal
}
