import type { Bytes } from './bytes.ts'

/** The TLS key an endpoint proved, inside its TEE, that it holds. A channel pins exactly this. */
export interface TlsBinding {
  readonly kind: 'tls-spki-sha256'
  /** SHA-256 of the DER SubjectPublicKeyInfo. */
  readonly digest: Bytes
}

/** How a message is encrypted to an attested key, where TLS may end outside the TEE. */
export type E2eeProtocol =
  /** NEAR AI: each string of a message to the X25519 form of an Ed25519 key, XChaCha20-Poly1305. */
  | 'near-ed25519-v2'
  /** The same to a secp256k1 key, AES-256-GCM. It is named where evidence shows it; nothing here encrypts to it. */
  | 'near-ecdsa'
  /** Chutes: the whole body to an instance's ML-KEM-768 key, ChaCha20-Poly1305. */
  | 'chutes-ml-kem-768'
  /** Tinfoil: the whole body by HPKE to an X25519 key (Encrypted HTTP Body Protocol). */
  | 'ehbp-x25519'

/** The key that only the TEE can decrypt with. */
export interface E2eeBinding {
  readonly kind: 'e2ee-public-key'
  readonly protocol: E2eeProtocol
  /** The instance that holds the key, as its provider calls it; null where there is one key. */
  readonly keyId: string | null
  readonly publicKey: Bytes
  /** SHA-256 of `publicKey`. */
  readonly digest: Bytes
}

/** A key that a prompt travels to. Where an endpoint has several, a channel uses every one of them. */
export type ChannelBinding = TlsBinding | E2eeBinding
export type ChannelBindings = readonly [ChannelBinding, ...ChannelBinding[]]

export const tlsBindingOf = (bindings: readonly ChannelBinding[]): TlsBinding | null =>
  bindings.find((binding) => binding.kind === 'tls-spki-sha256') ?? null

export const e2eeBindingOf = (bindings: readonly ChannelBinding[]): E2eeBinding | null =>
  bindings.find((binding) => binding.kind === 'e2ee-public-key') ?? null
