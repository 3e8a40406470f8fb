import { z } from 'zod'
import { concatBytes, encodeUtf8, sha256, sha256Label, type Bytes } from '../bytes.ts'
import { jcs } from './jcs.ts'

export const hexOf = (bytes: number) =>
  z
    .string()
    .regex(/^[0-9a-f]*$/)
    .length(2 * bytes)
export const digestLabel = z.string().regex(/^sha256:[0-9a-f]{64}$/)
export const unixTime = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

const publicKey = z.strictObject({
  key_id: z.string().min(1).max(256),
  algo: z.string().min(1).max(128),
  public_key: z.string().min(1).max(8192),
})

/** ACI §3.1. The shape is fixed in v1: an unknown member would be hashed and not understood. */
export const keysetSchema = z.strictObject({
  subject: z.string().max(1024).nullable(),
  not_after: unixTime,
  receipt_signing_keys: z.array(publicKey).max(16),
  e2ee_public_keys: z.array(publicKey).max(16),
  tls_public_keys: z
    .array(z.strictObject({ spki_sha256: hexOf(32), domain: z.string().max(253).optional() }))
    .max(16),
})

/** The workload's public keys. The keyset is the identity: the quote binds its digest. */
export interface Keyset {
  readonly subject: string | null
  readonly not_after: number
  readonly receipt_signing_keys: readonly PublicKey[]
  readonly e2ee_public_keys: readonly PublicKey[]
  readonly tls_public_keys: readonly TlsKey[]
}

export interface PublicKey {
  readonly key_id: string
  readonly algo: string
  readonly public_key: string
}

export interface TlsKey {
  readonly spki_sha256: string
  readonly domain?: string | undefined
}

/** `sha256:<hex>` over the JCS form (ACI §3.1). */
export const keysetDigest = (keyset: Keyset): Promise<string> =>
  sha256Label(encodeUtf8(jcs(keyset)))

const NONCE = /^[0-9a-f]{64}$/

/** A nonce is 32 bytes as exactly 64 lower-case hex digits (ACI §3.2). */
export const isNonce = (text: string): boolean => NONCE.test(text)

/** The exact bytes a quote commits to (ACI §3.2). A null nonce proves binding, not freshness. */
export function statement(digest: string, nonce: string | null): string {
  const challenge = nonce === null ? 'null' : `"${nonce}"`
  return `{"keyset_digest":"${digest}","nonce":${challenge},"purpose":"aci.report_data.v1"}`
}

/** SHA-256 of the statement in bytes 0–31 of the 64-byte report data slot, zero after. */
export const reportDataFor = async (text: string): Promise<Bytes> =>
  concatBytes(await sha256(encodeUtf8(text)), new Uint8Array(32))
