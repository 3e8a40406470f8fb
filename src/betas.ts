import { GatewayError } from './errors.ts'

/**
 * Betas of Anthropic's API that change how one request is answered and leave nothing behind. A list of what may pass and not of
 * what may not, since a beta that nobody here has read about may keep content.
 */
const STATELESS: ReadonlySet<string> = new Set([
  'compact',
  'computer-use',
  'context-1m',
  'context-management',
  'dev-full-thinking',
  'effort',
  'extended-cache-ttl',
  'fast-mode',
  'fine-grained-tool-streaming',
  'interleaved-thinking',
  'mid-conversation-system',
  'model-context-window-exceeded',
  'output-128k',
  'output-300k',
  'pdfs',
  'prompt-caching',
  'structured-outputs',
  'thinking-token-count',
  'token-counting',
  'token-efficient-tools',
  'tool-search-tool',
])

/** Betas of what is kept between requests, or handed to servers that a request names. */
const STATEFUL: ReadonlySet<string> = new Set([
  'code-execution',
  'files-api',
  'managed-agents',
  'mcp-client',
  'mcp-servers',
  'skills',
])

/** A feature and the day of its version. */
const BETA = /^([a-z0-9-]{1,53})-20\d\d-\d\d-\d\d$/
const MOST = 16

interface Beta {
  readonly feature: string
  readonly text: string
}

/** Of a header `anthropic-beta`; what is not of the form is no beta. */
function betasOf(header: string): Beta[] {
  if (header === '') return []
  const texts = new Set(header.split(',').map((part) => part.trim()))
  return [...texts].flatMap((text) => {
    const [, feature] = BETA.exec(text) ?? []
    return feature === undefined ? [] : [{ feature, text }]
  })
}

/** Throws `not_stateless`: left out, the rest of the request would be answered as if it had not been asked. */
export function refuseStatefulBetas(header: string): void {
  if (betasOf(header).some(({ feature }) => STATEFUL.has(feature))) {
    throw new GatewayError('not_stateless')
  }
}

/** What of a client's header goes to Anthropic; null for none. */
export function forwardedBetas(header: string): string | null {
  const known = betasOf(header).filter(({ feature }) => STATELESS.has(feature))
  const texts = known.slice(0, MOST).map(({ text }) => text)
  return texts.length === 0 ? null : texts.join(',')
}
