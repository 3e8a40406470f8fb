import { setImmediate } from 'node:timers/promises'
import type { Clock, Receipt, UnixSeconds } from '@vouchgate/attestation'
import type { SealedReceipt } from '../enclave/index.ts'
import { Fifo } from './fifo.ts'
import type { CredentialDigest, SessionId } from './ids.ts'
import { sameDigest } from './keys.ts'
import type { SessionStore } from './session-store.ts'

interface Entry {
  readonly receipt: SealedReceipt
  readonly credential: CredentialDigest
  readonly session: SessionId | null
  readonly expiresAt: UnixSeconds
}

export interface ReceiptStoreOptions {
  readonly maxEntries: number
  readonly ttlSeconds: number
  readonly clock: Clock
  /** Every cited session stays retrievable as long as its receipt (ACI §8). */
  readonly sessions: SessionStore
}

/** Signatures between which others get their turn: about a millisecond. */
const AT_ONCE = 20

/** The receipts that can still be looked up. In memory, bounded in number and time. */
export class ReceiptStore {
  readonly #options: ReceiptStoreOptions
  readonly #entries = new Map<string, Entry>()
  readonly #byAge = new Fifo<Entry>()
  /** By credential and chat id: a provider that repeats an id cannot show one client another's receipt. */
  readonly #byChat = new Map<string, string>()

  constructor(options: ReceiptStoreOptions) {
    this.#options = options
  }

  add(receipt: SealedReceipt, credential: CredentialDigest, session: SessionId | null): void {
    const { maxEntries, ttlSeconds, clock, sessions } = this.#options
    const expiresAt = clock.now() + ttlSeconds
    if (session !== null) sessions.cite(session, expiresAt)
    const { id, chatId } = receipt
    const entry: Entry = { receipt, credential, session, expiresAt }
    this.#entries.set(id, entry)
    this.#byAge.push(entry)
    if (chatId !== null) this.#byChat.set(chatKey(credential, chatId), id)
    if (this.#entries.size > maxEntries) this.#dropOldest()
  }

  /** By receipt id or chat id; null where there is none, or none for this credential (ACI §7.6). */
  find(id: string, credential: CredentialDigest): Receipt | null {
    const key = this.#entries.has(id) ? id : this.#byChat.get(chatKey(credential, id))
    const entry = key === undefined ? undefined : this.#entries.get(key)
    if (entry === undefined || entry.expiresAt <= this.#options.clock.now()) return null
    return sameDigest(entry.credential, credential) ? entry.receipt.signed() : null
  }

  /**
   * Signs all that nobody has asked for, so that the keys of earlier generations can go: few at a time, since requests wait
   * meanwhile. What is added while it runs is of the current generation.
   */
  async signAll(): Promise<void> {
    let signed = 0
    for (const { receipt } of this.#byAge.all()) {
      if (receipt.isSigned) continue
      receipt.signed()
      signed += 1
      if (signed % AT_ONCE === 0) await setImmediate()
    }
  }

  /** Drops what has expired. */
  sweep(): void {
    const now = this.#options.clock.now()
    while ((this.#byAge.peek()?.expiresAt ?? Infinity) <= now) this.#dropOldest()
  }

  get size(): number {
    return this.#entries.size
  }

  #dropOldest(): void {
    const entry = this.#byAge.shift()
    if (entry === undefined) return
    const { id, chatId } = entry.receipt
    this.#entries.delete(id)
    if (chatId !== null) {
      const key = chatKey(entry.credential, chatId)
      if (this.#byChat.get(key) === id) this.#byChat.delete(key)
    }
    if (entry.session !== null) this.#options.sessions.release(entry.session)
  }
}

const chatKey = (credential: CredentialDigest, chatId: string): string => `${credential} ${chatId}`
