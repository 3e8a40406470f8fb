import type { Clock } from '@vouchgate/attestation'
import { isAttested, type Provider } from '../config/index.ts'
import type { AttestedSessions } from '../sessions.ts'
import { AttestedUpstream } from './attested.ts'
import type { ChannelLimits, VerifiedChannel } from './channel.ts'
import { PlainUpstream } from './plain.ts'
import type { Upstream } from './upstream.ts'

export interface UpstreamDeps {
  readonly sessions: AttestedSessions<VerifiedChannel>
  readonly limits: ChannelLimits
  readonly clock: Clock
}

export const openUpstream = (
  provider: Provider,
  { sessions, limits, clock }: UpstreamDeps,
): Upstream =>
  isAttested(provider)
    ? new AttestedUpstream(provider, sessions)
    : new PlainUpstream(provider, limits, clock)
