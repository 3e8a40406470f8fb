import {
  equalBytes,
  parseChutesInstances,
  type Bytes,
  type ChutesInstances,
  type Clock,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { request, type Dispatcher } from 'undici'
import { discard, readBounded } from '../../client/bounded.ts'
import { retryAfter } from '../../client/retry-after.ts'
import { GatewayError } from '../errors.ts'
import { expose, type Sensitive } from '../sensitive.ts'
import type { InvokeTokens } from '../upstream/seal-chutes.ts'
import { SendError } from '../upstream/send.ts'

export interface ChutesTokensOptions extends PoolOptions {
  /** `https://host[:port]` of the API. */
  readonly origin: string
  readonly chuteId: string
  /** Tokens are good for the account that asked. */
  readonly apiKey: Sensitive<string>
}

export interface PoolOptions {
  readonly clock: Clock
  /** For one whole answer. */
  readonly timeoutMs: number
  readonly dispatcher?: Dispatcher
}

const MAX_ANSWER = 1 << 20
/** Tokens live for a minute at Chutes; the last seconds are left for the way there. */
const MAX_VALID_SECONDS = 55
const MARGIN_SECONDS = 5
const MAX_TOKENS_PER_INSTANCE = 64
const MAX_INSTANCES = 256
/** An answer is about some five instances, chosen by lot. */
const MAX_ASKS = 3
/** Chutes allows ten questions a minute and often does not say when to come back. */
const DEFAULT_PAUSE_SECONDS = 10

interface Token {
  readonly value: string
  readonly expiresAt: UnixSeconds
}

interface Held {
  readonly publicKey: Bytes
  readonly tokens: Token[]
}

/**
 * The single-use tokens that an invocation needs, by instance. They prove nothing, and the answer they come in is
 * not attested: a key in it is only compared with the attested one, never used.
 */
export class ChutesTokens {
  readonly #options: ChutesTokensOptions
  readonly #held = new Map<string, Held>()
  #asking: Promise<void> | null = null
  #pause: { readonly until: UnixSeconds } | null = null

  constructor(options: ChutesTokensOptions) {
    this.#options = options
  }

  /**
   * One token that nobody else gets.
   *
   * @throws SendError `key_mismatch` where the instance now has another key than the attested one, `timeout`,
   * `unreachable`; GatewayError `upstream_rate_limited`, `upstream_credentials`.
   */
  async take(instanceId: string, publicKey: Uint8Array): Promise<string> {
    for (let asked = 0; ; asked++) {
      const held = this.#held.get(instanceId)
      const same = held !== undefined && equalBytes(held.publicKey, publicKey)
      const token = same ? this.#unexpired(held.tokens) : null
      if (token !== null) return token
      // Judged by a new answer alone: what is held may be older than what was attested.
      if (held !== undefined && !same && asked > 0) throw new SendError('key_mismatch')
      if (asked === MAX_ASKS) throw new SendError('unreachable')
      await this.#ask()
    }
  }

  /** Keeps the tokens of an answer. A key that has changed takes the older tokens with it. */
  add({ instances, tokensExpireInSeconds }: ChutesInstances): void {
    const now = this.#options.clock.now()
    const validSeconds = Math.min(MAX_VALID_SECONDS, tokensExpireInSeconds - MARGIN_SECONDS)
    this.#dropExpired(now)
    for (const { instanceId, key, tokens } of instances) {
      if (key === null) continue
      const before = this.#held.get(instanceId)
      const kept =
        before !== undefined && equalBytes(before.publicKey, key.bytes) ? before.tokens : []
      const fresh = tokens.map((value) => ({ value, expiresAt: now + validSeconds }))
      const all = [...kept, ...fresh].slice(-MAX_TOKENS_PER_INSTANCE)
      if (before === undefined && this.#held.size >= MAX_INSTANCES) continue
      this.#held.set(instanceId, { publicKey: key.bytes, tokens: all })
    }
  }

  /** The oldest first, so that few are lost. */
  #unexpired(tokens: Token[]): string | null {
    const now = this.#options.clock.now()
    for (let token = tokens.shift(); token !== undefined; token = tokens.shift()) {
      if (token.expiresAt > now) return token.value
    }
    return null
  }

  #dropExpired(now: UnixSeconds): void {
    for (const [instanceId, { tokens }] of this.#held) {
      if (tokens.every(({ expiresAt }) => expiresAt <= now)) this.#held.delete(instanceId)
    }
  }

  /** One question at a time, whoever waits for the answer. */
  #ask(): Promise<void> {
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = null
    })
    return this.#asking
  }

  async #fetch(): Promise<void> {
    const now = this.#options.clock.now()
    if (this.#pause !== null && this.#pause.until > now) {
      throw new GatewayError('upstream_rate_limited', this.#pause.until - now)
    }
    this.add(await this.#answer())
  }

  async #answer(): Promise<ChutesInstances> {
    const { origin, chuteId, apiKey, clock, timeoutMs, dispatcher } = this.#options
    const signal = AbortSignal.timeout(timeoutMs)
    try {
      const answer = await request(`${origin}/e2e/instances/${chuteId}`, {
        headers: { accept: 'application/json', authorization: `Bearer ${expose(apiKey)}` },
        signal,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      })
      if (answer.statusCode !== 200) {
        discard(answer.body)
        throw this.#refused(answer.statusCode, retryAfter(answer.headers, clock.now()))
      }
      const bytes = await readBounded(answer.body, MAX_ANSWER)
      if (bytes === null) throw new SendError('unreachable')
      return parseChutesInstances(bytes)
    } catch (error) {
      if (error instanceof SendError || error instanceof GatewayError) throw error
      // What cannot be read is as good as not there; undici's own errors carry the URL.
      throw new SendError(signal.aborted ? 'timeout' : 'unreachable')
    }
  }

  #refused(status: number, seconds: number | null): SendError | GatewayError {
    if (status === 401 || status === 403) return new GatewayError('upstream_credentials')
    if (status !== 429) return new SendError('unreachable')
    const pause = seconds ?? DEFAULT_PAUSE_SECONDS
    this.#pause = { until: this.#options.clock.now() + pause }
    return new GatewayError('upstream_rate_limited', pause)
  }
}

/** One pool for each chute and account, shared by all sessions with the instances of that chute. */
export class ChutesTokenPools {
  readonly #options: PoolOptions
  readonly #pools = new Map<string, WeakMap<Sensitive<string>, ChutesTokens>>()

  constructor(options: PoolOptions) {
    this.#options = options
  }

  of(origin: string, chuteId: string): InvokeTokens {
    const name = `${origin} ${chuteId}`
    const accounts = this.#pools.get(name) ?? new WeakMap<Sensitive<string>, ChutesTokens>()
    this.#pools.set(name, accounts)
    return {
      take: (instanceId, publicKey, apiKey) => {
        const pool =
          accounts.get(apiKey) ?? new ChutesTokens({ ...this.#options, origin, chuteId, apiKey })
        accounts.set(apiKey, pool)
        return pool.take(instanceId, publicKey)
      },
    }
  }
}
