import type { Provider } from '../config/index.ts'
import type { AttestedSessions } from '../sessions.ts'
import { AttestedUpstream } from './attested.ts'
import type { ChannelLimits, VerifiedChannel } from './channel.ts'
import { PlainUpstream } from './plain.ts'
import type { Upstream } from './upstream.ts'

export interface UpstreamDeps {
  readonly sessions: AttestedSessions<VerifiedChannel>
  readonly limits: ChannelLimits
}

export const openUpstream = (provider: Provider, { sessions, limits }: UpstreamDeps): Upstream =>
  provider.kind === 'openai'
    ? new PlainUpstream(provider, limits)
    : new AttestedUpstream(provider, sessions)
