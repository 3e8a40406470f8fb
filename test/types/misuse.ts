/* Programs that must not compile. The type check fails if one of them starts to. */
import type {
  AcceptedGpuEvidence,
  Clock,
  EventLog,
  GenuineGpuDevice,
  GenuineGpuEvidence,
  GenuineQuote,
  GpuAcceptance,
  GpuBinding,
  GpuEvidence,
  LaunchClaims,
  NrasInput,
  Policy,
  VerifiedEndpoint,
} from '@vouchgate/attestation'
import {
  acceptGpuEvidence,
  acceptQuote,
  buildSession,
  gpuClaims,
  launchClaims,
  measureGpu,
  verifyNrasResponse,
  verifyQuote,
} from '@vouchgate/attestation'
// @ts-expect-error the class is exported as a type only, so nobody else can construct one
import { VerifiedEndpoint as ForgedEndpoint } from '@vouchgate/attestation'
// @ts-expect-error so is the verdict on a quote
import { GenuineQuote as ForgedQuote } from '@vouchgate/attestation'
// @ts-expect-error and a log that replays
import { VerifiedEventLog as ForgedLog } from '@vouchgate/attestation'
// @ts-expect-error a consent is a type too: only policy makes one
import { PlaintextConsent as ForgedConsent } from '../../src/consent.ts'
import type { PlaintextConsent } from '../../src/consent.ts'
import { GatewayError } from '../../src/errors.ts'
import type { ProviderId, RequestId } from '../../src/ids.ts'
import type { Logger } from '../../src/log.ts'
import type { Sensitive } from '../../src/sensitive.ts'
import { VerifiedChannel, type ChannelOptions } from '../../src/upstream/channel.ts'
import type { PlainChannel } from '../../src/upstream/plain.ts'
import type { Message, Outbound, ResponseSink } from '../../src/upstream/send.ts'

declare const real: VerifiedEndpoint
declare const genuine: GenuineQuote
declare const policy: Policy
declare const options: ChannelOptions
declare const plain: PlainChannel
declare const channel: VerifiedChannel
declare const outbound: Outbound
declare const message: Message
declare const sink: ResponseSink
declare const log: Logger
declare const request: RequestId
declare const provider: ProviderId
declare const body: Sensitive<Uint8Array>
declare const evidence: Uint8Array
declare const eventLog: EventLog
declare const launch: LaunchClaims

const { origin, bindings, expiresAt } = real
const lookAlike = { origin, bindings, expiresAt }

// @ts-expect-error a look-alike is not a VerifiedEndpoint
export const a = new VerifiedChannel(lookAlike, options)
// @ts-expect-error a spread copy loses the proof
export const b = new VerifiedChannel({ ...real }, options)
// @ts-expect-error a genuine quote is not an endpoint
export const c = new VerifiedChannel(genuine, options)
export const d = buildSession({
  // @ts-expect-error nobody verified this
  endpoint: lookAlike,
  upstreamName: 'a',
  evidence,
  establishedAt: 0,
  expiresAt: 1,
})

// @ts-expect-error facts that look like a verdict are none
export const e = acceptQuote({ tcb: genuine.tcb, body: genuine.body }, policy)
// @ts-expect-error a policy is never left out
export const f = acceptQuote(genuine)
// @ts-expect-error a policy is total
export const g = acceptQuote(genuine, { workload: 'any' })
// @ts-expect-error the time is never taken from a hidden clock
export const h = verifyQuote({ quote: evidence, collateral, trustedRoot })
declare const collateral: Parameters<typeof verifyQuote>[0]['collateral']
declare const trustedRoot: Parameters<typeof verifyQuote>[0]['trustedRoot']

// @ts-expect-error an attested channel takes no consent in place of evidence
export const i = channel.send(consent, outbound, sink)
// @ts-expect-error a plain channel sends nothing without consent
export const j = plain.send(outbound, sink)
// @ts-expect-error an empty object is no consent
export const k = plain.send({}, outbound, sink)
declare const consent: PlaintextConsent
// @ts-expect-error raw bytes are not a prompt
export const l: Message = { ...message, body: new Uint8Array() }
// @ts-expect-error an API key in the open is not a secret
export const m: Outbound = { ...outbound, apiKey: 'sk-1' }

// @ts-expect-error no event carries a body
log({ event: 'attempt_failed', request, provider, code: 'internal', body })
// @ts-expect-error no free text
log('hello')
// @ts-expect-error no free text in a member either
log({ event: 'attempt_failed', request, provider, code: 'something else' })
// @ts-expect-error a string is not a provider id
log({ event: 'attempt_failed', request, provider: 'openai', code: 'internal' })
// @ts-expect-error no such code
export const n = new GatewayError('oops')
// @ts-expect-error a message is never given by the caller
export const o = new GatewayError('internal', 'the prompt was …')

// @ts-expect-error a claim has no value until its status was looked at
export const p = launch.composeHash.value
// @ts-expect-error a log that was only read says nothing of a launch
export const q = launchClaims({ log: eventLog, platforms: 'any' })

// @ts-expect-error a genuine device is not yet an accepted one
export const r = gpuClaims(gpus, gpuBinding)
// @ts-expect-error how GPUs are bound is never left out
export const s = gpuClaims(acceptedGpus)
// @ts-expect-error reference values that nobody verified
export const t = measureGpu(gpu, [new Uint8Array()])
// @ts-expect-error a rule for GPUs is never left out of a policy
export const u = acceptGpuEvidence({ ...acceptance, policy: { judge: 'local' } })
// @ts-expect-error NRAS judges nothing that was not verified here
export const v = verifyNrasResponse({ ...nrasInput, evidence: parsedGpus })
declare const gpu: GenuineGpuDevice
declare const gpus: GenuineGpuEvidence
declare const parsedGpus: GpuEvidence
declare const acceptedGpus: AcceptedGpuEvidence
declare const gpuBinding: GpuBinding
declare const acceptance: GpuAcceptance
declare const nrasInput: NrasInput

export type Unused =
  | typeof ForgedEndpoint
  | typeof ForgedQuote
  | typeof ForgedLog
  | typeof ForgedConsent
