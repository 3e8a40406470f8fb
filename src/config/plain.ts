import type { Sensitive } from '../sensitive.ts'
import type { Credential } from '../upstream/credentials.ts'
import type { PLAIN_KINDS, PlainProvider } from './config.ts'
import type { ConfigFile, SecretRef } from './schema.ts'

export type PlainEntry = Extract<
  ConfigFile['providers'][number],
  { kind: (typeof PLAIN_KINDS)[number] }
>

/** Resolves a reference; a mistake in it is told under its name. */
export type ReadSecret = (ref: SecretRef, name: string) => Sensitive<string>

const SCHEMES = {
  anthropic: 'x-api-key',
  gemini: 'x-goog-api-key',
  cohere: 'bearer',
} as const

export function plainProvider(entry: PlainEntry, secret: ReadSecret): PlainProvider {
  const { id, kind } = entry
  const common = { id, kind, variant: 'generic', apiVersion: null } as const
  if (entry.kind === 'bedrock') {
    const baseUrl = entry.base_url ?? `https://bedrock-runtime.${entry.region}.amazonaws.com`
    return { ...common, baseUrl, credential: awsCredential(entry, secret) }
  }
  const key = secret(entry.api_key, 'api_key')
  const { base_url: baseUrl } = entry
  if (entry.kind === 'openai') {
    const { variant, api_version: apiVersion, auth: scheme } = entry
    return { ...common, baseUrl, credential: { scheme, key }, variant, apiVersion }
  }
  return { ...common, baseUrl, credential: { scheme: SCHEMES[entry.kind], key } }
}

function awsCredential(
  { region, api_key: bearer, access_key: signing }: Extract<PlainEntry, { kind: 'bedrock' }>,
  secret: ReadSecret,
): Credential {
  if (bearer !== undefined) return { scheme: 'bearer', key: secret(bearer, 'api_key') }
  if (signing === undefined) throw new TypeError('the schema asks for one of the two')
  const { id, secret: secretAccessKey, session_token: token } = signing
  return {
    scheme: 'aws',
    region,
    accessKeyId: secret(id, 'access_key.id'),
    secretAccessKey: secret(secretAccessKey, 'access_key.secret'),
    sessionToken: token === undefined ? null : secret(token, 'access_key.session_token'),
  }
}
