import type { Config, Model, Route } from './config/index.ts'
import { consentToPlaintext, type PlaintextConsent } from './consent.ts'
import { GatewayError } from './errors.ts'
import type { Principal } from './keys.ts'
import { namedModel } from './model-names.ts'
import type { Shape } from './prompt.ts'

/** What this key may do with this prompt. The confidentiality is the model's; no request can weaken it. */
export type Admission = {
  readonly model: Model
  readonly principal: Principal
  /** Those of the model's routes that its name leaves. */
  readonly routes: readonly Route[]
} & (
  | { readonly confidentiality: 'attested' }
  | { readonly confidentiality: 'plain'; readonly consent: PlaintextConsent }
)

/** Throws `model_not_found`, `model_not_allowed` or `plaintext_not_allowed`. */
export function admit(config: Config, principal: Principal, shape: Shape): Admission {
  const named = namedModel(config, shape.model)
  if (named === null) throw new GatewayError('model_not_found')
  const { model } = named
  if (!mayUse(principal, model)) throw new GatewayError('model_not_allowed')
  const common = { ...named, principal }
  if (model.confidentiality === 'attested') return { ...common, confidentiality: 'attested' }
  return { ...common, confidentiality: 'plain', consent: consentToPlaintext(model, principal) }
}

const mayUse = (principal: Principal, model: Model): boolean =>
  principal.models === '*' || principal.models.has(model.name)

/** The models that `GET /v1/models` shows to a key. */
export const usableModels = (config: Config, principal: Principal): Model[] =>
  [...config.models.values()].filter(
    (model) =>
      mayUse(principal, model) &&
      (model.confidentiality === 'attested' || principal.plainModels === 'allow'),
  )
