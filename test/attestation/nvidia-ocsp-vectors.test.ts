import {
  checkRevocation,
  EvidenceError,
  fromBase64,
  NVIDIA_ROOTS,
  parseTime,
  subjectsForRevocation,
  verifyOcspResponse,
  type Issued,
  type NvidiaChain,
} from '@vouchgate/attestation'
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { parseNvidiaCertificate } from '../../attestation/nvidia/certificate.ts'
import { verifyNvidiaChain } from '../../attestation/nvidia/chain.ts'
import { parseOcspResponse } from '../../attestation/nvidia/ocsp/response.ts'
import { pemBlocks } from '../../attestation/x509.ts'
import { hasVectors, vectorJson, vectorPath, vectorText } from '../support/vectors.ts'

const SET = ['nvidia', '01-h100-550.90.07-complete-with-ocsp'] as const
const expectations = z.object({
  clocks: z.object({ deviceOcsp: z.string(), rimOcsp: z.string() }),
})

/** The certificates of a reference manifest, which stand in it leaf first and without the root. */
async function rimChain(file: string): Promise<NvidiaChain> {
  const bodies = vectorText(...SET, file).matchAll(/X509Certificate>([^<]+)</g)
  const ders = [...bodies].map(([, body = '']) => fromBase64(body.replaceAll(/\s/g, '')))
  const certificates = await Promise.all(ders.map(parseNvidiaCertificate))
  return verifyNvidiaChain(certificates, NVIDIA_ROOTS.rim, 'rim')
}

async function deviceChain(): Promise<NvidiaChain> {
  const ders = pemBlocks(vectorText(...SET, 'chain.pem'))
  const certificates = await Promise.all(ders.map(parseNvidiaCertificate))
  return verifyNvidiaChain(certificates, NVIDIA_ROOTS.device, 'gpu_chain')
}

/** The one certificate of all chains that a response is about; for all others it must be a mismatch. */
async function subjectOf(der: Uint8Array, now: number): Promise<Issued> {
  const chains = [
    subjectsForRevocation(await deviceChain(), 'device'),
    subjectsForRevocation(await rimChain('NV_GPU_DRIVER_GH100_550.90.07.xml'), 'rim'),
    subjectsForRevocation(await rimChain('NV_GPU_VBIOS_1010_0200_882_96009F0001.xml'), 'rim'),
  ]
  const pairs = new Map(chains.flat().map((pair) => [pair.subject.sha256, pair]))
  const about: Issued[] = []
  for (const pair of pairs.values()) {
    const verdict = await verifyOcspResponse(der, { ...pair, now, nonce: 'stapled' }).then(
      ({ state }) => state,
      (error: unknown) => (error instanceof EvidenceError ? error.code : 'other'),
    )
    if (verdict === 'good') about.push(pair)
    else if (verdict !== 'ocsp_certificate_mismatch') throw new TypeError(verdict)
  }
  const [found, ...others] = about
  if (found === undefined || others.length > 0) throw new TypeError('not about one certificate')
  return found
}

const responseFiles = hasVectors ? readdirSync(vectorPath(...SET, 'ocsp')) : []
const response = (file: string) => fromBase64(vectorText(...SET, 'ocsp', file).trim())

const code = (name: string) => expect.objectContaining({ code: name, step: 'gpu_revocation' })

describe.skipIf(!hasVectors)('the OCSP responses of a real H100', () => {
  const responses = responseFiles.map(response)
  const clocks = () => expectations.parse(vectorJson(...SET, 'expected.json')).clocks

  test('are seven', () => {
    expect(responseFiles).toHaveLength(7)
  })

  test.each([
    ['device', 'deviceOcsp', deviceChain],
    ['rim', 'rimOcsp', () => rimChain('NV_GPU_DRIVER_GH100_550.90.07.xml')],
    ['rim', 'rimOcsp', () => rimChain('NV_GPU_VBIOS_1010_0200_882_96009F0001.xml')],
  ] as const)('hold for a %s chain at the clock %s', async (kind, clock, chainOf) => {
    const now = parseTime(clocks()[clock])
    const chain = await chainOf()
    const result = await checkRevocation({ chain, kind, responses, now })
    const subjects = subjectsForRevocation(chain, kind).map(({ subject }) => subject)
    expect(result.certificates).toHaveLength(3)
    expect(result.certificates).toMatchObject(
      subjects.map(({ commonName, sha256 }) => ({
        commonName,
        certificateSha256: sha256,
        state: 'good',
      })),
    )
    for (const { producedAt, nextUpdate } of result.certificates) {
      expect(nextUpdate - producedAt).toBe(86_400)
      expect(result.nextUpdate).toBeLessThanOrEqual(nextUpdate)
    }
  })

  test.each(responseFiles)('%s is about one certificate, for its day', async (file) => {
    const der = response(file)
    const { thisUpdate, nextUpdate } = await parseOcspResponse(der)
    const until = nextUpdate ?? 0
    const about = await subjectOf(der, until)
    const judge = (now: number, nonce: Uint8Array<ArrayBuffer> | 'stapled' = 'stapled') =>
      verifyOcspResponse(der, { ...about, now, nonce })
    await judge(thisUpdate - 300)
    await expect(judge(thisUpdate - 301)).rejects.toEqual(code('ocsp_not_valid_now'))
    await expect(judge(until + 1)).rejects.toEqual(code('ocsp_not_valid_now'))
    await expect(judge(until, new Uint8Array(32))).rejects.toEqual(code('ocsp_nonce_mismatch'))
  })

  test('no byte of one can change', async () => {
    const chain = await deviceChain()
    const now = parseTime(clocks().deviceOcsp)
    const [pair] = subjectsForRevocation(chain, 'device')
    if (pair === undefined) throw new TypeError('a chain has subjects')
    const der = response('gpu_certificate_l4.resp.b64')
    await verifyOcspResponse(der, { ...pair, now, nonce: 'stapled' })
    for (let at = 0; at < der.length; at++) {
      const changed = Uint8Array.from(der)
      changed[at] = (der[at] ?? 0) ^ 0x01
      const verdict = verifyOcspResponse(changed, { ...pair, now, nonce: 'stapled' })
      await expect(verdict, String(at)).rejects.toMatchObject({ name: 'EvidenceError' })
    }
  })
})
