import type { AciProvider, OpenAiProvider } from '../config/index.ts'
import type { AttestedSessions } from '../sessions.ts'
import { AciUpstream } from './aci.ts'
import type { ChannelLimits, VerifiedChannel } from './channel.ts'
import { PlainUpstream } from './plain.ts'
import type { Upstream } from './upstream.ts'

interface ProviderKinds {
  aci: AciProvider
  openai: OpenAiProvider
}

type KindName = keyof ProviderKinds
type ProviderOf<K extends KindName> = { [P in K]: ProviderKinds[P] & { readonly kind: P } }[K]

export interface UpstreamDeps {
  readonly sessions: AttestedSessions<VerifiedChannel>
  readonly limits: ChannelLimits
}

interface Kind<P> {
  readonly open: (provider: P, deps: UpstreamDeps) => Upstream
}

/** Every kind of provider there is, each entry complete. */
const KINDS: { readonly [K in KindName]: Kind<ProviderOf<K>> } = Object.freeze({
  __proto__: null,
  aci: {
    open: (provider: AciProvider, deps: UpstreamDeps) => new AciUpstream(provider, deps.sessions),
  },
  openai: {
    open: (provider: OpenAiProvider, deps: UpstreamDeps) =>
      new PlainUpstream(provider, deps.limits),
  },
})

export const openUpstream = <K extends KindName>(
  provider: ProviderOf<K>,
  deps: UpstreamDeps,
): Upstream => KINDS[provider.kind].open(provider, deps)
