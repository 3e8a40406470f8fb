import {
  bootSubject,
  buildSession,
  checkSessionClaims,
  encodeAciEvidence,
  encodeUtf8,
  isVerifiedEndpoint,
  parsePolicy,
  parseSession,
  sessionId,
  verifyEndpoint,
  verifySession,
  workloadRow,
  type AciEvidence,
  type AttestationReport,
  type BootDocument,
  type Keyset,
  type Policy,
  type VerifiedAciService,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { aciService, type EvidenceBehaviour } from '../support/aci-service.ts'
import { fakeClock } from '../support/clock.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const clock = fakeClock(vendor.now)
const NONCE = '7e'.repeat(32)
const SPKI = 'c0'.repeat(32)
const DAY = 86_400
const BOOT: BootDocument = {
  software: 'vouchgate/test',
  config_digest: `sha256:${'5a'.repeat(32)}`,
  self_check: { fs_write_denied: 'held' },
}
const ANY: Policy = parsePolicy({
  workload: 'any',
  trusted_root: { test_pki_pem: vendor.rootPem },
})

interface Given {
  readonly service?: (behaviour: EvidenceBehaviour) => void
  readonly evidence?: Partial<AciEvidence>
  readonly challenge?: string
  readonly policy?: Policy
  readonly now?: number | 'recorded'
  readonly lifetimeSeconds?: number
}

async function collect(given: Given): Promise<Uint8Array> {
  const service = await aciService({
    vendor,
    clock,
    fields: {},
    boot: BOOT,
    lifetimeSeconds: given.lifetimeSeconds ?? DAY,
    spkiSha256: SPKI,
  })
  given.service?.(service.evidence)
  return encodeAciEvidence({
    collected_at: clock.now(),
    origin: 'https://gw.example:8443',
    nonce: NONCE,
    observed_spki_sha256: SPKI,
    report: encodeUtf8(JSON.stringify(await service.report(NONCE))),
    collateral: vendor.collateral(),
    ...given.evidence,
  })
}

async function verify(given: Given): Promise<VerifiedAciService> {
  return verifyEndpoint({
    evidence: await collect(given),
    challenge: given.challenge ?? NONCE,
    now: given.now ?? clock.now(),
    policy: given.policy ?? ANY,
  })
}

type Attestation = AttestationReport['attestation']

const editReport = (edit: (report: AttestationReport) => unknown): Given => ({
  service: (behaviour) => {
    behaviour.report = edit
  },
})
const editAttestation = (edit: (attestation: Attestation) => Partial<Attestation>): Given =>
  editReport((report) => ({
    ...report,
    attestation: { ...report.attestation, ...edit(report.attestation) },
  }))
const editKeyset = (edit: (keyset: Keyset) => Keyset): Given => ({
  service: (behaviour) => {
    behaviour.keyset = edit
  },
})

test('a genuine workload behind the observed key becomes a verified endpoint', async () => {
  const endpoint = await verify({})
  expect(isVerifiedEndpoint(endpoint)).toBe(true)
  expect(endpoint).toMatchObject({
    origin: 'https://gw.example:8443',
    verifiedAt: clock.now(),
    expiresAt: clock.now() + DAY,
    workload: 'any',
    boot: BOOT,
  })
  expect(endpoint.keyset.subject).toBe(await bootSubject(BOOT))
  expect(Buffer.from(endpoint.binding.digest).toString('hex')).toBe(SPKI)
})

test('kept evidence is appraised again to the same verdict, at its own time', async () => {
  const evidence = await collect({})
  const live = await verifyEndpoint({ evidence, challenge: NONCE, now: clock.now(), policy: ANY })
  const later = await verifyEndpoint({
    evidence,
    challenge: 'recorded',
    now: 'recorded',
    policy: ANY,
  })
  expect(later.keysetDigest).toBe(live.keysetDigest)
  expect(later.quote.measurements).toEqual(live.quote.measurements)
  expect(later.expiresAt).toBe(live.expiresAt)
})

test('a look-alike is not a verified endpoint', async () => {
  const real = await verify({})
  for (const forged of [{ ...real }, Object.create(real), JSON.parse(JSON.stringify(real)), null]) {
    expect(isVerifiedEndpoint(forged)).toBe(false)
  }
})

describe('an endpoint is refused for', () => {
  const REFUSALS: Record<string, [code: string, given: Given]> = {
    'evidence that answers another challenge': ['nonce_mismatch', { challenge: '11'.repeat(32) }],
    'evidence without a challenge': ['nonce_mismatch', { evidence: { nonce: null } }],
    'a quote over another nonce': [
      'report_data_mismatch',
      {
        service: (behaviour) => {
          behaviour.nonce = () => '11'.repeat(32)
        },
      },
    ],
    'report data with a tail': [
      'report_data_mismatch',
      {
        service: (behaviour) => {
          behaviour.reportData = (bytes) => bytes.map((byte, at) => (at === 63 ? 1 : byte))
        },
      },
    ],
    'a report data member beside the quote that differs': [
      'report_data_mismatch',
      editAttestation(() => ({ report_data: '00'.repeat(32) })),
    ],
    'a copy of the report data slot that differs': [
      'report_data_mismatch',
      editAttestation(({ evidence }) => ({
        evidence: { ...evidence, quote_report_data: '00'.repeat(64) },
      })),
    ],
    'a keyset swapped beside the quote': [
      'keyset_digest_mismatch',
      editAttestation(({ workload_keyset }) => ({
        workload_keyset: {
          ...workload_keyset,
          tls_public_keys: [{ spki_sha256: 'dd'.repeat(32) }],
        },
      })),
    ],
    'a keyset digest that is another': [
      'keyset_digest_mismatch',
      editReport((report) => ({ ...report, workload_keyset_digest: `sha256:${'00'.repeat(32)}` })),
    ],
    'an expired keyset': [
      'keyset_expired',
      editKeyset((keyset) => ({ ...keyset, not_after: clock.now() })),
    ],
    'a keyset that lives too long': [
      'keyset_lifetime_implausible',
      { lifetimeSeconds: 7 * DAY + 1 },
    ],
    'a boot document that the keyset does not name': [
      'boot_document_mismatch',
      editAttestation(({ evidence }) => ({
        evidence: { ...evidence, boot: { ...BOOT, software: 'other' } },
      })),
    ],
    'another key on the connection': [
      'channel_not_attested',
      { evidence: { observed_spki_sha256: 'dd'.repeat(32) } },
    ],
    'a key that is listed for another domain': [
      'channel_not_attested',
      editKeyset((keyset) => ({
        ...keyset,
        tls_public_keys: [{ spki_sha256: SPKI, domain: 'other.example' }],
      })),
    ],
    'a quote that is not genuine': [
      'quote_signature_invalid',
      editAttestation(({ evidence }) => ({
        evidence: { ...evidence, quote: evidence.quote.replace(/^(.{400})./, '$1f') },
      })),
    ],
    'a root the policy does not name': [
      'certificate_root_untrusted',
      { policy: parsePolicy({ workload: 'any' }) },
    ],
    'a debug TD': [
      'debug_enabled',
      {
        service: (behaviour) => {
          behaviour.quote = { tdAttributes: '0100001000000000' }
        },
      },
    ],
    'another workload': [
      'workload_not_expected',
      {
        policy: parsePolicy({
          trusted_root: { test_pki_pem: vendor.rootPem },
          workload: [
            {
              mrtd: 'ff'.repeat(48),
              rtmr0: 'any',
              rtmr1: 'any',
              rtmr2: 'any',
              rtmr3: 'any',
              mr_config_id: 'any',
              mr_owner: 'any',
              mr_owner_config: 'any',
              config_digest: 'any',
            },
          ],
        }),
      },
    ],
    'a report of another protocol': [
      'report_malformed',
      editReport((report) => ({ ...report, api_version: 'aci/2' })),
    ],
    'a keyset with an unknown member': [
      'report_malformed',
      editAttestation(({ workload_keyset }) => ({
        workload_keyset: Object.assign(workload_keyset, { extra: 1 }),
      })),
    ],
    'a report that is no JSON': ['json_malformed', { evidence: { report: encodeUtf8('hello') } }],
    'a report that is no UTF-8': [
      'encoding_malformed',
      { evidence: { report: Uint8Array.of(0xff) } },
    ],
    'an origin without TLS': ['evidence_malformed', { evidence: { origin: 'http://gw.example' } }],
    'collateral that has gone stale since': ['crl_not_valid_now', { now: clock.now() + 30 * DAY }],
  }

  test.for(Object.entries(REFUSALS))('%s', async ([, [code, given]]) => {
    const stale = given.now !== undefined && given.lifetimeSeconds === undefined
    const lasting = stale ? editKeyset((k) => ({ ...k, not_after: Number(given.now) + DAY })) : {}
    await expect(verify({ ...lasting, ...given })).rejects.toMatchObject({ code })
  })
})

const made = async () => {
  const evidence = await collect({})
  const endpoint = await verifyEndpoint({
    evidence,
    challenge: NONCE,
    now: clock.now(),
    policy: ANY,
  })
  const session = await buildSession({
    endpoint,
    upstreamName: 'upstream-1',
    evidence,
    establishedAt: clock.now(),
    expiresAt: clock.now() + 300,
  })
  return { ...session, endpoint, evidence }
}

describe('a session', () => {
  test('has the id of its content and carries the evidence', async () => {
    const { id, document, evidence, endpoint } = await made()
    const verified = await verifySession(parseSession(JSON.parse(JSON.stringify(document))))
    expect(verified.id).toBe(id)
    expect(Buffer.from(verified.evidence).equals(evidence)).toBe(true)
    expect(() => checkSessionClaims(document, [endpoint])).not.toThrow()
    expect(document.claims).toMatchObject({
      tee_attested: { status: 'asserted', source: 'hardware_proven' },
      tcb_up_to_date: { status: 'asserted' },
      gpu_attested: { status: 'unknown' },
      os_known_good: { status: 'unknown' },
    })
  })

  test('without informational claims keeps its id', async () => {
    const { document } = await made()
    const { extra: _extra, ...claims } = document.claims
    const bare = parseSession({ ...document, claims })
    expect(await sessionId(bare)).not.toBe(await sessionId(document))
    expect(bare.claims).not.toHaveProperty('extra')
  })

  test('with other evidence is refused', async () => {
    const { document } = await made()
    const data = 'data:application/json;base64,e30='
    const forged = { ...document, evidence: { ...document.evidence, data } }
    await expect(verifySession(forged)).rejects.toMatchObject({ code: 'session_evidence_mismatch' })
  })

  test('whose evidence is no data URI is refused', async () => {
    const { document } = await made()
    const forged = { ...document, evidence: { ...document.evidence, data: 'https://x.example' } }
    await expect(verifySession(forged)).rejects.toMatchObject({ code: 'session_malformed' })
  })

  test('that claims more than its evidence shows is refused', async () => {
    const { document, endpoint } = await made()
    const gpu = { status: 'asserted' as const, source: 'hardware_proven' as const }
    const proven = { status: 'asserted' as const, source: 'hardware_proven' as const }
    const forgeries = [
      { ...document, claims: { ...document.claims, os_known_good: proven } },
      { ...document, claims: { ...document.claims, extra: { tcb_status: 'UpToDate' } } },
      { ...document, claims: { ...document.claims, gpu_attested: gpu } },
      { ...document, endpoint: 'https://other.example' },
      { ...document, expires_at: endpoint.expiresAt + 1 },
      { ...document, established_at: endpoint.verifiedAt - 1 },
      { ...document, channel_binding: [{ type: 'tls_spki_sha256', spki_sha256: 'dd'.repeat(32) }] },
    ]
    for (const forged of forgeries) {
      expect(() => checkSessionClaims(forged, [endpoint])).toThrow(
        expect.objectContaining({ code: 'session_claim_mismatch' }),
      )
    }
  })

  test('made under another policy is judged by what both saw', async () => {
    const { document, endpoint, evidence } = await made()
    const row = workloadRow(endpoint.quote, BOOT.config_digest)
    const pinned = parsePolicy({ workload: [row], trusted_root: ANY.trusted_root })
    const auditor = await verifyEndpoint({
      evidence,
      challenge: 'recorded',
      now: 'recorded',
      policy: pinned,
    })
    expect(auditor.workload).toBe('pinned')
    expect(() => checkSessionClaims(document, [auditor])).not.toThrow()
  })

  test('cannot be built for an endpoint nobody verified', async () => {
    const { endpoint, evidence } = await made()
    const forged = Object.create(endpoint)
    await expect(
      buildSession({
        endpoint: forged,
        upstreamName: 'a',
        evidence,
        establishedAt: 0,
        expiresAt: 1,
      }),
    ).rejects.toThrow('not a VerifiedEndpoint')
  })

  test.for([null, [], 'text', {}, { api_version: 'aci/2' }])('%j is malformed', (value) => {
    expect(() => parseSession(value)).toThrow(
      expect.objectContaining({ code: 'session_malformed' }),
    )
  })
})
