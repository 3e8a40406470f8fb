import type { FastifyRequest } from 'fastify'

const MESSAGES = /^\/v1\/messages(?:[/?]|$)/
/** Both APIs have these; Anthropic's clients say which version of theirs they mean. */
const SHARED = /^\/v1\/(?:models|files)(?:[/?]|$)/

/** Whether the client is one of Anthropic's, by what it asks for. */
export const speaksAnthropic = ({ url, headers }: FastifyRequest): boolean =>
  MESSAGES.test(url) || (SHARED.test(url) && headers['anthropic-version'] !== undefined)
