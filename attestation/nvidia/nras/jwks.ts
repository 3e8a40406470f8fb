import { importJWK } from 'jose'
import { z } from 'zod'
import { encodeUtf8, type Bytes } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { Memo } from '../../memo.ts'
import { jsonOf } from './json.ts'
import { NRAS_MAX_BYTES } from './response.ts'

const CODE = 'nras_jwks_malformed'
const coordinate = z.string().regex(/^[A-Za-z0-9_-]{64}$/)
const keySchema = z.object({
  kty: z.literal('EC'),
  crv: z.literal('P-384'),
  kid: z.string().min(1).max(128),
  x: coordinate,
  y: coordinate,
  /** Certificates in base64, that of the key first. */
  x5c: z.array(z.string().max(8192)).max(4).optional(),
})
const setSchema = z.object({ keys: z.array(keySchema).min(1).max(256) })

/** A key as NRAS publishes it: for about two days, so what an archive needs is the key itself. */
export type NrasJwk = Readonly<z.output<typeof keySchema>>

/** The keys of NRAS by their ids. */
export type NrasKeys = ReadonlyMap<string, NrasJwk>

/** A JWK set of P-384 keys alone, at most 1 MiB and 256 keys, each id once. Throws `nras_jwks_malformed`. */
export function parseNrasJwks(body: Uint8Array): NrasKeys {
  if (body.length > NRAS_MAX_BYTES) throw new EvidenceError(CODE)
  const parsed = setSchema.safeParse(jsonOf(() => body))
  if (!parsed.success) throw new EvidenceError(CODE)
  const keys = new Map(parsed.data.keys.map((key) => [key.kid, key]))
  // Of two keys with one id, two readers could take different ones.
  if (keys.size !== parsed.data.keys.length) throw new EvidenceError(CODE)
  return keys
}

/** A JWK set that {@link parseNrasJwks} reads. */
export const writeNrasJwks = (keys: readonly NrasJwk[]): Bytes =>
  encodeUtf8(JSON.stringify({ keys }))

/** Whether a point is on the curve is found out once: one key signs all the tokens of a response, and those of hours. */
const imported = new Memo<Promise<CryptoKey>>(64)

/** Throws `nras_jwks_malformed` for a point that is not on the curve. */
export const importNrasKey = async (jwk: NrasJwk): Promise<CryptoKey> =>
  imported.get(`${jwk.x}.${jwk.y}`, () => importKey(jwk))

async function importKey({ kty, crv, x, y }: NrasJwk): Promise<CryptoKey> {
  try {
    return await importJWK({ kty, crv, x, y }, 'ES384')
  } catch {
    throw new EvidenceError(CODE)
  }
}
