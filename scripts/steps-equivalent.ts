import { EDGE_EQUIVALENT } from './steps-edges.ts'
import { PROVIDER_EQUIVALENT } from './steps-providers.ts'
import { SESSION_EQUIVALENT } from './steps-sessions.ts'

/**
 * Refusals that another one, further on, makes again: no input can tell them from their absence. Each is named by a text that
 * stands once in its file with the refusal in it: a number would come to mean another one.
 */
export const EQUIVALENT: readonly (readonly [file: string, text: string, why: string])[] = [
  [
    'attestation/json.ts',
    "if (!SCALAR.test(this.#text)) throw new EvidenceError('json_malformed')",
    'a scan that found no scalar goes on at the start, where nothing it expects stands',
  ],
  [
    'attestation/json.ts',
    "if (typeof value !== 'string') throw new EvidenceError('json_malformed')",
    'what was scanned as a string literal parses to a string',
  ],
  [
    'client/pinned.ts',
    "if (socket.destroyed) throw new ChannelError('channel_unreachable')",
    'undici finds the destroyed socket itself; this gives the error its code',
  ],
  [
    'client/evidence-fetch.ts',
    "if (certificate === undefined) throw new ChannelError('channel_key_unreadable')",
    'a key of that certificate has been read already; this only narrows the type',
  ],
  [
    'client/collect.ts',
    "if (spkiSha256 === null) throw new TypeError('the key of the connection was not looked at')",
    'what fetches from origins that attest their key always looks; this only narrows its type',
  ],
  [
    'src/upstream/seal-chutes.ts',
    "if (apiKey === null) throw new TypeError('tokens belong to an account')",
    'no attested provider is configured without a key; this only narrows its type',
  ],
  [
    'src/providers/chutes-tokens.ts',
    "if (bytes === null) throw new SendError('unreachable')",
    'what was too long to be read cannot be parsed either, with the same code',
  ],
  [
    'src/dialects/gemini/content.ts',
    "if (part.source.kind === 'id') throw new GatewayError('request_not_supported')",
    'what is named by an id has no address, which is refused with the same code',
  ],
  [
    'src/admin.ts',
    '  app.removeAllContentTypeParsers()\n',
    'no route of this listener takes a body, so that no parser is ever asked',
  ],
  ...EDGE_EQUIVALENT,
  ...PROVIDER_EQUIVALENT,
  ...SESSION_EQUIVALENT,
  [
    'src/routes/prompt.ts',
    "if (!isRequestId(requestId)) throw new GatewayError('internal')",
    'a request id is always minted; this only narrows its type',
  ],
]
