import { parseGpuEvidence, toHex, verifyGpuEvidence } from '@vouchgate/attestation'
import { z } from 'zod'
import { TEST_TIME } from '../test/support/clock.ts'
import { evidenceList, newGpu, newNvidiaVendor } from '../test/support/nvidia-gpu.ts'
import {
  newNrasAuthority,
  nrasJwks,
  nrasResponse,
  type NrasChanges,
  type NrasQuestion,
} from '../test/support/nvidia-nras.ts'
import { hasVectors, vectorBytes, vectorJson, vectorText } from '../test/support/vectors.ts'
import type { Case } from './evidence-cases.ts'

/** Verdicts of NVIDIA's attestation service: JSON Web Signatures, and RSA that no other evidence needs. */

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

const RECORDED = {
  '12-nras-v3-h200-1gpu-pass': 1,
  '14-nras-v3-near-8gpu-pass-shared-nonce': 8,
} as const

/** Cases from outside of the project; none where they are not there. */
export function vectorNrasWork(): Case[] {
  if (!hasVectors) return []
  return Object.entries(RECORDED).map(([set, count]) => {
    const evidence = vectorText('nvidia', set, 'request.json')
    const clock = z.object({ clock: z.string() }).parse(vectorJson('nvidia', set, 'expected.json'))
    const names = Array.from({ length: count }, (_, index) => `GPU-${index}`)
    return {
      name: set,
      want: new RegExp(`^VERIFIED 2\\.0 pinned ${names.join()}$`),
      work: {
        kind: 'nras',
        evidence,
        nonce: z.object({ nonce: z.string() }).parse(JSON.parse(evidence)).nonce,
        response: base64(vectorBytes('nvidia', set, 'response.json')),
        jwks: base64(vectorBytes('nvidia', set, 'jwks.json')),
        now: Date.parse(clock.clock) / 1000,
        rootPems: null,
        policy: { jwks_pin: 'enforce' },
      },
    }
  })
}

/** Cases made here and now, under roots and keys of their own. */
export async function generatedNrasWork(): Promise<Case[]> {
  const vendor = newNvidiaVendor()
  const { deviceRoot, rimRoot, roots } = vendor.pki
  const nonce = new Uint8Array(32).fill(0xa7)
  const evidence = evidenceList([newGpu(vendor), newGpu(vendor)], nonce)
  const { devices } = await verifyGpuEvidence({
    evidence: parseGpuEvidence(evidence),
    nonce,
    now: TEST_TIME,
    roots,
  })
  const authority = newNrasAuthority()
  const key = authority.newKey(TEST_TIME)
  const question: NrasQuestion = {
    key,
    at: TEST_TIME,
    kind: 'gpu',
    claims: '3.0',
    nonce: toHex(nonce),
    devices,
  }
  const of = (name: string, want: RegExp, changes: NrasChanges, now = TEST_TIME): Case => ({
    name: `generated: ${name}`,
    want,
    work: {
      kind: 'nras',
      evidence,
      nonce: toHex(nonce),
      response: base64(nrasResponse(question, changes)),
      jwks: base64(nrasJwks(key.jwk)),
      now,
      rootPems: [deviceRoot.pem, rimRoot.pem],
      policy: { jwks_pin: 'enforce', jwks_authorities: [authority.spkiSha256] },
    },
  })
  const overall = { 'x-nvidia-overall-att-result': false }
  const stranger = { ...key, key: authority.newKey(TEST_TIME).key }
  return [
    of('a verdict of NRAS', /^VERIFIED 3\.0 pinned GPU-0,GPU-1$/, {}),
    of('a verdict that the attestation failed', /^REJECT nras_attestation_failed$/, { overall }),
    of('a device token by another key', /^REJECT nras_signature_invalid$/, { deviceKey: stranger }),
    of('a verdict of an hour ago', /^REJECT nras_token_too_old$/, {}, TEST_TIME + 3600),
  ]
}
