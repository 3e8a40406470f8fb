import { z } from 'zod'
import { decodeUtf8, fromBase64, sha256, toHex, type Bytes } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { parseJson } from '../../json.ts'

const answerSchema = z.object({
  id: z.string(),
  rim: z.string(),
  sha256: z.string().regex(/^[0-9a-fA-F]{64}$/),
})

/**
 * The document in an answer of NVIDIA's RIM service (`GET /v1/rim/<id>`). Id and digest show a mix-up early; what
 * proves the document is its signature.
 *
 * @param id What was asked for.
 * @throws EvidenceError `rim_answer_malformed`, `rim_answer_id_mismatch`, `rim_answer_digest_mismatch`
 */
export async function parseRimAnswer(body: Uint8Array, id: string): Promise<Bytes> {
  const answer = readAnswer(body)
  if (answer.id !== id) throw new EvidenceError('rim_answer_id_mismatch')
  if (toHex(await sha256(answer.rim)) !== answer.sha256.toLowerCase()) {
    throw new EvidenceError('rim_answer_digest_mismatch')
  }
  return answer.rim
}

function readAnswer(body: Uint8Array): { id: string; rim: Bytes; sha256: string } {
  try {
    const answer = answerSchema.parse(parseJson(decodeUtf8(body)))
    return { ...answer, rim: fromBase64(answer.rim) }
  } catch {
    throw new EvidenceError('rim_answer_malformed')
  }
}
