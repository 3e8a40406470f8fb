import { z } from 'zod'
import { hexOf, unixTime } from '../aci/keyset.ts'
import {
  decodeUtf8,
  encodeUtf8,
  fromBase64,
  toBase64,
  type Bytes,
  type UnixSeconds,
} from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { PROVIDER_KINDS, type ProviderKind } from './kinds.ts'

/**
 * The exact inputs of one verification of a provider. The live check and every later appraisal run on the encoded
 * bytes of this, so that a client or an auditor comes to the same verdict as the gateway did.
 */
export interface ProviderEvidence {
  readonly kind: Exclude<ProviderKind, 'aci'>
  readonly collectedAt: UnixSeconds
  /** `https://host[:port]`: where prompts go. */
  readonly origin: string
  /** The model's name at the provider, where evidence is about one; else null. */
  readonly model: string | null
  /** The challenge that was sent, 64 hex digits; null where the provider takes none. */
  readonly nonce: string | null
  /**
   * SHA-256 of the SPKI that the connection ended in on which the evidence was fetched, hex. Null where nobody looked,
   * which is no harm: a channel pins the key that was attested.
   */
  readonly observedSpkiSha256: string | null
  readonly documents: Documents
}

/**
 * Documents byte for byte as they were received, by name. A name is a path of lower-case words: `report`,
 * `tdx/collateral/0`, `nvidia/rim/1`.
 */
export type Documents = ReadonlyMap<string, Bytes>

const FORMAT = 'vouchgate.provider-evidence/1'
const MAX_DOCUMENTS = 256
const NAME = /^[a-z0-9-]{1,64}(?:\/[a-z0-9-]{1,64}){0,3}$/

const schema = z.strictObject({
  format: z.literal(FORMAT),
  kind: z.enum(PROVIDER_KINDS).exclude(['aci']),
  collected_at: unixTime,
  origin: z.string().regex(/^https:\/\/[^/?#@\s]{1,300}$/),
  model: z.string().max(256).nullable(),
  nonce: hexOf(32).nullable(),
  observed_spki_sha256: hexOf(32).nullable(),
  documents: z.record(z.string(), z.string()),
})

export function encodeProviderEvidence(evidence: ProviderEvidence): Bytes {
  const { kind, collectedAt, origin, model, nonce, observedSpkiSha256, documents } = evidence
  return encodeUtf8(
    JSON.stringify({
      format: FORMAT,
      kind,
      collected_at: collectedAt,
      origin,
      model,
      nonce,
      observed_spki_sha256: observedSpkiSha256,
      documents: Object.fromEntries([...documents].map(([name, bytes]) => [name, toBase64(bytes)])),
    }),
  )
}

/** Throws `evidence_malformed`. */
export function decodeProviderEvidence(bytes: Uint8Array): ProviderEvidence {
  const parsed = schema.safeParse(parseJson(decodeUtf8(bytes)))
  if (!parsed.success) throw new EvidenceError('evidence_malformed')
  const { kind, collected_at, origin, model, nonce, observed_spki_sha256, documents } = parsed.data
  const entries = Object.entries(documents)
  if (entries.length > MAX_DOCUMENTS || entries.some(([name]) => !NAME.test(name))) {
    throw new EvidenceError('evidence_malformed')
  }
  return {
    kind,
    collectedAt: collected_at,
    origin,
    model,
    nonce,
    observedSpkiSha256: observed_spki_sha256,
    documents: new Map(entries.map(([name, text]) => [name, fromBase64(text)])),
  }
}

const formatSchema = z.object({ format: z.string() })

/** Whether these are the bytes of `encodeAciEvidence`. Throws `json_malformed`. */
export function isAciEvidence(bytes: Uint8Array): boolean {
  const parsed = formatSchema.safeParse(parseJson(decodeUtf8(bytes)))
  return parsed.success && parsed.data.format.startsWith('vouchgate.aci-evidence/')
}

/** Throws `evidence_document_absent`. */
export function documentOf({ documents }: ProviderEvidence, name: string): Bytes {
  const found = documents.get(name)
  if (found === undefined) throw new EvidenceError('evidence_document_absent')
  return found
}

/** `<name>/0`, `<name>/1` … in order. */
export const documentsOf = ({ documents }: ProviderEvidence, name: string): Bytes[] =>
  [...documents].filter(([each]) => each.startsWith(`${name}/`)).map(([, bytes]) => bytes)

/** The entries that {@link documentsOf} finds again. */
export const numbered = (name: string, documents: readonly Bytes[]): [string, Bytes][] =>
  documents.map((bytes, at) => [`${name}/${at}`, bytes])
