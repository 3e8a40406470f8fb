import { equalBytes, sha256, sha384, sha512, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { decodeCbor, type Packed } from './packed.ts'

/** Evidence in the form of the CCC's interoperable RA-TLS. */
export interface InteroperableEvidence {
  readonly quote: Bytes
  /** Exactly the bytes that the report data is the hash of. */
  readonly claims: Bytes
}

/** A TDX or SGX quote with the claims that its report data hashes. */
const TAG = 60_000

/** Hash algorithms of the IANA registry "Named Information" that are long enough. */
const HASHES: ReadonlyMap<number, (bytes: Bytes) => Promise<Bytes>> = new Map([
  [1, sha256],
  [7, sha384],
  [8, sha512],
])

/** Reads `60000([quote, claims])`. Throws `ra_tls_malformed`. */
export function readInteroperable(bytes: Uint8Array): InteroperableEvidence {
  const document = decodeCbor(bytes)
  const tagged = document.kind === 'tagged' && document.tag === TAG ? document.content : null
  if (tagged?.kind !== 'list') throw new EvidenceError('ra_tls_malformed')
  const [quote, claims, ...others] = tagged.items
  if (quote?.kind !== 'bytes' || claims?.kind !== 'bytes' || others.length > 0)
    throw new EvidenceError('ra_tls_malformed')
  return { quote: quote.value, claims: claims.value }
}

/**
 * Proves that claims name a key: `{"pubkey-hash": [algorithm, hash of the SubjectPublicKeyInfo]}`, the value also
 * wrapped in a byte string. Other claims are not looked at. Throws `ra_tls_key_not_bound`, `ra_tls_malformed`.
 */
export async function checkClaims(claims: Bytes, spki: Bytes): Promise<void> {
  const map = decodeCbor(claims)
  const entry = map.kind === 'map' ? map.members.get('pubkey-hash') : undefined
  const [algorithm, digest] = entryOf(entry)
  const hash = HASHES.get(algorithm)
  if (hash === undefined || !equalBytes(await hash(spki), digest)) {
    throw new EvidenceError('ra_tls_key_not_bound')
  }
}

function entryOf(entry: Packed | undefined): [algorithm: number, digest: Bytes] {
  const list = entry?.kind === 'bytes' ? decodeCbor(entry.value) : entry
  const [algorithm, digest] = list?.kind === 'list' ? list.items : []
  if (algorithm?.kind !== 'integer' || digest?.kind !== 'bytes')
    throw new EvidenceError('ra_tls_malformed')
  return [algorithm.value, digest.value]
}
