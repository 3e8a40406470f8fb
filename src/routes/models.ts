import type { FastifyRequest } from 'fastify'
import { usableModels } from '../admit.ts'
import type { Model } from '../config/index.ts'
import type { Context } from '../context.ts'
import { GatewayError } from '../errors.ts'
import { pathParameter } from './parameters.ts'

const modelObject = (id: string) => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'vouchgate',
})

const namesOf = ({ name, aliases }: Model): readonly string[] => [name, ...aliases]

/** `GET /v1/models`: what this key may use, by every name, and nothing else. */
export const listModels = (context: Context) => async (request: FastifyRequest) => {
  const usable = usableModels(context.config, context.principals.get(request.raw))
  return { object: 'list', data: usable.flatMap(namesOf).map(modelObject) }
}

/** `GET /v1/models/*`: the id may contain slashes, encoded or not. */
export const getModel = (context: Context) => async (request: FastifyRequest) => {
  const usable = usableModels(context.config, context.principals.get(request.raw))
  const id = pathParameter(request.params, '*')
  if (!usable.flatMap(namesOf).includes(id)) throw new GatewayError('model_not_found')
  return modelObject(id)
}
