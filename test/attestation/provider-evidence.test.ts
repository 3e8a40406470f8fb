import {
  appraiseEvidence,
  decodeProviderEvidence,
  encodeProviderEvidence,
  encodeUtf8,
  fromHex,
  numbered,
  observingPolicy,
  parseProviderPolicy,
  recordedPolicyOf,
  tdxOnlyPolicy,
  toHex,
  type ProviderEvidence,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { checkObserved } from '../../attestation/providers/channel.ts'
import { acceptSnp, acceptTdx } from '../../attestation/providers/cpu.ts'
import { documentOf, documentsOf } from '../../attestation/providers/evidence.ts'
import { challengeOf } from '../../attestation/providers/freshness.ts'
import { parsePolicy } from '../../attestation/policy.ts'
import { TEST_TIME } from '../support/clock.ts'

const EVIDENCE: ProviderEvidence = {
  kind: 'near-direct',
  collectedAt: TEST_TIME,
  origin: 'https://node.example',
  model: 'org/model',
  nonce: 'ab'.repeat(32),
  observedSpkiSha256: 'cd'.repeat(32),
  documents: new Map([
    ['report', encodeUtf8('{}')],
    ...numbered('nvidia/rim', [fromHex('01'), fromHex('02')]),
  ]),
}
const code = (name: string) => expect.objectContaining({ code: name })
const written = (change: (members: Record<string, unknown>) => object): Uint8Array => {
  const members = JSON.parse(new TextDecoder().decode(encodeProviderEvidence(EVIDENCE)))
  return encodeUtf8(JSON.stringify(change(members)))
}

describe('evidence of a provider', () => {
  test('comes back byte for byte', () => {
    expect(decodeProviderEvidence(encodeProviderEvidence(EVIDENCE))).toEqual(EVIDENCE)
    const bare = { ...EVIDENCE, model: null, nonce: null, observedSpkiSha256: null }
    expect(decodeProviderEvidence(encodeProviderEvidence(bare))).toEqual(bare)
  })

  test('has documents by name, alone and numbered', () => {
    expect(documentOf(EVIDENCE, 'report')).toEqual(encodeUtf8('{}'))
    expect(documentsOf(EVIDENCE, 'nvidia/rim').map(toHex)).toEqual(['01', '02'])
    expect(documentsOf(EVIDENCE, 'nvidia')).toHaveLength(2)
    expect(documentsOf(EVIDENCE, 'nvidia/r')).toEqual([])
    expect(() => documentOf(EVIDENCE, 'other')).toThrow(code('evidence_document_absent'))
  })

  test.each([
    ['another format', { format: 'vouchgate.provider-evidence/2' }],
    ['no such kind', { kind: 'somebody' }],
    ['a kind with a format of its own', { kind: 'aci' }],
    ['http', { origin: 'http://node.example' }],
    ['a path', { origin: 'https://node.example/v1' }],
    ['a short nonce', { nonce: 'ab' }],
    ['a key that is no digest', { observed_spki_sha256: 'cd' }],
    ['a negative time', { collected_at: -1 }],
    ['a member too many', { more: 1 }],
    ['documents that are none', { documents: { report: 1 } }],
    ['a name with a step upwards', { documents: { '../x': '' } }],
    ['a name in capitals', { documents: { Report: '' } }],
    [
      'too many documents',
      { documents: Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`a/${at}`, ''])) },
    ],
  ])('with %s is malformed', (_, change) => {
    const bytes = written((members) => ({ ...members, ...change }))
    expect(() => decodeProviderEvidence(bytes)).toThrow(code('evidence_malformed'))
  })

  test('whose documents are not base64 cannot be read', () => {
    const bytes = written((members) => ({ ...members, documents: { report: '!' } }))
    expect(() => decodeProviderEvidence(bytes)).toThrow(code('encoding_malformed'))
  })

  test.each(['', '[]', 'null', '{"format":1}', '{"format":"x"}'])(
    '%j is no evidence',
    async (text) => {
      await expect(
        appraiseEvidence({
          evidence: encodeUtf8(text),
          challenge: 'recorded',
          now: 'recorded',
          policy: tdxOnlyPolicy(parsePolicy({ workload: 'any' })),
        }),
      ).rejects.toThrow(/json|evidence|JSON/i)
    },
  )
})

describe('a challenge', () => {
  const appraise = (evidence: ProviderEvidence, challenge: string, rules: object = {}) =>
    appraiseEvidence({
      evidence: encodeProviderEvidence(evidence),
      challenge,
      now: TEST_TIME,
      policy: parseProviderPolicy({ tdx: { workload: 'any' }, ...rules }),
    })

  test('of somebody else is a replay', async () => {
    await expect(appraise(EVIDENCE, '00'.repeat(32))).rejects.toThrow(code('nonce_mismatch'))
  })

  test('that nobody sent proves no freshness', async () => {
    const stale = { ...EVIDENCE, nonce: null }
    await expect(appraise(stale, 'recorded')).rejects.toThrow(code('freshness_not_proven'))
  })

  test('is not asked for where holding the key is enough; the kind still needs its own', async () => {
    const stale = { ...EVIDENCE, nonce: null }
    const asked = appraise(stale, 'recorded', { freshness: 'key' })
    await expect(asked).rejects.not.toThrow(code('freshness_not_proven'))
  })
})

test('a kind that answers challenges has one', () => {
  expect(challengeOf(EVIDENCE)).toBe(EVIDENCE.nonce)
  expect(() => challengeOf({ ...EVIDENCE, nonce: null })).toThrow(code('nonce_mismatch'))
})

test('a policy without TDX judges no ACI/1 service', async () => {
  const evidence = encodeUtf8('{"format":"vouchgate.aci-evidence/1"}')
  const policy = parseProviderPolicy({ snp: { min_tcb: 'any', measurement: 'any' } })
  const judged = appraiseEvidence({ evidence, challenge: 'recorded', now: 'recorded', policy })
  await expect(judged).rejects.toThrow(code('tee_not_accepted'))
})

test('the key of the connection is the attested one, where somebody looked', () => {
  const attested = fromHex('cd'.repeat(32))
  expect(() => checkObserved(attested, EVIDENCE)).not.toThrow()
  expect(() => checkObserved(attested, { observedSpkiSha256: null })).not.toThrow()
  expect(() => checkObserved(fromHex('ce'.repeat(32)), EVIDENCE)).toThrow(
    code('provider_channel_not_attested'),
  )
})

describe('a policy for providers', () => {
  const DEFAULTS = parseProviderPolicy({ tdx: { workload: 'any' } })

  test('takes its strictest values', () => {
    expect(DEFAULTS).toMatchObject({
      tdx: { tcb: { accept: ['UpToDate'] }, tee: { debug: 'reject' } },
      snp: 'reject',
      gpu: { judge: 'local', measurements: 'require', revocation: 'require' },
      gpu_binding: 'weak',
      launch: { development_images: 'reject', compose_hash: 'any' },
      release: 'any',
      freshness: 'challenge',
    })
  })

  test.each([
    ['nothing', {}],
    ['no TEE', { gpu: 'unchecked' }],
    ['TDX without workload', { tdx: {} }],
    ['SNP without measurement', { snp: { min_tcb: 'any' } }],
    ['a rule that is none', { tdx: { workload: 'any' }, gpus: 'unchecked' }],
    ['a GPU rule that is none', { tdx: { workload: 'any' }, gpu: { no: 1 } }],
    ['a hash that is none', { tdx: { workload: 'any' }, launch: { compose_hash: ['ab'] } }],
    ['an empty list', { tdx: { workload: 'any' }, launch: { app_id: [] } }],
    ['a list', []],
    ['null', null],
  ])('of %s is malformed', (_, value) => {
    expect(() => parseProviderPolicy(value)).toThrow(code('policy_malformed'))
  })

  test('says which TEEs are accepted', async () => {
    const input = { evidence: EVIDENCE, now: TEST_TIME, policy: DEFAULTS }
    await expect(acceptSnp(fromHex('00'), input)).rejects.toThrow(code('tee_not_accepted'))
    const snp = { min_tcb: 'any', measurement: 'any' }
    const policy = parseProviderPolicy({ snp })
    await expect(acceptTdx(fromHex('00'), { ...input, policy })).rejects.toThrow(
      code('tee_not_accepted'),
    )
  })

  test('for what was kept compares what was kept, and says what was not', () => {
    const judged = (...names: string[]) =>
      recordedPolicyOf(
        encodeProviderEvidence({
          ...EVIDENCE,
          documents: new Map(names.map((name) => [name, fromHex('00')])),
        }),
      ).gpu
    expect(judged('nvidia/rim/0', 'nvidia/nras-gpu/0')).toMatchObject({
      judge: 'local',
      measurements: 'require',
      revocation: 'require',
    })
    expect(judged('nvidia/nras-gpu/0')).toMatchObject({ judge: 'nras' })
    expect(judged()).toMatchObject({ measurements: 'unchecked', revocation: 'unchecked' })
  })

  test('for looking keeps the roots, and what makes a key one of this TEE', () => {
    const policy = parseProviderPolicy({
      tdx: { workload: 'any', trusted_root: { test_pki_pem: 'PEM' } },
      launch: { development_images: 'reject', compose_hash: ['ab'.repeat(32)] },
    })
    const looking = observingPolicy(policy)
    expect(looking.tdx).toMatchObject({ trusted_root: { test_pki_pem: 'PEM' } })
    expect(looking.launch).toMatchObject({ development_images: 'allow', compose_hash: 'any' })
    expect(looking.tdx).toMatchObject({ tcb: { tolerated_advisories: 'any' } })
  })
})
