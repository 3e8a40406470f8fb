import { hash, timingSafeEqual } from 'node:crypto'
import type { Key } from './config/index.ts'
import { GatewayError } from './errors.ts'
import { isCredentialDigest, type CredentialDigest } from './ids.ts'

/** Who asks: a configured key, known by the digest of its secret. */
export type Principal = Key

const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i

/** The keys of the configuration, looked up by digest. */
export class KeyRing {
  readonly #keys: ReadonlyMap<CredentialDigest, Key>

  constructor(keys: readonly Key[]) {
    this.#keys = new Map(keys.map((key) => [key.sha256, key]))
  }

  /** Whether it is the digest of a configured key. */
  knows(digest: CredentialDigest): boolean {
    return this.#keys.has(digest)
  }

  /** Throws `missing_api_key` or `invalid_api_key`. */
  authenticate(authorization: string | undefined): Principal {
    if (authorization === undefined) throw new GatewayError('missing_api_key')
    const digest = credentialDigest(authorization)
    const key = digest === null ? undefined : this.#keys.get(digest)
    // The lookup may take a time that depends on the digest, which nobody can choose; the comparison may not.
    if (digest === null || key === undefined || !sameDigest(key.sha256, digest)) {
      throw new GatewayError('invalid_api_key')
    }
    return key
  }
}

/** The digest of a Bearer credential, or null for any other header. */
export function credentialDigest(authorization: string): CredentialDigest | null {
  const secret = BEARER.exec(authorization)?.[1]
  if (secret === undefined) return null
  const digest = hash('sha256', secret, 'hex')
  return isCredentialDigest(digest) ? digest : null
}

/** Constant time; both are 64 hex characters. */
export const sameDigest = (left: CredentialDigest, right: CredentialDigest): boolean =>
  timingSafeEqual(Buffer.from(left, 'latin1'), Buffer.from(right, 'latin1'))
