import type { Price } from '../prices/table.ts'
import type { ConfigProblem, ConfiguredPrice } from './config.ts'
import type { ConfigFile } from './schema.ts'

/** A price of what no route leads to is a typing error, told in `problems`. */
export function configuredPrices(
  file: ConfigFile,
  problems: ConfigProblem[],
): readonly ConfiguredPrice[] {
  const routes = file.models.flatMap((model) => model.routes)
  const seen = new Set<string>()
  return file.prices.map((entry, index) => {
    const { model, provider } = entry
    const name = JSON.stringify([provider, model])
    if (seen.has(name)) {
      problems.push({ path: `prices.${index}`, hint: 'this price is listed twice' })
    }
    seen.add(name)
    const used = routes.some(
      (route) => route.model === model && (provider === null || route.provider === provider),
    )
    if (!used) {
      problems.push({ path: `prices.${index}.model`, hint: 'no route leads to this model' })
    }
    return { model, provider, price: priceOf(entry) }
  })
}

const priceOf = (entry: ConfigFile['prices'][number]): Price => ({
  input: entry.input_per_million_usd,
  cacheRead: entry.cached_input_per_million_usd,
  cacheWrite: entry.cache_write_per_million_usd,
  cacheWriteHour: entry.cache_write_hour_per_million_usd,
  output: entry.output_per_million_usd,
})
