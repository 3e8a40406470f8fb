import { EvidenceError, parseRimAnswer, type Bytes, type Clock } from '@vouchgate/attestation'
import { ChannelError } from '../../client/errors.ts'
import { TimedCache } from './cache.ts'
import { fetchNvidia, type NvidiaService } from './fetch.ts'

/** The bytes of the reference manifest (XML) with this id. */
export type RimSource = (id: string) => Promise<Bytes>

export interface RimOptions {
  /** NVIDIA's service or a mirror with the same paths, e.g. `https://rim.attestation.nvidia.com`. */
  readonly service: NvidiaService
  readonly clock: Clock
  /** Rejects where a document is not genuine, and then it is not held: one bad answer would last for a day. */
  readonly verify: (document: Bytes, id: string) => Promise<unknown>
}

/** No leading dot, so that an id is never a step upwards in the path. */
const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/
const MAX_DOCUMENT = 1 << 20
/** In base64, with what stands around it. */
const MAX_ANSWER = Math.ceil(MAX_DOCUMENT / 3) * 4 + (1 << 14)
/** NVIDIA replaces manifests in place, under the same id. */
const MAX_AGE_SECONDS = 24 * 3600
const MAX_HELD = 64

/**
 * Reference manifests from NVIDIA's RIM service, each held for a day. The digest beside a document only shows that
 * the transfer was complete; what a caller does with the document is a verification of its own.
 *
 * Rejects with `ChannelError` (`rim_*`, `nvidia_*`) or with what `verify` rejects with. An id of another form than
 * 1 to 128 of `[A-Za-z0-9._-]` is a `TypeError`.
 */
export function rimService({ service, clock, verify }: RimOptions): RimSource {
  const cache = new TimedCache<Bytes>(clock, MAX_HELD)
  const base = service.url.replace(/\/+$/, '')
  return async (id) => {
    if (!ID.test(id)) throw new TypeError('not the id of a reference manifest')
    return cache.get(id, async () => {
      const expiresAt = clock.now() + MAX_AGE_SECONDS
      const url = `${base}/v1/rim/${id}`
      const headers = { accept: 'application/json' }
      const statuses = { 404: 'rim_not_found' } as const
      const { timeoutMs } = service
      const bytes = await fetchNvidia({
        url,
        timeoutMs,
        clock,
        headers,
        statuses,
        maxBytes: MAX_ANSWER,
      })
      const value = await documentOf(bytes, id)
      await verify(value, id)
      return { value, expiresAt }
    })
  }
}

async function documentOf(answer: Bytes, id: string): Promise<Bytes> {
  const document = await parseRimAnswer(answer, id).catch((error: unknown) => {
    if (!(error instanceof EvidenceError)) throw error
    // A manifest of another driver is as genuine as the right one.
    const unreadable = error.code === 'rim_answer_malformed'
    throw new ChannelError(unreadable ? 'rim_answer_malformed' : 'rim_answer_mismatch')
  })
  if (document.length > MAX_DOCUMENT) throw new ChannelError('nvidia_too_large')
  return document
}
