import {
  isAttested,
  type Config,
  type ConfiguredPrice,
  type Provider,
  type Route,
} from '../config/config.ts'
import { PRICES, type Price } from './table.ts'

type PricedRoute = Pick<Route, 'provider' | 'model'>

/** What a model costs at a provider: what the configuration says, else the vendor's list price. */
export class Prices {
  readonly #configured: readonly ConfiguredPrice[]
  readonly #providers: Config['providers']
  /** Of routes that have been asked for; they are those of the configuration. */
  readonly #known = new WeakMap<PricedRoute, Price | null>()

  constructor({ prices, providers }: Pick<Config, 'prices' | 'providers'>) {
    this.#configured = prices
    this.#providers = providers
  }

  /** Null where nobody says. */
  of(route: PricedRoute): Price | null {
    const known = this.#known.get(route)
    if (known !== undefined) return known
    const price = this.#look(route)
    this.#known.set(route, price)
    return price
  }

  #look({ provider: id, model }: PricedRoute): Price | null {
    const configured = this.#configured.filter((entry) => entry.model === model)
    const found =
      configured.find((entry) => entry.provider === id) ??
      configured.find((entry) => entry.provider === null)
    const provider = this.#providers.get(id)
    return found?.price ?? (provider === undefined ? null : listed(provider, model))
  }
}

/** A compatible API of somebody else has prices of its own. */
function listed(provider: Provider, model: string): Price | null {
  const origin = isAttested(provider) ? provider.origin : new URL(provider.baseUrl).origin
  return PRICES.find((entry) => entry.origin === origin && entry.models.includes(model)) ?? null
}
