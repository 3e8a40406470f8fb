import type { Bytes } from '@vouchgate/attestation'
import type { EvidenceFetch } from '../../client/evidence-fetch.ts'

/** One document of a service under `url`, which may have a path of its own. */
export function serviceFetch(url: string, fetch: EvidenceFetch) {
  const { origin, pathname } = new URL(url)
  const root = pathname.replace(/\/+$/, '')
  return async (path: string, maxBytes: number): Promise<Bytes> => {
    // Certificates are no JSON, and the service may mind.
    const headers = { accept: '*/*' }
    const { body } = await fetch({ origin, path: root + path, headers, maxBytes })
    return body
  }
}
