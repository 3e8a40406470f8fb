import {
  decodeUtf8,
  isVerificationError,
  parseJson,
  type Bytes,
  type Clock,
} from '@vouchgate/attestation'
import { z } from 'zod'
import { ChannelError } from '../../client/errors.ts'
import type { EvidenceFetch } from '../../client/evidence-fetch.ts'
import { TimedCache } from '../nvidia/cache.ts'
import { serviceFetch } from './service.ts'

/** What is published about one release; nothing of it is verified. */
export interface ReleaseDocuments {
  /** The digest of the release's artifact, as text. */
  readonly digest: Bytes
  /** `{"attestations":[{"bundle":…}]}` */
  readonly attestations: Bytes
  /** Every answer that these rest on, by the paths that they were asked for at. */
  readonly answers: readonly (readonly [path: string, body: Bytes])[]
}

/**
 * The documents of the newest release of a repository, or of the one of a tag.
 *
 * Rejects with `ChannelError` `release_*` or `channel_*`.
 */
export type ReleaseSource = (
  repository: string,
  /** Null: the newest. */
  tag: string | null,
) => Promise<ReleaseDocuments>

export interface ReleaseOptions {
  readonly url: string
  readonly fetch: EvidenceFetch
  readonly clock: Clock
}

const MAX_RELEASE = 1 << 20
const MAX_DIGEST = 1024
const MAX_ATTESTATIONS = 2 << 20
/** A release that came out is known this much later; the service is asked by every gateway. */
const NEWEST_SECONDS = 300
/** What a tag's release is does not change; what is held that is wrong is gone within the hour. */
const RELEASE_SECONDS = 3600
const MAX_HELD = 256

const newestSchema = z.object({ tag_name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/) })

/** GitHub's routes for releases and attestations, or those of a proxy that answers without an account. */
export function releaseService({ url, fetch, clock }: ReleaseOptions): ReleaseSource {
  const newest = new TimedCache<Newest>(clock, MAX_HELD)
  const releases = new TimedCache<ReleaseDocuments>(clock, MAX_HELD)
  const ask = asking(url, fetch)
  const timed = async <V>(loading: Promise<V>, seconds: number) => {
    const value = await loading
    return { value, expiresAt: clock.now() + seconds }
  }
  const release = (repository: string, tag: string): Promise<ReleaseDocuments> =>
    releases.get(`${repository}@${tag}`, () =>
      timed(askRelease(ask, repository, tag), RELEASE_SECONDS),
    )
  return async (repository, wanted) => {
    if (wanted !== null) return release(repository, wanted)
    const { tag, answer } = await newest.get(repository, () =>
      timed(askNewest(ask, repository), NEWEST_SECONDS),
    )
    const found = await release(repository, tag)
    return { ...found, answers: [answer, ...found.answers] }
  }
}

type Ask = (path: string, maxBytes: number) => Promise<Bytes>

const asking = (url: string, fetch: EvidenceFetch): Ask => {
  const service = serviceFetch(url, fetch)
  return (path, maxBytes) =>
    service(path, maxBytes).catch((error: unknown) => {
      throw failure(error)
    })
}

interface Newest {
  readonly tag: string
  readonly answer: readonly [path: string, body: Bytes]
}

async function askNewest(ask: Ask, repository: string): Promise<Newest> {
  const path = `/repos/${repository}/releases/latest`
  const body = await ask(path, MAX_RELEASE)
  const parsed = newestSchema.safeParse(json(body))
  if (!parsed.success) throw new ChannelError('release_answer_malformed')
  return { tag: parsed.data.tag_name, answer: [path, body] }
}

async function askRelease(ask: Ask, repository: string, tag: string): Promise<ReleaseDocuments> {
  const path = `/${repository}/releases/download/${encodeURIComponent(tag)}/tinfoil.hash`
  const digest = await ask(path, MAX_DIGEST)
  const hex = /^([0-9a-f]{64})\s*$/.exec(Buffer.from(digest).toString('latin1'))?.[1]
  if (hex === undefined) throw new ChannelError('release_answer_malformed')
  const logged = `/repos/${repository}/attestations/sha256:${hex}`
  const attestations = await ask(logged, MAX_ATTESTATIONS)
  return {
    digest,
    attestations,
    answers: [
      [path, digest],
      [logged, attestations],
    ],
  }
}

function json(bytes: Bytes): unknown {
  try {
    return parseJson(decodeUtf8(bytes))
  } catch (error) {
    if (isVerificationError(error)) return null
    throw error
  }
}

function failure(error: unknown): unknown {
  if (!(error instanceof ChannelError)) return error
  const ours = error.code === 'report_unavailable' || error.code === 'report_too_large'
  return ours ? new ChannelError('release_unavailable') : error
}
