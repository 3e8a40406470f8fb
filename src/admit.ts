import type { Config, Model } from './config/index.ts'
import { consentToPlaintext, type PlaintextConsent } from './consent.ts'
import { GatewayError } from './errors.ts'
import type { Principal } from './keys.ts'
import type { Shape } from './prompt.ts'

/** What this key may do with this prompt. The confidentiality is the model's; no request can weaken it. */
export type Admission =
  | { readonly confidentiality: 'attested'; readonly model: Model }
  | {
      readonly confidentiality: 'plain'
      readonly model: Model
      readonly consent: PlaintextConsent
    }

/** Throws `model_not_found`, `model_not_allowed` or `plaintext_not_allowed`. */
export function admit(config: Config, principal: Principal, shape: Shape): Admission {
  const model = config.models.get(shape.model)
  if (model === undefined) throw new GatewayError('model_not_found')
  if (!mayUse(principal, model)) throw new GatewayError('model_not_allowed')
  if (model.confidentiality === 'attested') return { confidentiality: 'attested', model }
  return { confidentiality: 'plain', model, consent: consentToPlaintext(model, principal) }
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
