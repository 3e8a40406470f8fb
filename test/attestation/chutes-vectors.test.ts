import {
  appraiseEvidence,
  CHUTES_DOCUMENTS,
  decodeProviderEvidence,
  encodeProviderEvidence,
  encodeUtf8,
  parseProviderPolicy,
  type Bytes,
  type ProviderEvidence,
} from '@vouchgate/attestation'
import { existsSync } from 'node:fs'
import { expect, test, describe } from 'vitest'
import { refusal } from '../support/verdict.ts'
import { readCapture } from '../../client/index.ts'
import { collectFromCapture } from '../../cli/capture-provider.ts'
import { hasVectors, vectorJson, vectorPath } from '../support/vectors.ts'

const MAY = 'teep-chutes_zai-org_glm-5-tee_20260520_021819'
const JUNE = 'teep-chutes_zai-org_glm-5-tee_20260629_020725'
const ROUTER = 'teep-phalacloud_phala_deepseek-v3.2_20260610_014917'
/** Chutes shows no switches, although its nodes have some. */
const GPU = {
  measurements: 'unchecked',
  revocation: 'unchecked',
  firmware_id: 'if-reported',
  switch_evidence: 'optional',
}

interface Golden {
  readonly mrtd: string
  readonly rtmr0: string
  readonly rtmr1: string
  readonly rtmr2: string
  readonly rtmr3: string
}

const isGolden = (value: unknown): value is Golden =>
  typeof value === 'object' && value !== null && 'mrtd' in value && 'rtmr3' in value

const golden = (): object[] => {
  const rows = vectorJson('providers', 'chutes-golden-measurements', 'measurements.json')
  if (!Array.isArray(rows)) throw new Error('no rows')
  return rows.filter(isGolden).map(({ mrtd, rtmr0, rtmr1, rtmr2, rtmr3 }) => ({
    mrtd,
    rtmr0,
    rtmr1,
    rtmr2,
    rtmr3,
    mr_config_id: 'any',
    mr_owner: 'any',
    mr_owner_config: 'any',
    config_digest: 'any',
  }))
}

const policy = () => parseProviderPolicy({ tdx: { workload: golden() }, gpu: GPU })

async function captured(...folder: string[]) {
  const capture = await readCapture(vectorPath(...folder))
  const evidence = await collectFromCapture('chutes', capture)
  return { capture, evidence, decoded: decodeProviderEvidence(evidence) }
}

const idsOf = async (evidence: Bytes, challenge: string): Promise<unknown[]> => {
  const endpoints = await appraiseEvidence({
    evidence,
    challenge,
    now: 'recorded',
    policy: policy(),
  })
  return endpoints.map(({ identity }) => String(identity['instance_id']).slice(0, 8))
}

const codeOf = (evidence: Bytes, challenge: string): Promise<string> =>
  refusal(idsOf(evidence, challenge))

const parse = (bytes: Bytes | undefined): { evidence: { instance_id: string }[] } =>
  JSON.parse(Buffer.from(bytes ?? []).toString())

/** The reason of every instance that shows evidence, each on its own. */
async function reasons({ documents, ...rest }: ProviderEvidence, challenge: string) {
  const { evidence } = parse(documents.get(CHUTES_DOCUMENTS.evidence))
  const found: Record<string, string> = {}
  for (const entry of evidence) {
    const only = encodeUtf8(JSON.stringify({ evidence: [entry] }))
    const bundle = {
      ...rest,
      documents: new Map([...documents, [CHUTES_DOCUMENTS.evidence, only]]),
    }
    found[entry.instance_id.slice(0, 8)] = await codeOf(encodeProviderEvidence(bundle), challenge)
  }
  return found
}

describe.skipIf(!hasVectors)('recorded rounds of Chutes', () => {
  test('of May: three of four nodes measure nothing at run time', async () => {
    const { capture, evidence, decoded } = await captured('providers', MAY)
    expect(await idsOf(evidence, capture.nonce ?? '')).toEqual(['9034c7a4'])
    expect(await reasons(decoded, capture.nonce ?? '')).toEqual({
      '9034c7a4': 'none',
      '07e308a1': 'provider_runtime_not_measured',
      '1da9c33a': 'provider_runtime_not_measured',
      '209295db': 'provider_runtime_not_measured',
    })
  })

  test('of the end of June: the node whose collateral was recorded passes', async () => {
    const { capture, evidence, decoded } = await captured('providers', JUNE)
    expect(await idsOf(evidence, capture.nonce ?? '')).toEqual(['3ff90a0d'])
    expect(await reasons(decoded, capture.nonce ?? '')).toEqual({
      '3ff90a0d': 'none',
      // Another platform, whose collateral nobody recorded.
      e5dc50c8: 'evidence_document_absent',
    })
  })

  test('answer their own challenge and no other', async () => {
    const { decoded } = await captured('providers', JUNE)
    const other = 'cd'.repeat(32)
    expect(await codeOf(encodeProviderEvidence(decoded), other)).toBe('nonce_mismatch')
    const claimed = { ...decoded, nonce: other }
    expect((await reasons(claimed, other))['3ff90a0d']).toBe('provider_keys_not_bound')
  })

  test('expect a row as a whole', async () => {
    const { capture, decoded } = await captured('providers', JUNE)
    const rows = golden().map((row) => ({ ...row, rtmr3: '11'.repeat(48) }))
    const judged = appraiseEvidence({
      evidence: encodeProviderEvidence(decoded),
      challenge: capture.nonce ?? '',
      now: 'recorded',
      policy: parseProviderPolicy({ tdx: { workload: rows }, gpu: GPU }),
    })
    await expect(judged).rejects.toMatchObject({ code: 'workload_not_expected' })
  })

  test('with any byte of a quote changed are refused', async () => {
    const { capture, decoded } = await captured('providers', JUNE)
    const { evidence } = parse(decoded.documents.get(CHUTES_DOCUMENTS.evidence))
    const [entry] = evidence
    const text: unknown = entry === undefined ? '' : Reflect.get(entry, 'quote')
    const quote = Buffer.from(String(text), 'base64')
    for (const at of [8, 60, 184, 200, 520, 568, 600, 640, 720]) {
      const changed = Buffer.from(quote)
      changed[at] = (changed[at] ?? 0) ^ 1
      const only = { evidence: [{ ...entry, quote: changed.toString('base64') }] }
      const documents = new Map([
        ...decoded.documents,
        [CHUTES_DOCUMENTS.evidence, encodeUtf8(JSON.stringify(only))] as const,
      ])
      const bundle = encodeProviderEvidence({ ...decoded, documents })
      expect(await codeOf(bundle, capture.nonce ?? ''), `byte ${at}`).not.toBe('none')
    }
  })

  test('over a router that chose the nonce answer no challenge of ours', async () => {
    const capture = await readCapture(vectorPath('providers', ROUTER))
    const report: {
      nonce: string
      all_attestations: {
        instance_id: string
        e2e_pubkey: string
        intel_quote: string
        gpu_evidence: object[]
      }[]
    } = JSON.parse(Buffer.from(capture.exchanges[0]?.body ?? []).toString())
    const { decoded } = await captured('providers', JUNE)
    // The shape of Chutes' own routes, with what the router relays in it.
    const instances = report.all_attestations.map((each) => ({ ...each, nonces: [] }))
    const evidence = report.all_attestations.map((each) => ({
      ...each,
      quote: each.intel_quote,
      certificate: 'AAAA',
    }))
    const documents = new Map([
      [CHUTES_DOCUMENTS.chuteId, encodeUtf8('router')] as const,
      [
        CHUTES_DOCUMENTS.instances,
        encodeUtf8(JSON.stringify({ instances, nonce_expires_in: 60 })),
      ] as const,
      [CHUTES_DOCUMENTS.evidence, encodeUtf8(JSON.stringify({ evidence }))] as const,
      ...evidence.map(
        ({ instance_id }) =>
          [
            `tdx/collateral/${instance_id}`,
            decoded.documents.get('tdx/collateral/3ff90a0d-1f52-4800-b313-dbf3d7c26839') ??
              encodeUtf8('{}'),
          ] as const,
      ),
    ])
    const asked = { ...decoded, collectedAt: capture.capturedAt, nonce: capture.nonce, documents }
    expect(Object.values(await reasons(asked, capture.nonce ?? ''))).not.toContain('none')
    // Under the router's own nonce all else of it holds, which is why the nonce must be ours.
    expect(report.nonce).not.toBe(capture.nonce)
  })

  test('without a recorded verdict: who has a key, its own platform and GPUs passes', async (context) => {
    const folder = ['blind', 'providers', 'p5']
    context.skip(!existsSync(vectorPath(...folder)))
    const { capture, evidence, decoded } = await captured(...folder)
    expect(await idsOf(evidence, capture.nonce ?? '')).toHaveLength(4)
    const all = Object.values(await reasons(decoded, capture.nonce ?? ''))
    expect(all.toSorted()).toEqual([
      'evidence_document_absent',
      ...Array.from({ length: 4 }, () => 'none'),
      'provider_instances_absent',
      'provider_instances_absent',
    ])
  })
})
