import { appraiseEvidence, toHex, type Bytes, type UnixSeconds } from '@vouchgate/attestation'
import { Recorder, type Subject } from '../../client/recorder.ts'
import { verifyRelease } from '../../client/sigstore.ts'
import type { AttestedProvider } from '../config/index.ts'
import { KDS_URL, RELEASES_URL } from '../config/urls.ts'
import type { Random } from '../ids.ts'
import { expose } from '../sensitive.ts'
import type { Verified } from '../session-slot.ts'
import type { CollectDeps } from './collect.ts'
import { ATTESTED_KINDS } from './kinds.ts'

export interface VerifyOptions extends Omit<CollectDeps, 'nonce' | 'authorization'> {
  readonly random: Random
  /** Keeps what was collected, whether or not it holds. Never rejects. */
  readonly record?: (recorder: Recorder, subject: Subject) => Promise<void>
}

/** The evidence of one round, and what it is judged by wherever that happens. */
export interface Collected {
  /** What the provider was asked with. */
  readonly nonce: string
  readonly at: UnixSeconds
  readonly evidence: Bytes
}

/** Collects a provider's evidence over a fresh nonce and judges exactly those bytes. */
export async function verifyProvider(
  provider: AttestedProvider,
  options: VerifyOptions,
): Promise<Verified> {
  return appraise(provider, await collectEvidence(provider, options))
}

/** Everything that a verification of the provider consumes, over a fresh nonce. Nothing is verified here. */
export async function collectEvidence(
  provider: AttestedProvider,
  { random, record, ...rest }: VerifyOptions,
): Promise<Collected> {
  const nonce = toHex(random(32))
  const authorization = `Bearer ${expose(provider.apiKey)}`
  const { kind, model } = provider
  const recorder = record === undefined ? null : new Recorder()
  const deps = { nonce, authorization, ...(recorder === null ? rest : recorded(rest, recorder)) }
  const evidence = await collected(provider, deps, async () => {
    const subject = { provider: kind, model, nonce, at: rest.clock.now() }
    if (recorder !== null) await record?.(recorder, subject)
  })
  return { nonce, at: rest.clock.now(), evidence }
}

/** Judges collected evidence. Does no I/O, so that every process that judges the same bytes comes to the same verdict. */
export async function appraise(
  { policy }: AttestedProvider,
  { nonce, at, evidence }: Collected,
): Promise<Verified> {
  const judged = { evidence, challenge: nonce, now: at, policy, verifyRelease }
  return { endpoints: await appraiseEvidence(judged), evidence }
}

async function collected(
  provider: AttestedProvider,
  deps: CollectDeps,
  afterwards: () => Promise<void>,
): Promise<Bytes> {
  try {
    return await ATTESTED_KINDS[provider.kind].collect(provider, deps)
  } finally {
    await afterwards()
  }
}

type Sources = Omit<CollectDeps, 'nonce' | 'authorization'>

const recorded = (sources: Sources, recorder: Recorder): Sources => ({
  ...sources,
  attested: recorder.fetch(sources.attested),
  web: recorder.fetch(sources.web),
  certificate: recorder.certificate(sources.certificate),
  pcs: recorder.collateral(sources.pcs),
  gpus: async (question) => {
    const documents = await sources.gpus(question)
    recorder.nvidia(documents)
    return documents
  },
  amd: async (question) => {
    const found = await sources.amd(question)
    recorder.service(KDS_URL, found.answers)
    return found
  },
  releases: async (repository, tag) => {
    const found = await sources.releases(repository, tag)
    recorder.service(RELEASES_URL, found.answers)
    return found
  },
})
