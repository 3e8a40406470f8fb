import {
  decodeUtf8,
  fromBase64,
  isVerificationError,
  NVIDIA_DOCUMENTS,
  numbered,
  parseJson,
  parseRimAnswer,
  toHex,
  type Bytes,
} from '@vouchgate/attestation'
import type { Capture, Exchange } from './capture.ts'
import { memberOf } from './documents.ts'

type Documents = [name: string, document: Bytes][]

/**
 * What NVIDIA's services answered then, by the names that an appraisal looks for. Of NRAS only what it says of this
 * very nonce: an answer about another question says nothing of these devices.
 */
export async function replayedGpuDocuments(capture: Capture, nonce: Bytes): Promise<Documents> {
  const { exchanges } = capture
  const rims = await Promise.all(exchanges.filter(isRim).map(rimOf))
  const ocsp = exchanges.filter(isOcsp).map(({ body }) => body)
  return [
    ...numbered(NVIDIA_DOCUMENTS.rim, rims),
    ...numbered(NVIDIA_DOCUMENTS.ocsp, ocsp),
    ...(['gpu', 'switch'] as const).flatMap((kind) => nrasOf(capture, kind, toHex(nonce))),
  ]
}

const isRim = ({ url, status }: Exchange): boolean =>
  status === 200 && /^\/v1\/rim\/[^/]+$/.test(url.pathname)
const isOcsp = ({ headers, status }: Exchange): boolean =>
  status === 200 && headers['content-type'] === 'application/ocsp-response'

/** As the service answers, or the document itself. */
async function rimOf({ url, body }: Exchange): Promise<Bytes> {
  const isXml = body[0] === '<'.charCodeAt(0)
  return isXml ? body : parseRimAnswer(body, url.pathname.slice('/v1/rim/'.length))
}

function nrasOf({ exchanges }: Capture, kind: 'gpu' | 'switch', nonce: string): Documents {
  const answers = exchanges.filter(
    ({ url, status, body }) =>
      status === 200 && url.pathname.endsWith(`/attest/${kind}`) && nonceOf(body) === nonce,
  )
  const keys = exchanges.find(({ url }) => url.pathname.endsWith('/.well-known/jwks.json'))
  if (answers.length === 0 || keys === undefined) return []
  return [
    ...numbered(
      NVIDIA_DOCUMENTS.nras[kind],
      answers.map(({ body }) => body),
    ),
    [NVIDIA_DOCUMENTS.nrasKeys[kind], keys.body],
  ]
}

/** The nonce of the overall token, unverified; null where it cannot be read. */
function nonceOf(body: Bytes): unknown {
  try {
    const answer: unknown = parseJson(decodeUtf8(body))
    const token: unknown = Array.isArray(answer) ? memberAt(answer[0], 1) : null
    const [, payload = ''] = typeof token === 'string' ? token.split('.') : []
    const padded = payload.replaceAll('-', '+').replaceAll('_', '/')
    const bytes = fromBase64(padded + '='.repeat((4 - (padded.length % 4)) % 4))
    return memberOf(parseJson(decodeUtf8(bytes)), 'eat_nonce')
  } catch (error) {
    if (isVerificationError(error)) return null
    throw error
  }
}

const memberAt = (value: unknown, index: number): unknown =>
  Array.isArray(value) ? value[index] : undefined
