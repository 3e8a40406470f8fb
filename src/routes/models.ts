import type { FastifyRequest } from 'fastify'
import { usableModels } from '../admit.ts'
import type { Model } from '../config/index.ts'
import type { Context } from '../context.ts'
import { GatewayError } from '../errors.ts'
import { pathParameter } from './parameters.ts'
import { principalOf } from './principal.ts'
import { speaksAnthropic } from './dialect.ts'

const modelObject = (id: string) => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'vouchgate',
})

/** https://docs.anthropic.com/en/api/models-list; the release date of a model is not known here. */
const anthropicModel = (id: string) => ({
  type: 'model',
  id,
  display_name: id,
  created_at: '1970-01-01T00:00:00Z',
})

/** One page: whatever limit was asked for, there is nothing after it. */
const anthropicList = (names: readonly string[]) => ({
  data: names.map(anthropicModel),
  has_more: false,
  first_id: names[0] ?? null,
  last_id: names.at(-1) ?? null,
})

const namesOf = ({ name, aliases }: Model): readonly string[] => [name, ...aliases]

/** `GET /v1/models`: what this key may use, by every name, and nothing else. In Anthropic's shape for its clients. */
export const listModels = (context: Context) => async (request: FastifyRequest) => {
  const names = usableModels(context.config, principalOf(request)).flatMap(namesOf)
  if (speaksAnthropic(request)) return anthropicList(names)
  return { object: 'list', data: names.map(modelObject) }
}

/** `GET /v1/models/*`: the id may contain slashes, encoded or not. */
export const getModel = (context: Context) => async (request: FastifyRequest) => {
  const usable = usableModels(context.config, principalOf(request))
  const id = pathParameter(request.params, '*')
  if (!usable.flatMap(namesOf).includes(id)) throw new GatewayError('model_not_found')
  return speaksAnthropic(request) ? anthropicModel(id) : modelObject(id)
}
