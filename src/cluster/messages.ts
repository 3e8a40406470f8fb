import { isNonce, type AttestationReport, type Collateral } from '@vouchgate/attestation'
import { z } from 'zod'
import type { EnclaveErrorCode, Facts, HandedGeneration } from '../../enclave/index.ts'
import {
  isCredentialDigest,
  isProviderId,
  isSessionId,
  type CredentialDigest,
  type ProviderId,
  type SessionId,
} from '../ids.ts'
import { isFamily, type Sample } from '../metrics.ts'
import type { Collected } from '../providers/verify.ts'
import type { RoundFailure } from '../upstream/failure.ts'

/** One round of verification, collected by the leader and judged by every process on its own. */
export interface Round {
  readonly provider: ProviderId
  /** Counts the rounds of this provider, from 1. */
  readonly sequence: number
  readonly outcome: Collected | RoundFailure
}

/** What a worker starts from. */
export interface Equipment {
  readonly handed: HandedGeneration
  /** 32 bytes. */
  readonly tenantSecret: Uint8Array
  /** What sessions may still be pinned of, oldest first. */
  readonly rounds: readonly Round[]
}

/** What another worker may hold. */
export type PeerQuestion =
  | { readonly kind: 'receipt'; readonly id: string; readonly credential: CredentialDigest }
  | { readonly kind: 'session'; readonly id: SessionId }

/** What a worker asks the leader. None of it lets a worker choose what is fetched, or what a quote is over but a nonce. */
export type Question =
  | PeerQuestion
  | { readonly kind: 'report'; readonly nonce: string }
  /** Of the gateway's own quotes. */
  | { readonly kind: 'collateral' }
  /** A round after the one that the worker has seen last. */
  | { readonly kind: 'round'; readonly provider: ProviderId; readonly after: number }

/** What the leader asks a worker. */
export type LeaderQuestion = PeerQuestion | { readonly kind: 'metrics' }

export type Answer =
  | { readonly kind: 'report'; readonly report: AttestationReport }
  | {
      readonly kind: 'no_report'
      readonly code: EnclaveErrorCode
      readonly retryAfterSeconds: number | null
    }
  | { readonly kind: 'collateral'; readonly collateral: Collateral | null }
  /** Null: a newer round has been sent. */
  | { readonly kind: 'round'; readonly failure: RoundFailure | null }
  | PeerAnswer

/** JSON text, or null where nobody holds it; `unknown`: not everybody has answered. */
export type PeerAnswer =
  | { readonly kind: 'document'; readonly json: string | null }
  | { readonly kind: 'unknown' }

export type WorkerAnswer = PeerAnswer | { readonly kind: 'metrics'; readonly samples: Sample[] }

/** From the leader, which holds every key: what it says is taken as it is. */
export type FromLeader =
  | { readonly type: 'start'; readonly equipment: Equipment }
  | { readonly type: 'keys'; readonly handed: HandedGeneration }
  | { readonly type: 'round'; readonly round: Round }
  | { readonly type: 'ask'; readonly id: number; readonly question: LeaderQuestion }
  | { readonly type: 'answer'; readonly id: number; readonly answer: Answer }
  | { readonly type: 'drain' }

/** From a worker, which the network reaches. */
export type FromWorker =
  | { readonly type: 'hello'; readonly configDigest: string; readonly facts: Facts }
  | { readonly type: 'serving'; readonly port: number }
  | { readonly type: 'failed'; readonly reason: StartFailure }
  | { readonly type: 'ask'; readonly id: number; readonly question: Question }
  | { readonly type: 'answer'; readonly id: number; readonly answer: WorkerAnswer }

/** Why a worker could not begin to serve. */
type StartFailure = 'listen_failed' | 'internal'

const TYPES = new Set(['start', 'keys', 'round', 'ask', 'answer', 'drain'])

export const isFromLeader = (message: unknown): message is FromLeader =>
  typeof message === 'object' &&
  message !== null &&
  'type' in message &&
  typeof message.type === 'string' &&
  TYPES.has(message.type)

/** The longest path parameter that the router takes. */
const MAX_ID = 512
/** Evidence of a round is at most 8 MiB in Base64; the rest is claims. */
const MAX_DOCUMENT = 1 << 24
const MAX_SAMPLES = 100_000

const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
/** As `Metrics` writes them; anything else could put lines of its own into the text that an operator reads. */
const PAIR = '[a-z_]{1,64}="[A-Za-z0-9._:/@-]{0,128}"'
const labels = z.string().regex(new RegExp(`^(?:\\{${PAIR}(?:,${PAIR}){0,7}\\})?$`))

const question = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('report'), nonce: z.string().refine(isNonce) }),
  z.strictObject({ kind: z.literal('collateral') }),
  z.strictObject({
    kind: z.literal('round'),
    provider: z.string().refine(isProviderId),
    after: number,
  }),
  z.strictObject({
    kind: z.literal('receipt'),
    id: z.string().max(MAX_ID),
    credential: z.string().refine(isCredentialDigest),
  }),
  z.strictObject({ kind: z.literal('session'), id: z.string().refine(isSessionId) }),
])

const answer = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('document'), json: z.string().max(MAX_DOCUMENT).nullable() }),
  z.strictObject({ kind: z.literal('unknown') }),
  z.strictObject({
    kind: z.literal('metrics'),
    samples: z
      .array(z.tuple([z.string().refine(isFamily), labels, z.number().min(0)]))
      .max(MAX_SAMPLES),
  }),
])

const facts = z
  .record(z.string().regex(/^[a-z_]{1,64}$/), z.enum(['held', 'not_held', 'unknown']))
  .refine((all) => Object.keys(all).length <= 64)

const fromWorker = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('hello'),
    configDigest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
    facts,
  }),
  z.strictObject({ type: z.literal('serving'), port: number.max(65_535) }),
  z.strictObject({ type: z.literal('failed'), reason: z.enum(['listen_failed', 'internal']) }),
  z.strictObject({ type: z.literal('ask'), id: number, question }),
  z.strictObject({ type: z.literal('answer'), id: number, answer }),
])

/** Null where it is not one of the shapes above, within their bounds. */
export function readFromWorker(message: unknown): FromWorker | null {
  const parsed = fromWorker.safeParse(message)
  return parsed.success ? parsed.data : null
}
