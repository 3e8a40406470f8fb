import {
  parseGpuEvidence,
  parseNrasJwks,
  parseNrasPolicy,
  toHex,
  verifyGpuEvidence,
  verifyNrasResponse,
} from '@vouchgate/attestation'
import { z } from 'zod'
import { importNrasKey } from '../attestation/nvidia/nras/jwks.ts'
import { pinOf } from '../attestation/nvidia/nras/pin.ts'
import { TEST_TIME } from '../test/support/clock.ts'
import { evidenceList, newGpu, newNvidiaVendor } from '../test/support/nvidia-gpu.ts'
import {
  newNrasAuthority,
  nrasJwks,
  nrasResponse,
  signNrasPayload,
} from '../test/support/nvidia-nras.ts'
import { json, text, type Target } from './fuzz-target.ts'

const responseSchema = z.tuple([
  z.tuple([z.literal('JWT'), z.string()]),
  z.record(z.string(), z.string()),
])
const payloadOf = (token: string): Uint8Array =>
  Uint8Array.from(Buffer.from(token.split('.')[1] ?? '', 'base64url'))

/** Responses and key sets of NRAS, and claims that it signs: behind the signature nothing else is tried. */
export async function nrasTargets(): Promise<Target[]> {
  const vendor = newNvidiaVendor()
  const nonce = new Uint8Array(32).fill(0xa7)
  const evidence = await verifyGpuEvidence({
    evidence: parseGpuEvidence(evidenceList([newGpu(vendor)], nonce)),
    nonce,
    now: TEST_TIME,
    roots: vendor.pki.roots,
  })
  const authority = newNrasAuthority()
  const [key, other] = [authority.newKey(TEST_TIME), authority.newKey(TEST_TIME)]
  const jwks = nrasJwks(key.jwk, other.jwk)
  const policy = parseNrasPolicy({ jwks_authorities: [authority.spkiSha256], warnings: 'allow' })
  const { devices } = evidence
  const asked = { key, at: TEST_TIME, kind: 'gpu', nonce: toHex(nonce), devices } as const
  const questions = (['2.0', '3.0'] as const).map((claims) => ({ ...asked, claims }))
  const responses = questions.map((question) => nrasResponse(question))
  const judge = (response: Uint8Array) =>
    verifyNrasResponse({ response, jwks, evidence, kind: 'gpu', now: TEST_TIME, policy })
  const [newest = new Uint8Array(0)] = responses.toReversed()
  const [[, overall], tokens] = responseSchema.parse(JSON.parse(text(newest)))
  const [question = { ...asked, claims: '3.0' as const }] = questions.toReversed()
  return [
    { name: 'verifyNrasResponse', seeds: responses, run: judge },
    {
      name: 'NRAS overall claims',
      seeds: [payloadOf(overall)],
      run: (input) => judge(json([['JWT', signNrasPayload(key, input)], tokens])),
    },
    {
      name: 'NRAS device claims',
      seeds: [payloadOf(tokens['GPU-0'] ?? '')],
      run: (input) =>
        judge(nrasResponse(question, { tokens: () => ({ 'GPU-0': signNrasPayload(key, input) }) })),
    },
    {
      name: 'parseNrasJwks',
      seeds: [jwks],
      run: async (input) => {
        for (const each of parseNrasJwks(input).values()) {
          await importNrasKey(each)
          await pinOf(each, TEST_TIME, policy.jwks_authorities)
        }
      },
    },
  ]
}
