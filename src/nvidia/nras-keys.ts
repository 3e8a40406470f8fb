import {
  EvidenceError,
  parseNrasJwks,
  type Bytes,
  type Clock,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { fetchNvidia, NvidiaAnswerRefused, type NvidiaService } from './fetch.ts'

const MAX_KEY_SET = 1 << 20
/** A key that NVIDIA withdraws must not be believed for long. */
const MAX_AGE_SECONDS = 15 * 60
/** Whoever can show tokens with invented keys must not be able to make us ask again and again. */
const COOL_DOWN_SECONDS = 30

/**
 * The key set of NRAS, held for at most fifteen minutes and always replaced as a whole. Callers at the same time share
 * one fetch. What cannot be read as a key set is not held.
 *
 * Rejects with `ChannelError` `nvidia_*` or {@link NvidiaAnswerRefused}.
 */
export class NrasKeySet {
  readonly #service: NvidiaService
  readonly #clock: Clock
  #held: { readonly jwks: Bytes; readonly fetchedAt: UnixSeconds } | null = null
  #triedAt = Number.NEGATIVE_INFINITY
  #loading: Promise<Bytes> | null = null

  /** `service.url` is that of the key set itself. */
  constructor(service: NvidiaService, clock: Clock) {
    this.#service = service
    this.#clock = clock
  }

  current(): Promise<Bytes> {
    const held = this.#held
    const fresh = held !== null && this.#clock.now() - held.fetchedAt < MAX_AGE_SECONDS
    return fresh ? Promise.resolve(held.jwks) : this.#load()
  }

  /** The set to try once more with after a token named a key that is not in `jwks`; the same one where none is newer. */
  async newerThan(jwks: Bytes): Promise<Bytes> {
    const current = await this.current()
    if (current !== jwks) return current
    const wait = this.#loading === null && this.#clock.now() - this.#triedAt < COOL_DOWN_SECONDS
    return wait ? current : this.#load()
  }

  #load(): Promise<Bytes> {
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = null
    })
    return this.#loading
  }

  async #fetch(): Promise<Bytes> {
    const fetchedAt = this.#clock.now()
    this.#triedAt = fetchedAt
    const headers = { accept: 'application/json' }
    const jwks = await fetchNvidia({
      ...this.#service,
      clock: this.#clock,
      headers,
      maxBytes: MAX_KEY_SET,
    })
    checkReadable(jwks)
    this.#held = { jwks, fetchedAt }
    return jwks
  }
}

function checkReadable(jwks: Bytes): void {
  try {
    parseNrasJwks(jwks)
  } catch (error) {
    throw error instanceof EvidenceError
      ? new NvidiaAnswerRefused('nras_answer_refused', error.code)
      : error
  }
}
