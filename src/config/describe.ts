import { LOOPBACK } from '../../client/loopback.ts'
import { isAttested } from './config.ts'
import type { Config, Model, Provider, Route } from './config.ts'
import { Prices } from '../prices/prices.ts'
import { describeDemands } from './describe-provider.ts'

const CONFIGFS_NEEDS_AGENT =
  'WILL NOT START under the launcher: configfs-tsm needs the right to write files, which the self-check refuses. Start the quote agent (launch.sh --quote-agent SOCKET) and take quotes from dstack at that socket.'

const FILE_NEEDS_WRITING =
  'WILL NOT START while self_check is enforce: a process that writes this file could write prompts as well.'

const ADMIN_IS_OPEN =
  'UNPROVEN: whoever reaches the admin address learns how many prompts there are, how long and when.'

/** What a gateway with this configuration does, and what it leaves unproven, in plain sentences. */
export function describeConfig(config: Config): string[] {
  const { listen, enclave, limits, receipts } = config
  const bundled = config.collateral.bundle.size
  return [
    `Listens on ${listen.host} port ${listen.port} with TLS 1.3; the TLS key is made in memory and attested.`,
    listen.domain === null
      ? 'The TLS key is attested for any host name.'
      : `The TLS key is attested for ${listen.domain} alone.`,
    ...describeWorkers(config),
    `Starts with ${bundled === 0 ? 'no collateral' : `the collateral of ${bundled} platform(s)`} at hand, and fetches from ${new URL(config.collateral.pcs_url).origin}.`,
    `Takes quotes from ${enclave.quote_source} and renews its keys every ${enclave.keyset_lifetime_seconds} s.`,
    ...(enclave.quote_source === 'configfs-tsm' && enclave.self_check === 'enforce'
      ? [CONFIGFS_NEEDS_AGENT]
      : []),
    enclave.self_check === 'enforce'
      ? 'Refuses to start where the self-check finds that the process could retain prompts.'
      : 'UNPROVEN: starts even where the self-check fails; what it found is attested for clients to judge.',
    ...[...config.providers.values()].flatMap(describeProvider),
    ...[...config.models.values()].flatMap((model) => describeModel(model, new Prices(config))),
    ...config.keys.map(
      ({ id, team, models, plainModels }) =>
        `Key ${id} of team ${team} may use ${models === '*' ? 'every model' : [...models].join(', ')}` +
        (plainModels === 'allow' ? ', models without a TEE included.' : ' that is attested.'),
    ),
    `Accepts bodies of up to ${limits.body_bytes} bytes; keeps up to ${receipts.max_entries} receipts for ${receipts.ttl_seconds} s, in memory.`,
    ...describeSessions(config),
    ...describeOperation(config),
    `The digest of this file, ${config.digest}, becomes part of what the gateway attests.`,
  ]
}

function describeWorkers({ workers }: Config): string[] {
  if (workers === 1) return []
  return [
    `Serves from ${workers} processes with one set of keys, led by one more that sees no prompt and alone may start processes: start it with launch.sh --workers.`,
  ]
}

/** What leaves for the operator's eyes. None of it is content; all of it tells of traffic. */
function describeOperation({ admin, telemetry }: Config): string[] {
  const loopback = LOOPBACK.has(admin.host)
  return [
    admin.port === null
      ? 'Shows counters and the state of providers to nobody: admin.port is null.'
      : `Shows counters and the state of providers, without TLS or a key, on ${admin.host} port ${admin.port}.`,
    ...(admin.port === null || loopback ? [] : [ADMIN_IS_OPEN]),
    telemetry.otlp_url === null
      ? 'Sends no telemetry.'
      : `Sends times, token counts and costs of each prompt, no content, to ${new URL(telemetry.otlp_url).origin}.`,
  ]
}

function describeSessions({ sessions, enclave }: Config): string[] {
  if (sessions.path === null)
    return ['Keeps sessions and their evidence in memory: a restart forgets them.']
  return [
    `Keeps sessions and their evidence, no prompts, in a file of up to ${sessions.max_bytes} bytes. UNPROVEN: the process may write files, which is attested (fs_write_denied does not hold); start it with launch.sh --write FILE.`,
    ...(enclave.self_check === 'enforce' ? [FILE_NEEDS_WRITING] : []),
  ]
}

function describeProvider(provider: Provider): string[] {
  const { id, kind } = provider
  if (!isAttested(provider)) {
    return [
      `Provider ${id} is an ordinary API at ${new URL(provider.baseUrl).origin}: UNPROVEN, whoever runs it sees prompts.`,
    ]
  }
  const { origin, refreshSeconds } = provider
  return [
    `Provider ${id} (${kind}) at ${origin} is verified every ${refreshSeconds} s before any prompt.`,
    ...describeDemands(provider).map((sentence) => `Provider ${id}, ${sentence}`),
  ]
}

function describeModel(model: Model, prices: Prices): string[] {
  const { name, aliases, confidentiality, padding, cacheSalt } = model
  const attested = confidentiality === 'attested'
  return [
    describeRoutes(model),
    ...(aliases.length === 0 ? [] : [`Model ${name} can be asked for as ${aliases.join(', ')}.`]),
    ...describeUnpriced(model, prices),
    ...(attested && !padding
      ? [`Model ${name}: UNPROVEN, sizes of frames give the lengths of tokens away.`]
      : []),
    ...(attested && !cacheSalt
      ? [`Model ${name}: UNPROVEN, whether teams share a cache is the provider's choice.`]
      : []),
  ]
}

/** Routes whose price nobody states are asked last where the cheapest is wanted. */
function describeUnpriced({ name, order, routes }: Model, prices: Prices): string[] {
  const unpriced = routes.filter((route) => prices.of(route) === null)
  if (order !== 'cost' || unpriced.length === 0) return []
  const providers = unpriced.map(({ provider }) => provider).join(', ')
  return [`Model ${name}: no price is known at ${providers}, which comes after the others.`]
}

const ORDERS: Readonly<Record<Model['order'], readonly string[]>> = {
  weighted: [],
  latency: ['the soonest first'],
  cost: ['the cheapest first'],
}

function describeRoutes({ name, confidentiality, routes, order: by, sticky }: Model): string {
  const priorities = Map.groupBy(routes, ({ priority }) => priority)
  const order = [...priorities]
    .toSorted(([left], [right]) => left - right)
    .map(([, equal]) => describeEqual(equal))
    .join(', then ')
  const how = [...ORDERS[by], ...(sticky === 'key' ? ['the same for one key'] : [])]
  const routed = how.length === 0 ? order : `${order} (${how.join(', ')})`
  return confidentiality === 'attested'
    ? `Model ${name} is served by verified TEEs alone: ${routed}.`
    : `Model ${name} is served without a TEE: ${routed}.`
}

/** Routes of one priority with their odds. */
const describeEqual = (routes: readonly Route[]): string =>
  routes.length === 1
    ? routes.map(({ provider }) => provider).join('')
    : `one of ${routes.map(({ provider, weight }) => `${provider} (weight ${weight})`).join(', ')}`
