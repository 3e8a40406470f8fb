import type { Config, Model, Route } from './config/index.ts'

/** A configured model, and those of its routes that its name leaves. */
export interface NamedModel {
  readonly model: Model
  readonly routes: readonly Route[]
}

/**
 * What a client's name for a model means: a configured name, an alias, or `provider/model` for a route that the
 * configuration has. The last names a route of a model, so that it never widens what the model allows.
 */
export function namedModel(
  { models, aliases, providers }: Config,
  asked: string,
): NamedModel | null {
  const known = (name: string): Model | undefined => models.get(name) ?? aliases.get(name)
  const exact = known(asked)
  if (exact !== undefined) return { model: exact, routes: exact.routes }
  const slash = asked.indexOf('/')
  if (slash === -1) return null
  const [provider, name] = [asked.slice(0, slash), asked.slice(slash + 1)]
  if (![...providers.keys()].some((id) => id === provider)) return null
  const named = known(name)
  if (named !== undefined) return only(named, (route) => route.provider === provider)
  // As the provider calls it: only where that is one model, since each has rules of its own.
  const [first = null, ...more] = [...models.values()].flatMap(
    (model) => only(model, (route) => route.provider === provider && route.model === name) ?? [],
  )
  return more.length > 0 ? null : first
}

function only(model: Model, wanted: (route: Route) => boolean): NamedModel | null {
  const routes = model.routes.filter(wanted)
  return routes.length === 0 ? null : { model, routes }
}
