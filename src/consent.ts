import type { Model } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { Principal } from './keys.ts'

/**
 * The permission to send a prompt to a provider without a TEE.
 *
 * Only {@link consentToPlaintext} makes one, and only where the configuration says both that the model is
 * plain and that the key may use such models. The private field makes look-alikes fail the type check and
 * {@link isPlaintextConsent}.
 */
class PlaintextConsent {
  readonly #model: Model

  constructor(model: Model) {
    this.#model = model
    Object.freeze(this)
  }

  /** The model it was given for; its routes are the only ones it opens. */
  get model(): Model {
    return this.#model
  }

  static is(value: unknown): value is PlaintextConsent {
    return typeof value === 'object' && value !== null && #model in value
  }
}

export type { PlaintextConsent }

/** Throws `plaintext_not_allowed`; `TypeError` for an attested model, which nothing can weaken. */
export function consentToPlaintext(model: Model, principal: Principal): PlaintextConsent {
  if (model.confidentiality !== 'plain') throw new TypeError('the model is attested')
  if (principal.plainModels !== 'allow') throw new GatewayError('plaintext_not_allowed')
  return new PlaintextConsent(model)
}

export const isPlaintextConsent = (value: unknown): value is PlaintextConsent =>
  PlaintextConsent.is(value)
