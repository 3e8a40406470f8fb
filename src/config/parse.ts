import {
  isVerificationError,
  parseCollateralBundle,
  parseJson,
  parsePolicy,
  parseProviderPolicy,
  tdxOnlyPolicy,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import type { z } from 'zod'
import type { CollateralBundle } from '../collateral.ts'
import { isCredentialDigest, type ModelName, type ProviderId } from '../ids.ts'
import { Sensitive } from '../sensitive.ts'
import {
  ConfigError,
  isAttested,
  type Config,
  type ConfigProblem,
  type Key,
  type Model,
  type Provider,
} from './config.ts'
import { fileSchema, type ConfigFile, type SecretRef } from './schema.ts'
import { parseYaml } from './yaml.ts'
import { KIND_CONFIDENTIALITY } from './kinds.ts'
import { configuredPrices } from './prices.ts'
import { plainProvider, type PlainEntry, type ReadSecret } from './plain.ts'

type Environment = Readonly<Record<string, string | undefined>>
/** Gives the text of a file, or throws. */
type ReadFile = (path: string) => string

/**
 * Reads a configuration file's text. Secrets are resolved from `env` and through `readFile`.
 * Throws `ConfigError` with every problem found.
 */
export function parseConfig(text: string, env: Environment, readFile: ReadFile): Config {
  const parsed = fileSchema.safeParse(parseYaml(text))
  if (!parsed.success) throw new ConfigError(parsed.error.issues.flatMap(describeIssue))
  const file = parsed.data
  const problems: ConfigProblem[] = []
  const reader = new Reader(problems, env, readFile)
  const providers = reader.providers(file)
  const models = reader.models(file, providers)
  const aliases = reader.aliases(models)
  const keys = reader.keys(file, models)
  const bundle = reader.bundle(file)
  const telemetry = reader.telemetry(file)
  const prices = configuredPrices(file, problems)
  checkWorkers(file, problems)
  if (problems.length > 0) throw new ConfigError(problems)
  const collateral = { ...file.collateral, bundle }
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`
  const sections = { ...file, collateral, telemetry, prices }
  return { digest, ...sections, providers, models, aliases, keys }
}

function checkWorkers({ workers, sessions }: ConfigFile, problems: ConfigProblem[]): void {
  if (workers === 1 || sessions.path === null) return
  const hint = 'one process alone can keep sessions in a file: leave it out, or say workers: 1'
  problems.push({ path: 'sessions.path', hint })
}

/** Collects problems instead of stopping at the first, so that one run shows them all. */
class Reader {
  readonly #problems: ConfigProblem[]
  readonly #env: Environment
  readonly #readFile: ReadFile

  constructor(problems: ConfigProblem[], env: Environment, readFile: ReadFile) {
    this.#problems = problems
    this.#env = env
    this.#readFile = readFile
  }

  providers(file: ConfigFile): ReadonlyMap<ProviderId, Provider> {
    const providers = new Map<ProviderId, Provider>()
    for (const [index, entry] of file.providers.entries()) {
      const path = `providers.${index}`
      if (providers.has(entry.id)) this.#problem(`${path}.id`, 'this id is used twice')
      if (isPlain(entry)) {
        const secret: ReadSecret = (ref, name) => this.#secret(ref, `${path}.${name}`)
        providers.set(entry.id, plainProvider(entry, secret))
        continue
      }
      const apiKey = this.#secret(entry.api_key, `${path}.api_key`)
      const policy = this.#policy(entry, `${path}.policy`)
      const { kind, id, origin, refresh_seconds: refreshSeconds } = entry
      const model = 'model' in entry ? entry.model : null
      const chuteId = 'chute_id' in entry ? entry.chute_id : undefined
      if (policy === null) continue
      providers.set(id, {
        kind,
        id,
        origin,
        apiKey,
        policy,
        refreshSeconds,
        model,
        ...(chuteId === undefined ? {} : { chuteId }),
      })
    }
    return providers
  }

  models(
    file: ConfigFile,
    providers: ReadonlyMap<ProviderId, Provider>,
  ): ReadonlyMap<string, Model> {
    const declared = new Set(file.providers.map(({ id }) => id))
    const models = new Map<string, Model>()
    for (const [index, entry] of file.models.entries()) {
      const path = `models.${index}`
      if (models.has(entry.name)) this.#problem(`${path}.name`, 'this model is listed twice')
      for (const [at, { provider: id }] of entry.routes.entries()) {
        const where = `${path}.routes.${at}.provider`
        if (!declared.has(id)) this.#problem(where, 'no provider has this id')
        const provider = providers.get(id)
        if (provider === undefined) continue
        if (KIND_CONFIDENTIALITY[provider.kind] !== entry.confidentiality) {
          this.#problem(where, `${entry.confidentiality} models cannot use a provider of this kind`)
        }
        if (!serves(provider, entry.routes[at]?.model)) {
          this.#problem(`models.${index}.routes.${at}.model`, 'the provider proves another model')
        }
      }
      models.set(entry.name, modelOf(entry))
    }
    return models
  }

  /** One name must mean one model, whichever way it is written. */
  aliases(models: ReadonlyMap<string, Model>): ReadonlyMap<string, Model> {
    const aliases = new Map<string, Model>()
    for (const [at, model] of [...models.values()].entries()) {
      for (const [index, alias] of model.aliases.entries()) {
        if (models.has(alias) || aliases.has(alias)) {
          this.#problem(`models.${at}.aliases.${index}`, 'another model has this name')
        }
        aliases.set(alias, model)
      }
    }
    return aliases
  }

  keys(file: ConfigFile, models: ReadonlyMap<string, Model>): readonly Key[] {
    const ids = new Set<string>()
    const digests = new Set<string>()
    return file.keys.flatMap((entry, index) => {
      const path = `keys.${index}`
      const { id, team, sha256, plain_models: plainModels } = entry
      if (ids.has(id)) this.#problem(`${path}.id`, 'this id is used twice')
      if (digests.has(sha256)) this.#problem(`${path}.sha256`, 'this key is listed twice')
      ids.add(id)
      digests.add(sha256)
      if (!isCredentialDigest(sha256)) return []
      return [{ id, team, sha256, models: this.#allowed(entry, path, models), plainModels }]
    })
  }

  telemetry({ telemetry: { api_key: ref, ...rest } }: ConfigFile): Config['telemetry'] {
    return { ...rest, apiKey: ref === null ? null : this.#secret(ref, 'telemetry.api_key') }
  }

  bundle({ collateral: { bundle_file: path } }: ConfigFile): CollateralBundle {
    if (path === null) return new Map()
    const text = this.#file(path)
    try {
      if (text !== undefined) return parseCollateralBundle(parseJson(text))
    } catch (error) {
      if (!isVerificationError(error)) throw error
    }
    this.#problem('collateral.bundle_file', 'the file is missing or not a collateral bundle')
    return new Map()
  }

  #allowed(
    entry: ConfigFile['keys'][number],
    path: string,
    models: ReadonlyMap<string, Model>,
  ): '*' | ReadonlySet<ModelName> {
    if (entry.models === '*') return '*'
    for (const [at, name] of entry.models.entries()) {
      if (!models.has(name)) this.#problem(`${path}.models.${at}`, 'no model has this name')
    }
    return new Set(entry.models)
  }

  /** An ACI/1 service is judged by its TDX quote alone, so that its policy is one for that. */
  #policy(entry: AttestedEntry, path: string): ProviderPolicy | null {
    const { policy: value, kind } = entry
    const tdx = kind === 'aci' ? value : isRecord(value) ? value['tdx'] : undefined
    if ((kind === 'aci' || tdx !== undefined) && !(isRecord(tdx) && 'workload' in tdx)) {
      this.#problem(path, 'name the expected measurements under workload, or say workload: any')
      return null
    }
    try {
      if (kind === 'aci') return tdxOnlyPolicy(parsePolicy(value))
      const policy = parseProviderPolicy(value)
      const problem = releaseProblem(kind, policy)
      if (problem !== null) this.#problem(path, problem)
      return policy
    } catch (error) {
      if (!isVerificationError(error)) throw error
      this.#problem(path, 'not a valid attestation policy')
      return null
    }
  }

  #secret(ref: SecretRef, path: string): Sensitive<string> {
    const value = 'env' in ref ? this.#env[ref.env] : this.#file(ref.file)
    const secret = value?.trim() ?? ''
    if (secret === '') {
      this.#problem(
        path,
        'env' in ref ? 'the environment variable is not set' : 'the file is missing or empty',
      )
    } else if (!/^[\x21-\x7e]{1,4096}$/.test(secret)) {
      this.#problem(path, 'the secret must be printable ASCII without spaces')
    }
    return new Sensitive(secret)
  }

  #file(path: string): string | undefined {
    try {
      return this.#readFile(path)
    } catch {
      return undefined
    }
  }

  #problem(path: string, hint: string): void {
    this.#problems.push({ path, hint })
  }
}

/** A rule that nothing enforces would be believed; an image that nobody names could be anybody's. */
function releaseProblem(kind: AttestedEntry['kind'], { release }: ProviderPolicy): string | null {
  if (kind === 'tinfoil') {
    return release === 'any' ? 'name the repository whose releases are wanted under release' : null
  }
  return release === 'any' ? null : 'a provider of this kind shows no release that could be wanted'
}

function modelOf({
  cache_salt: cacheSalt,
  padding,
  ...entry
}: ConfigFile['models'][number]): Model {
  return {
    ...entry,
    padding: (padding ?? (entry.confidentiality === 'attested' ? 'on' : 'off')) === 'on',
    cacheSalt: cacheSalt === 'on',
  }
}

type AttestedEntry = Exclude<ConfigFile['providers'][number], PlainEntry>

const isPlain = (entry: ConfigFile['providers'][number]): entry is PlainEntry =>
  KIND_CONFIDENTIALITY[entry.kind] === 'plain'

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Evidence about one model says nothing of another one behind the same origin. */
const serves = (provider: Provider, model: string | undefined): boolean =>
  !isAttested(provider) || provider.model === null || provider.model === model

/** zod's own messages name what they saw; these name only what was expected. */
function describeIssue(issue: z.core.$ZodIssue): ConfigProblem[] {
  const path = issue.path.map(String).join('.')
  if (issue.code !== 'unrecognized_keys') return [{ path, hint: hintFor(issue) }]
  return issue.keys.map((key) => ({
    path: [path, /^[\w-]{1,40}$/.test(key) ? key : '?'].filter(Boolean).join('.'),
    hint: 'this key is not known here',
  }))
}

function hintFor(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `expected ${issue.expected}`
  if (issue.code === 'invalid_value')
    return `expected one of: ${issue.values.map(String).join(', ')}`
  if (issue.code === 'too_small') return `must be at least ${String(issue.minimum)}`
  if (issue.code === 'too_big') return `must be at most ${String(issue.maximum)}`
  // Messages that the schema sets itself; zod's own one for these says nothing.
  const ours = issue.code === 'custom' || issue.code === 'invalid_union'
  return ours && issue.message !== 'Invalid input' ? issue.message : 'not of the expected form'
}
