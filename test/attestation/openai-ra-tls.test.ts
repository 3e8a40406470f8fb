import {
  appraiseEvidence,
  encodeCollateral,
  encodeProviderEvidence,
  parseProviderPolicy,
  RA_TLS_CERTIFICATE,
  TDX_COLLATERAL,
  type Bytes,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { refusal } from '../support/verdict.ts'
import { TEST_TIME } from '../support/clock.ts'
import { MEASURED } from '../support/chutes-instance.ts'
import { registersOf, runtimeEntry, type DstackEntry } from '../support/eventlog.ts'
import { newSigningKey } from '../support/pki.ts'
import { newRaTlsIdentity, type RaTlsFields, type RaTlsForm } from '../support/ra-tls.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const COMPOSE = new Uint8Array(32).fill(7)
const APP = new Uint8Array(20).fill(8)
const IMAGE = new Uint8Array(32).fill(9)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const FORMS: RaTlsForm[] = [
  'dstack-legacy',
  'dstack-scale',
  'dstack-cbor',
  'dstack-msgpack',
  'interoperable',
]
const DSTACK = FORMS.slice(0, 4)

const log: readonly DstackEntry[] = [
  runtimeEntry('system-preparing', new Uint8Array(0)),
  runtimeEntry('app-id', APP),
  runtimeEntry('compose-hash', COMPOSE),
  runtimeEntry('os-image-hash', IMAGE),
  runtimeEntry('system-ready', new Uint8Array(0)),
]
const { mrtd, rtmr0, rtmr1, rtmr2 } = MEASURED
/** Firmware and kernel as expected; RTMR3 is what the log replays to. */
const PLATFORM = { mrtd, rtmr0, rtmr1, rtmr2 }
const ROW = {
  ...PLATFORM,
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}

const policyOf = (changes: object = {}, workload: unknown = [ROW]) =>
  parseProviderPolicy({
    tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload },
    gpu: 'unchecked',
    freshness: 'key',
    ...changes,
  })

interface Shown extends RaTlsFields {
  readonly policy?: ReturnType<typeof policyOf>
  readonly observed?: string | null
  readonly now?: number
  readonly documents?: (documents: Map<string, Bytes>) => void
}

async function appraise(shown: Shown = {}) {
  const { policy = policyOf(), now = TEST_TIME, documents: edit, observed, ...fields } = shown
  const { rtmr3 } = registersOf(fields.log ?? log)
  const identity = await newRaTlsIdentity(vendor, {
    log,
    ...fields,
    quote: { ...PLATFORM, rtmr3, ...fields.quote },
  })
  const documents = new Map<string, Bytes>([
    [RA_TLS_CERTIFICATE, identity.der],
    [TDX_COLLATERAL, encodeCollateral(vendor.collateral({ at: TEST_TIME }))],
  ])
  edit?.(documents)
  const endpoints = await appraiseEvidence({
    evidence: encodeProviderEvidence({
      kind: 'openai-ra-tls',
      collectedAt: now,
      origin: 'https://td.test',
      model: null,
      nonce: null,
      observedSpkiSha256: observed === undefined ? identity.spkiSha256 : observed,
      documents,
    }),
    challenge: 'ab'.repeat(32),
    now,
    policy,
  })
  return { identity, endpoints }
}

const codeOf = (shown: Shown): Promise<string> => refusal(appraise(shown))

describe.each(FORMS)('a TD with its quote in its certificate (%s)', (form) => {
  test('is bound by the TLS key, and claims no more than that the key is held', async () => {
    const { identity, endpoints } = await appraise({ form })
    const [endpoint] = endpoints
    expect(endpoints).toHaveLength(1)
    expect(endpoint.bindings).toEqual([
      { kind: 'tls-spki-sha256', digest: Uint8Array.from(Buffer.from(identity.spkiSha256, 'hex')) },
    ])
    expect(endpoint.claims.tee_attested).toMatchObject({ source: 'hardware_proven' })
    expect(endpoint.claims.gpu_attested.status).toBe('unknown')
    expect(endpoint.claims.extra).toMatchObject({
      freshness: 'key_possession',
      evidence_scope: 'instance',
      evidence_form: form === 'interoperable' ? form : 'dstack',
      gpu_count: null,
    })
  })

  test('is refused where a challenge has to be answered', async () => {
    const policy = policyOf({ freshness: 'challenge' })
    expect(await codeOf({ form, policy })).toBe('freshness_not_proven')
  })

  test('whose quote names another key is refused', async () => {
    expect(await codeOf({ form, boundKey: newSigningKey() })).toBe('ra_tls_key_not_bound')
  })

  test('whose certificate was copied is refused: the connection ended elsewhere', async () => {
    expect(await codeOf({ form, observed: 'cd'.repeat(32) })).toBe('provider_channel_not_attested')
  })

  test('of another workload is refused', async () => {
    const quote = { rtmr2: '99'.repeat(48) }
    expect(await codeOf({ form, quote })).toBe('workload_not_expected')
  })

  test('in a debug TD is refused', async () => {
    expect(await codeOf({ form, quote: { tdAttributes: '0100001000000000' } })).toBe(
      'debug_enabled',
    )
  })

  test('with a quote that another key signed is refused', async () => {
    const quote = { quoteSigner: newSigningKey() }
    expect(await codeOf({ form, quote })).toBe('quote_signature_invalid')
  })
})

describe('a certificate', () => {
  test('is judged by its own time', async () => {
    const dated = async (notBefore: number, notAfter: number) => {
      const identity = await newRaTlsIdentity(vendor, {
        log,
        quote: { ...PLATFORM, rtmr3: registersOf(log).rtmr3 },
        validity: { notBefore, notAfter },
      })
      return identity
    }
    const [late, early, good] = [
      await dated(TEST_TIME - 10, TEST_TIME),
      await dated(TEST_TIME + 1, TEST_TIME + 10),
      await dated(TEST_TIME, TEST_TIME + 1),
    ]
    for (const identity of [late, early]) {
      const documents = (all: Map<string, Bytes>) => void all.set(RA_TLS_CERTIFICATE, identity.der)
      const { spkiSha256: observed } = identity
      expect(await codeOf({ documents, observed })).toBe('ra_tls_certificate_expired')
    }
    const { endpoints } = await appraise({
      documents: (all) => void all.set(RA_TLS_CERTIFICATE, good.der),
      observed: good.spkiSha256,
    })
    expect(endpoints[0].expiresAt).toBe(TEST_TIME + 1)
  })

  test('without evidence is refused', async () => {
    expect(await codeOf({ certificate: { extensions: [] } })).toBe('ra_tls_absent')
  })

  test('that is none is refused', async () => {
    const documents = (all: Map<string, Bytes>) =>
      void all.set(RA_TLS_CERTIFICATE, Uint8Array.of(1, 2, 3))
    expect(await codeOf({ documents })).toBe('certificate_malformed')
  })

  test.each([RA_TLS_CERTIFICATE, TDX_COLLATERAL])('the document %s must be there', async (name) => {
    const documents = (all: Map<string, Bytes>) => void all.delete(name)
    expect(await codeOf({ documents })).toBe('evidence_document_absent')
  })

  test('shows no GPUs, which a policy that looks at them misses', async () => {
    const tdx = { trusted_root: { test_pki_pem: vendor.rootPem }, workload: [ROW] }
    const policy = parseProviderPolicy({ tdx, freshness: 'key' })
    expect(await codeOf({ policy })).toBe('gpu_evidence_count')
  })

  test('of a TD is not accepted where TDX is not', async () => {
    const policy = { ...policyOf(), tdx: 'reject' } as const
    expect(await codeOf({ policy })).toBe('tee_not_accepted')
  })
})

describe('the launch', () => {
  test.each(DSTACK)('is what the log shows, on an expected platform (%s)', async (form) => {
    const { endpoints } = await appraise({ form })
    expect(endpoints[0].claims.extra).toMatchObject({
      app_id: hex(APP),
      compose_hash: hex(COMPOSE),
    })
    expect(endpoints[0].identity).toMatchObject({ app_id: hex(APP) })
  })

  test.each([
    ['compose_hash', [hex(COMPOSE)], 'compose_not_expected'],
    ['app_id', [hex(APP)], 'app_not_expected'],
    ['os_image_hash', [hex(IMAGE)], 'os_image_not_expected'],
  ] as const)('may be pinned by %s', async (rule, values, code) => {
    expect(await codeOf({ policy: policyOf({ launch: { [rule]: values } }) })).toBe('none')
    const other = [values[0].replaceAll('0', 'f')]
    expect(await codeOf({ policy: policyOf({ launch: { [rule]: other } }) })).toBe(code)
    // Without a log nothing is known, and what is expected must be known.
    const policy = policyOf({ launch: { [rule]: values } })
    expect(await codeOf({ form: 'interoperable', policy })).toBe(code)
  })

  test('is not believed on a platform that nobody expects', async () => {
    const { endpoints } = await appraise({ policy: policyOf({}, 'any') })
    expect(endpoints[0].claims.extra).toMatchObject({ app_id: null })
    const launch = { compose_hash: [hex(COMPOSE)] }
    expect(await codeOf({ policy: policyOf({ launch }, 'any') })).toBe('compose_not_expected')
  })

  test.each(DSTACK)('whose log does not replay to RTMR3 is refused (%s)', async (form) => {
    const quote = { rtmr3: '99'.repeat(48) }
    expect(await codeOf({ form, quote })).toBe('eventlog_rtmr_mismatch')
    const [first, ...rest] = log
    expect(first?.event).toBe('system-preparing')
    expect(await codeOf({ form, log: rest, quote: { rtmr3: registersOf(log).rtmr3 } })).toBe(
      'eventlog_rtmr_mismatch',
    )
  })

  test('of a known development image is refused', async () => {
    const image = '0e09f2bcb510c682b461d16b97192c710886db582852991e05146291063f890b'
    const dev = log.map((entry) =>
      entry.event === 'os-image-hash'
        ? runtimeEntry('os-image-hash', Uint8Array.from(Buffer.from(image, 'hex')))
        : entry,
    )
    expect(await codeOf({ log: dev })).toBe('os_image_development')
    const policy = policyOf({ launch: { development_images: 'allow' } })
    expect(await codeOf({ log: dev, policy })).toBe('none')
  })

  test('events of other registers are left out: nothing vouches for them', async () => {
    const boot = { ...runtimeEntry('app-id', COMPOSE.slice(0, 20)), imr: 0 }
    const { endpoints } = await appraise({
      form: 'dstack-scale',
      log: [boot, ...log],
      quote: { rtmr3: registersOf(log).rtmr3 },
    })
    expect(endpoints[0].claims.extra).toMatchObject({ app_id: hex(APP) })
  })
})
