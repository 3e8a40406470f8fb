import { z } from 'zod'
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
import { parseCollateral, type Collateral } from '../tdx/collateral.ts'
import { hexOf, unixTime } from './keyset.ts'

/**
 * The exact inputs of one verification. The live check and every later appraisal run on the encoded bytes
 * of this, so that a client or an auditor comes to the same verdict as the gateway did.
 */
export interface AciEvidence {
  readonly collected_at: UnixSeconds
  /** `https://host[:port]` */
  readonly origin: string
  /** The challenge that was sent, or null for an unchallenged report. */
  readonly nonce: string | null
  /** SHA-256 of the SPKI that the connection showed on which the report was fetched, hex. */
  readonly observed_spki_sha256: string
  /** The response body as received. */
  readonly report: Uint8Array
  readonly collateral: Collateral
}

const FORMAT = 'vouchgate.aci-evidence/1'

const schema = z.strictObject({
  format: z.literal(FORMAT),
  collected_at: unixTime,
  origin: z.string().regex(/^https:\/\/[^/?#@\s]{1,300}$/),
  nonce: hexOf(32).nullable(),
  observed_spki_sha256: hexOf(32),
  report_b64: z.string(),
  collateral: z.record(z.string(), z.string()),
})

export function encodeAciEvidence(evidence: AciEvidence): Bytes {
  const { report, collected_at, origin, nonce, observed_spki_sha256, collateral } = evidence
  return encodeUtf8(
    JSON.stringify({
      format: FORMAT,
      collected_at,
      origin,
      nonce,
      observed_spki_sha256,
      report_b64: toBase64(report),
      collateral,
    }),
  )
}

/** Throws `evidence_malformed`. */
export function decodeAciEvidence(bytes: Uint8Array): AciEvidence {
  const parsed = schema.safeParse(parseJson(decodeUtf8(bytes)))
  if (!parsed.success) throw new EvidenceError('evidence_malformed')
  const { report_b64, collateral, format: _, ...rest } = parsed.data
  return { ...rest, report: fromBase64(report_b64), collateral: parseCollateral(collateral) }
}
