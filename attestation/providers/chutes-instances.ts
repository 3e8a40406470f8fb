import { z } from 'zod'
import { decodeUtf8, fromBase64, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'

/** An ML-KEM-768 public key as Chutes serves it. */
export interface ChutesKey {
  /** Base64, exactly as served: the quote is over these characters, not over the bytes. */
  readonly text: string
  /** 1184 bytes. */
  readonly bytes: Bytes
}

/** What Chutes says of one instance of a chute. Nothing of it is attested. */
interface ChutesInstance {
  readonly instanceId: string
  /** Null where the instance has no key: nothing can be encrypted to it. */
  readonly key: ChutesKey | null
  /** Single-use, for one invocation each, and only by the account that asked. */
  readonly tokens: readonly string[]
}

export interface ChutesInstances {
  readonly instances: readonly ChutesInstance[]
  readonly tokensExpireInSeconds: number
}

const CHUTES_KEY_BYTES = 1184
const KEY_LENGTH = 1580
const MAX_INSTANCES = 64
const MAX_TOKENS = 64

export const chutesInstanceId = z.string().regex(/^[0-9a-f-]{1,64}$/)

const schema = z.object({
  instances: z
    .array(
      z.object({
        instance_id: chutesInstanceId,
        e2e_pubkey: z.string().max(4096).nullish(),
        nonces: z
          .array(z.string().regex(/^[A-Za-z0-9_-]{1,128}$/))
          .max(MAX_TOKENS)
          .nullish(),
      }),
    )
    .max(MAX_INSTANCES),
  nonce_expires_in: z.number().min(0).max(3600),
})

/** Reads an answer of `/e2e/instances/{chute}`. Throws `evidence_malformed`. */
export function parseChutesInstances(bytes: Uint8Array): ChutesInstances {
  const parsed = schema.safeParse(parseJson(decodeUtf8(bytes)))
  if (!parsed.success) throw new EvidenceError('evidence_malformed')
  const { instances, nonce_expires_in } = parsed.data
  return {
    instances: instances.map(({ instance_id, e2e_pubkey, nonces }) => ({
      instanceId: instance_id,
      key: keyOf(e2e_pubkey),
      tokens: nonces ?? [],
    })),
    tokensExpireInSeconds: nonce_expires_in,
  }
}

/** Null for whatever is not a key: an instance without one is no reason to refuse the others. */
function keyOf(text: string | null | undefined): ChutesKey | null {
  if (text?.length !== KEY_LENGTH || !/^[A-Za-z0-9+/]+=?$/.test(text)) return null
  const bytes = fromBase64(text)
  return bytes.length === CHUTES_KEY_BYTES ? { text, bytes } : null
}
