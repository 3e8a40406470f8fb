import type { Confidentiality, Provider } from './config.ts'

/** Which class of model a kind of provider can serve. A plan never mixes the two. */
export const KIND_CONFIDENTIALITY: Readonly<Record<Provider['kind'], Confidentiality>> = {
  aci: 'attested',
  'near-direct': 'attested',
  'near-cloud': 'attested',
  'dstack-vllm': 'attested',
  tinfoil: 'attested',
  chutes: 'attested',
  'openai-ra-tls': 'attested',
  secretai: 'attested',
  openai: 'plain',
  anthropic: 'plain',
  gemini: 'plain',
  bedrock: 'plain',
  cohere: 'plain',
}
