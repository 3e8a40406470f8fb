import {
  appraiseEvidence,
  chutesCollateral,
  CHUTES_DOCUMENTS,
  encodeCollateral,
  encodeProviderEvidence,
  encodeUtf8,
  parseProviderPolicy,
  toHex,
  type Bytes,
} from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { refusal } from '../support/verdict.ts'
import { ChutesInstance, MEASURED } from '../support/chutes-instance.ts'
import { TEST_TIME } from '../support/clock.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { newSigningKey } from '../support/pki.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const nvidia = newNvidiaVendor()
const NONCE = 'ab'.repeat(32)
const ANY = {
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}
const ROW = { ...MEASURED, ...ANY }

const policyOf = (changes: object = {}, workload: unknown = [ROW]) =>
  parseProviderPolicy({
    tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload },
    gpu: {
      trusted_root: {
        test_pki: {
          device_pem: nvidia.pki.deviceRoot.pem,
          rim_pem: nvidia.pki.rimRoot.pem,
        },
      },
      measurements: 'unchecked',
      revocation: 'unchecked',
    },
    ...changes,
  })

const newInstance = (quote: ChutesInstance['behaviour']['quote'] = MEASURED): ChutesInstance =>
  new ChutesInstance(vendor, nvidia, quote)

interface Round {
  instances?: readonly ChutesInstance[]
  /** The answers, edited after they were made. */
  list?: (answer: { instances: object[] }) => unknown
  evidence?: (answer: { evidence: unknown[] }) => unknown
  documents?: (documents: Map<string, Bytes>) => void
  policy?: ReturnType<typeof policyOf>
  challenge?: string
}

async function appraise(round: Round = {}) {
  const { instances = [newInstance()], list = same, evidence = same } = round
  const shown = await Promise.all(instances.map((instance) => instance.evidence(NONCE)))
  const listed = instances.map(({ id, behaviour, publicKeyText }) => ({
    instance_id: id,
    e2e_pubkey: behaviour.servedKey(publicKeyText),
    nonces: [],
  }))
  const documents = new Map<string, Bytes>([
    [CHUTES_DOCUMENTS.chuteId, encodeUtf8('chute-1')],
    [CHUTES_DOCUMENTS.instances, json(list({ instances: listed, ...EXPIRY }))],
    [CHUTES_DOCUMENTS.evidence, json(evidence({ evidence: shown }))],
    ...instances.map(
      ({ id }) =>
        [chutesCollateral(id), encodeCollateral(vendor.collateral({ at: TEST_TIME }))] as const,
    ),
  ])
  round.documents?.(documents)
  return appraiseEvidence({
    evidence: encodeProviderEvidence({
      kind: 'chutes',
      collectedAt: TEST_TIME,
      origin: 'https://api.chutes.test',
      model: 'org/model-TEE',
      nonce: NONCE,
      observedSpkiSha256: null,
      documents,
    }),
    challenge: round.challenge ?? NONCE,
    now: TEST_TIME,
    policy: round.policy ?? policyOf(),
  })
}

const EXPIRY = { nonce_expires_in: 60 }
const same = <T>(value: T): T => value
const json = (value: unknown): Bytes => encodeUtf8(JSON.stringify(value))

const codeOf = (round: Round): Promise<string> => refusal(appraise(round))

/** One instance with one thing changed. */
const broken = (change: (behaviour: ChutesInstance['behaviour']) => void): Promise<string> => {
  const instance = newInstance()
  change(instance.behaviour)
  return codeOf({ instances: [instance] })
}

const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, (bytes[at] ?? 0) ^ 1)

describe('the instances of a chute', () => {
  test('are one channel each, bound to the key of that instance', async () => {
    const instances = [newInstance(), newInstance()]
    const endpoints = await appraise({ instances })
    expect(endpoints).toHaveLength(2)
    for (const [at, endpoint] of endpoints.entries()) {
      const [binding] = endpoint.bindings
      const publicKey = instances[at]?.publicKey ?? new Uint8Array(0)
      expect(binding).toEqual({
        kind: 'e2ee-public-key',
        protocol: 'chutes-ml-kem-768',
        keyId: instances[at]?.id,
        publicKey,
        digest: Uint8Array.from(createHash('sha256').update(publicKey).digest()),
      })
      expect(endpoint.identity).toEqual({ chute_id: 'chute-1', instance_id: instances[at]?.id })
      expect(endpoint.origin).toBe('https://api.chutes.test')
    }
  })

  test('claim what is proven of each, and neither an image nor a model', async () => {
    const [endpoint] = await appraise()
    const { claims } = endpoint
    expect(claims.tee_attested).toMatchObject({ status: 'asserted', source: 'hardware_proven' })
    expect(claims.gpu_attested.status).toBe('asserted')
    expect(claims.os_known_good).toMatchObject({ source: 'operator_asserted' })
    expect(claims.serving_software_known_good.status).toBe('unknown')
    expect(claims.model_weights_provenance.status).toBe('unknown')
    expect(claims.extra).toMatchObject({
      evidence_scope: 'instance',
      freshness: 'client_nonce',
      gpu_binding: 'nonce-from-report-data',
      gpu_count: 2,
      workload: 'pinned',
    })
  })

  test('that fail are left out, and the others serve', async () => {
    const [good, bad] = [newInstance(), newInstance()]
    bad.behaviour.reportData = (value) => flip(value, 0)
    const endpoints = await appraise({ instances: [bad, good] })
    expect(endpoints.map(({ identity }) => identity['instance_id'])).toEqual([good.id])
  })

  test('that all fail give the first reason', async () => {
    const [first, second] = [newInstance({ ...MEASURED, rtmr1: '99'.repeat(48) }), newInstance()]
    second.behaviour.reportData = (value) => flip(value, 0)
    expect(await codeOf({ instances: [first, second] })).toBe('workload_not_expected')
  })

  test('must all pass where the policy says so', async () => {
    const [good, bad] = [newInstance(), newInstance()]
    bad.behaviour.reportData = (value) => flip(value, 63)
    const policy = policyOf({ instances: 'all' })
    expect(await codeOf({ instances: [good, bad], policy })).toBe('provider_certificate_not_bound')
    expect(await codeOf({ instances: [good], policy })).toBe('none')
  })
})

describe('an instance', () => {
  test('with another bit anywhere in its report data is refused', async () => {
    for (const at of [0, 31]) {
      const code = await broken((behaviour) => {
        behaviour.reportData = (value) => flip(value, at)
      })
      expect(code).toBe('provider_keys_not_bound')
    }
    for (const at of [32, 63]) {
      const code = await broken((behaviour) => {
        behaviour.reportData = (value) => flip(value, at)
      })
      expect(code).toBe('provider_certificate_not_bound')
    }
  })

  test('that answered another challenge is refused', async () => {
    const code = await broken((behaviour) => {
      behaviour.nonce = () => 'cd'.repeat(32)
    })
    expect(code).toBe('provider_keys_not_bound')
  })

  test('evidence for another caller is refused before anything is looked at', async () => {
    expect(await codeOf({ challenge: 'cd'.repeat(32) })).toBe('nonce_mismatch')
  })

  test('whose list shows another key than it attested is refused', async () => {
    const other = newInstance()
    const code = await broken((behaviour) => {
      behaviour.servedKey = () => other.publicKeyText
    })
    expect(code).toBe('provider_keys_not_bound')
  })

  test('under whose name the evidence of another one is shown is refused', async () => {
    const [victim, other] = [newInstance(), newInstance()]
    const code = await codeOf({
      instances: [victim],
      evidence: ({ evidence }) => ({ evidence }),
      documents: () => undefined,
      list: ({ instances }) => ({
        ...EXPIRY,
        instances: instances.map((each) => ({ ...each, e2e_pubkey: other.publicKeyText })),
      }),
    })
    expect(code).toBe('provider_keys_not_bound')
  })

  test('with the certificate of another service is refused', async () => {
    const [one, other] = [newInstance(), newInstance()]
    const { certificate } = await evidenceOf(other)
    one.behaviour.entry = (entry) => ({ ...entry, certificate })
    expect(await codeOf({ instances: [one] })).toBe('provider_certificate_not_bound')
  })

  test('with a certificate that cannot be read is refused', async () => {
    const code = await broken((behaviour) => {
      behaviour.entry = (entry) => ({ ...entry, certificate: 'AAAA' })
    })
    expect(code).toBe('certificate_malformed')
  })

  test('that measures nothing at run time is refused, even where a row expects that', async () => {
    const unmeasured = { ...MEASURED, rtmr3: '00'.repeat(48) }
    for (const workload of ['any', [{ ...unmeasured, ...ANY }], [ROW]]) {
      const code = await codeOf({
        instances: [newInstance(unmeasured)],
        policy: policyOf({}, workload),
      })
      expect(code).toBe('provider_runtime_not_measured')
    }
  })

  test.each(['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const)(
    'with another %s than a row names is refused',
    async (register) => {
      const instance = newInstance({ ...MEASURED, [register]: '99'.repeat(48) })
      expect(await codeOf({ instances: [instance] })).toBe('workload_not_expected')
    },
  )

  test('whose registers are of two different rows is refused', async () => {
    const other = { ...ROW, rtmr0: '66'.repeat(48), rtmr3: '77'.repeat(48) }
    const mixed = newInstance({ ...MEASURED, rtmr0: other.rtmr0 })
    const policy = policyOf({}, [ROW, other])
    expect(await codeOf({ instances: [mixed], policy })).toBe('workload_not_expected')
  })

  test('in a debug TD is refused', async () => {
    const instance = newInstance({ ...MEASURED, tdAttributes: '0100001000000000' })
    expect(await codeOf({ instances: [instance] })).toBe('debug_enabled')
  })

  test('with a quote that another key signed is refused', async () => {
    const instance = newInstance({ ...MEASURED, quoteSigner: newSigningKey() })
    expect(await codeOf({ instances: [instance] })).toBe('quote_signature_invalid')
  })

  test('without the collateral of its own platform is refused', async () => {
    const code = await codeOf({
      documents: (documents) => {
        for (const name of documents.keys()) if (name.startsWith('tdx/')) documents.delete(name)
      },
    })
    expect(code).toBe('evidence_document_absent')
  })

  test('whose GPUs answered the caller’s nonce, and not the derived one, is refused', async () => {
    const code = await broken((behaviour) => {
      behaviour.gpuNonce = () => Uint8Array.from(Buffer.from(NONCE, 'hex'))
    })
    expect(code).toBe('nonce_mismatch')
  })

  test('with the GPUs of another instance is refused', async () => {
    const [one, other] = [newInstance(), newInstance()]
    const { gpu_evidence } = await evidenceOf(other)
    one.behaviour.entry = (entry) => ({ ...entry, gpu_evidence })
    expect(await codeOf({ instances: [one] })).toBe('nonce_mismatch')
  })

  test('without GPUs is refused, except where the policy does not look', async () => {
    const instance = newInstance()
    instance.behaviour.entry = (entry) => ({ ...entry, gpu_evidence: [] })
    expect(await codeOf({ instances: [instance] })).toBe('gpu_evidence_count')
    const [endpoint] = await appraise({
      instances: [instance],
      policy: policyOf({ gpu: 'unchecked' }),
    })
    expect(endpoint.claims.gpu_attested.status).toBe('unknown')
  })

  test('must have as many GPUs as the policy says', async () => {
    const gpu = { ...fieldsOf(policyOf().gpu), gpu_count: 8 }
    expect(await codeOf({ policy: policyOf({ gpu }) })).toMatch(/^gpu_/)
  })

  test('is bound as strongly as a policy can ask', async () => {
    expect(await codeOf({ policy: policyOf({ gpu_binding: 'strong' }) })).toBe('none')
  })

  test('shows no launch, so that none can be expected of it', async () => {
    const launch = { compose_hash: ['ab'.repeat(32)] }
    expect(await codeOf({ policy: policyOf({ launch }) })).toBe('compose_not_expected')
  })

  test('is not accepted where TDX is not', async () => {
    const policy = { ...policyOf(), tdx: 'reject' } as const
    expect(await codeOf({ policy })).toBe('tee_not_accepted')
  })
})

describe('what Chutes answers', () => {
  test.each<[string, Round['list'] | undefined, Round['evidence'] | undefined, string]>([
    ['a list that is none', () => ({ instances: 7 }), same, 'evidence_malformed'],
    ['a list without an expiry', ({ instances }) => ({ instances }), same, 'evidence_malformed'],
    ['evidence that is no list', same, () => ({ evidence: 7 }), 'evidence_malformed'],
    ['no evidence', same, () => ({ evidence: null }), 'provider_instances_absent'],
    ['no instance', () => ({ instances: [], ...EXPIRY }), same, 'provider_instances_absent'],
    ['an entry that is no object', same, () => ({ evidence: [7] }), 'provider_report_malformed'],
    [
      'an entry without a quote',
      same,
      ({ evidence }) => ({
        evidence: evidence.map((entry) => ({ ...fieldsOf(entry), quote: null })),
      }),
      'provider_report_malformed',
    ],
    [
      'a quote that is no base64',
      same,
      ({ evidence }) => ({
        evidence: evidence.map((entry) => ({ ...fieldsOf(entry), quote: '%' })),
      }),
      'encoding_malformed',
    ],
    [
      'a quote that is none',
      same,
      ({ evidence }) => ({
        evidence: evidence.map((entry) => ({ ...fieldsOf(entry), quote: 'AAAA' })),
      }),
      'quote_version_unsupported',
    ],
    [
      'two entries for one instance',
      same,
      ({ evidence }) => ({ evidence: [...evidence, ...evidence] }),
      'provider_report_malformed',
    ],
    [
      'an instance that is listed twice',
      ({ instances, ...rest }) => ({ ...rest, instances: [...instances, ...instances] }),
      same,
      'provider_instances_absent',
    ],
  ])('%s is refused', async (_, list = same, evidence = same, code) => {
    expect(await codeOf({ list, evidence })).toBe(code)
  })

  test.each([
    ['no key', null],
    ['a key that is too short', Buffer.alloc(1183).toString('base64')],
    ['a key that is no base64', '%'.repeat(1580)],
    ['a key that lacks a character', 'A'.repeat(1579)],
    ['a key of a byte more', 'A'.repeat(1580)],
    ['a key with another length under the same number of characters', `${'A'.repeat(1578)}==`],
  ])('an instance with %s is left out', async (_, key) => {
    const [without, good] = [newInstance(), newInstance()]
    without.behaviour.servedKey = () => key
    const endpoints = await appraise({ instances: [without, good] })
    expect(endpoints).toHaveLength(1)
    expect(await codeOf({ instances: [without] })).toBe('provider_instances_absent')
  })

  test('an instance with a key and no evidence is left out: it may be no TEE', async () => {
    const [silent, good] = [newInstance(), newInstance()]
    const endpoints = await appraise({
      instances: [silent, good],
      evidence: ({ evidence }) => ({ evidence: evidence.slice(1) }),
    })
    expect(endpoints.map(({ identity }) => identity['instance_id'])).toEqual([good.id])
  })

  test.each(Object.values(CHUTES_DOCUMENTS))('the document %s must be there', async (name) => {
    const documents = (all: Map<string, Bytes>) => void all.delete(name)
    expect(await codeOf({ documents })).toBe('evidence_document_absent')
  })
})

test('the expiry is that of what the evidence rests on', async () => {
  const [endpoint] = await appraise()
  expect(endpoint.verifiedAt).toBe(TEST_TIME)
  expect(endpoint.expiresAt).toBeGreaterThan(TEST_TIME)
  expect(endpoint.claims.extra).toMatchObject({ mrtd: MEASURED.mrtd, rtmr3: MEASURED.rtmr3 })
  expect(toHex(endpoint.bindings[0].digest)).toMatch(/^[0-9a-f]{64}$/)
})

async function evidenceOf(instance: ChutesInstance) {
  const keep = instance.behaviour.entry
  let found: Parameters<typeof keep>[0] | null = null
  instance.behaviour.entry = (entry) => {
    found = entry
    return entry
  }
  await instance.evidence(NONCE)
  instance.behaviour.entry = keep
  if (found === null) throw new Error('no evidence')
  const entry: Parameters<typeof keep>[0] = found
  return entry
}

const fieldsOf = (value: unknown): object =>
  typeof value === 'object' && value !== null ? value : {}
