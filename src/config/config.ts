import type { ProviderKind, ProviderPolicy, SourceProvenance } from '@vouchgate/attestation'
import type { CredentialDigest, KeyId, ModelName, ProviderId, TeamName } from '../ids.ts'
import type { CollateralBundle } from '../collateral.ts'
import type { VariantName } from '../dialects/openai-chat/variants.ts'
import type { Credential } from '../upstream/credentials.ts'
import type { Price } from '../prices/table.ts'
import type { Sensitive } from '../sensitive.ts'
import type { ConfigFile } from './schema.ts'

/** `attested`: prompts reach verified TEEs alone. `plain`: an ordinary API, by consent. */
export type Confidentiality = 'attested' | 'plain'

/** A provider whose evidence is verified before any prompt is sent. */
export interface AttestedProvider {
  readonly kind: ProviderKind
  readonly id: ProviderId
  /** `https://host[:port]` */
  readonly origin: string
  readonly apiKey: Sensitive<string>
  readonly policy: ProviderPolicy
  readonly refreshSeconds: number
  /** The model's name at the provider, where its evidence is about one; else null. */
  readonly model: string | null
  /** Of Chutes: the chute, where it is not to be looked up by its name. */
  readonly chuteId?: string
}

export const PLAIN_KINDS = ['openai', 'anthropic', 'gemini', 'bedrock', 'cohere'] as const

/** An ordinary API. Whoever runs it sees prompts. */
export interface PlainProvider {
  /** Whose API it speaks. */
  readonly kind: (typeof PLAIN_KINDS)[number]
  readonly id: ProviderId
  readonly baseUrl: string
  readonly credential: Credential
  /** How it departs from OpenAI, where it is compatible with it. */
  readonly variant: VariantName
  /** Query parameter of Azure's older addresses. */
  readonly apiVersion: string | null
}

export type Provider = AttestedProvider | PlainProvider

export const isAttested = (provider: Provider): provider is AttestedProvider => 'policy' in provider

export interface Route {
  readonly provider: ProviderId
  /** The model's name at the provider. */
  readonly model: string
  /** Lower ones are tried first. */
  readonly priority: number
  /** The odds among routes of one priority. */
  readonly weight: number
}

export interface Model {
  readonly name: ModelName
  /** Other names that clients may ask for it by. */
  readonly aliases: readonly ModelName[]
  readonly confidentiality: Confidentiality
  /** Among routes of one priority: drawn by weight, the one that answered soonest of late, or the cheapest. */
  readonly order: 'weighted' | 'latency' | 'cost'
  /** `key`: the draw among routes of one priority comes out the same for one key. */
  readonly sticky: 'none' | 'key'
  /** Whether frames of streams are filled up, so that their sizes do not give token lengths away. */
  readonly padding: boolean
  /** Whether attested providers are told to keep the caches of teams apart. */
  readonly cacheSalt: boolean
  readonly routes: readonly Route[]
}

export interface Key {
  readonly id: KeyId
  readonly team: TeamName
  readonly sha256: CredentialDigest
  readonly models: '*' | ReadonlySet<ModelName>
  readonly plainModels: 'refuse' | 'allow'
}

/** Replaces what the table of list prices says. */
export interface ConfiguredPrice {
  /** The model's name at the provider. */
  readonly model: string
  /** Null: at every provider that has the model. */
  readonly provider: ProviderId | null
  readonly price: Price
}

/** A configuration whose every reference has been resolved and checked. */
export interface Config {
  /** `sha256:<hex>` over the file's bytes; part of what the enclave attests. */
  readonly digest: string
  /** Processes that serve; with more than one, another one leads them. */
  readonly workers: ConfigFile['workers']
  readonly listen: ConfigFile['listen']
  readonly enclave: ConfigFile['enclave']
  readonly provenance: SourceProvenance
  /** `bundle` is empty where no file is named; nothing in it has been verified. */
  readonly collateral: ConfigFile['collateral'] & { readonly bundle: CollateralBundle }
  readonly nvidia: ConfigFile['nvidia']
  readonly amd: ConfigFile['amd']
  readonly releases: ConfigFile['releases']
  readonly limits: ConfigFile['limits']
  readonly receipts: ConfigFile['receipts']
  readonly sessions: ConfigFile['sessions']
  readonly admin: ConfigFile['admin']
  /** `apiKey` goes to the collector as a Bearer token. */
  readonly telemetry: Omit<ConfigFile['telemetry'], 'api_key'> & {
    readonly apiKey: Sensitive<string> | null
  }
  readonly prices: readonly ConfiguredPrice[]
  readonly providers: ReadonlyMap<ProviderId, Provider>
  readonly models: ReadonlyMap<string, Model>
  /** Models by their aliases. */
  readonly aliases: ReadonlyMap<string, Model>
  readonly keys: readonly Key[]
}

/** One mistake: where it is, and what to do. Neither ever contains a value of the file. */
export interface ConfigProblem {
  readonly path: string
  readonly hint: string
}

/** The configuration cannot be used; `problems` lists every mistake found. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super('the configuration is not valid')
    this.problems = problems
  }
}
