import type { FastifyRequest } from 'fastify'
import { usableModels } from '../admit.ts'
import type { Model } from '../config/index.ts'
import type { Context } from '../context.ts'
import { GatewayError } from '../errors.ts'
import { pathParameter } from './parameters.ts'
import { speaksAnthropic } from './dialect.ts'

const modelObject = ({ name }: Model) => ({
  id: name,
  object: 'model',
  created: 0,
  owned_by: 'vouchgate',
})

/** https://docs.anthropic.com/en/api/models-list; the release date of a model is not known here. */
const anthropicModel = ({ name }: Model) => ({
  type: 'model',
  id: name,
  display_name: name,
  created_at: '1970-01-01T00:00:00Z',
})

/** One page: whatever limit was asked for, there is nothing after it. */
const anthropicList = (models: readonly Model[]) => ({
  data: models.map(anthropicModel),
  has_more: false,
  first_id: models[0]?.name ?? null,
  last_id: models.at(-1)?.name ?? null,
})

/** `GET /v1/models`: what this key may use, and nothing else. In Anthropic's shape for its clients. */
export const listModels = (context: Context) => async (request: FastifyRequest) => {
  const models = usableModels(context.config, context.principals.get(request.raw))
  if (speaksAnthropic(request)) return anthropicList(models)
  return { object: 'list', data: models.map(modelObject) }
}

/** `GET /v1/models/*`: the id may contain slashes, encoded or not. */
export const getModel = (context: Context) => async (request: FastifyRequest) => {
  const usable = usableModels(context.config, context.principals.get(request.raw))
  const id = pathParameter(request.params, '*')
  const model = usable.find(({ name }) => name === id)
  if (model === undefined) throw new GatewayError('model_not_found')
  return speaksAnthropic(request) ? anthropicModel(model) : modelObject(model)
}
