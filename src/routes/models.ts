import type { FastifyRequest } from 'fastify'
import { usableModels } from '../admit.ts'
import type { Model } from '../config/index.ts'
import type { Context } from '../context.ts'
import { GatewayError } from '../errors.ts'
import { pathParameter } from './parameters.ts'

const modelObject = ({ name }: Model) => ({
  id: name,
  object: 'model',
  created: 0,
  owned_by: 'vouchgate',
})

/** `GET /v1/models`: what this key may use, and nothing else. */
export const listModels = (context: Context) => async (request: FastifyRequest) => {
  const principal = context.principals.get(request.raw)
  return { object: 'list', data: usableModels(context.config, principal).map(modelObject) }
}

/** `GET /v1/models/*`: the id may contain slashes, encoded or not. */
export const getModel = (context: Context) => async (request: FastifyRequest) => {
  const usable = usableModels(context.config, context.principals.get(request.raw))
  const id = pathParameter(request.params, '*')
  const model = usable.find(({ name }) => name === id)
  if (model === undefined) throw new GatewayError('model_not_found')
  return modelObject(model)
}
