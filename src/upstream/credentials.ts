import { signAwsRequest } from '../dialects/bedrock/sigv4.ts'
import type { Prompt } from '../prompt.ts'
import { expose, type Sensitive } from '../sensitive.ts'

/** How a provider knows us. */
export type Credential =
  | {
      /** The header it goes into; `bearer` is the `authorization` of OAuth. */
      readonly scheme: 'bearer' | 'api-key' | 'x-api-key' | 'x-goog-api-key'
      readonly key: Sensitive<string>
    }
  | {
      readonly scheme: 'aws'
      readonly region: string
      readonly accessKeyId: Sensitive<string>
      readonly secretAccessKey: Sensitive<string>
      readonly sessionToken: Sensitive<string> | null
    }

export interface AuthorizedRequest {
  readonly origin: string
  readonly path: string
  readonly body: Prompt
  /** Unix seconds. */
  readonly now: number
}

/** The headers that carry a credential. A signature covers the address and the body. */
export function authorize(
  credential: Credential,
  { origin, path, body, now }: AuthorizedRequest,
): Record<string, string> {
  if (credential.scheme === 'bearer') return bearer(credential.key)
  if (credential.scheme !== 'aws') return { [credential.scheme]: expose(credential.key) }
  const { region, accessKeyId, secretAccessKey, sessionToken } = credential
  return signAwsRequest({
    method: 'POST',
    url: new URL(path, origin),
    headers: { 'content-type': 'application/json' },
    body: expose(body),
    region,
    service: 'bedrock',
    credentials: {
      accessKeyId: expose(accessKeyId),
      secretAccessKey: expose(secretAccessKey),
      sessionToken: sessionToken === null ? null : expose(sessionToken),
    },
    now,
  })
}

export const bearer = (key: Sensitive<string>): Record<string, string> => ({
  authorization: `Bearer ${expose(key)}`,
})
