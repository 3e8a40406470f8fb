import { X509Certificate } from 'node:crypto'
import {
  acceptQuote,
  assembleCollateral,
  collateralKey,
  encodeAciEvidence,
  encodeUtf8,
  EvidenceError,
  fromHex,
  ISSUER_CHAIN_HEADERS,
  parseCollateral,
  parsePolicy,
  parseQuote,
  parseReport,
  pcsRoutes,
  PolicyError,
  toHex,
  trustedRoot,
  verifyEndpoint,
  verifyQuote,
  type Collateral,
} from '@vouchgate/attestation'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fakeClock, TEST_TIME } from './support/clock.ts'
import { isvLevel, platformLevel, TDX_COMPONENTS } from './support/collateral.ts'
import { sequence } from './support/der.ts'
import { startModelServer } from './support/model-server.ts'
import { ECDSA_WITH_SHA256, intelName, KEY_USAGE, newSigningKey } from './support/pki.ts'
import { DEFAULT_PLATFORM, sgxEntry, sgxExtension } from './support/sgx-extension.ts'
import {
  createTeeVendor,
  type CertificateRole,
  type CollateralOverrides,
  type QuoteFields,
  type TeeVendor,
} from './support/tee-vendor.ts'

const reportData = new Uint8Array(64).fill(0xa5)
const vendor = createTeeVendor()
const critical = [{ oid: '1.2.3.4', critical: true, value: new Uint8Array([5, 0]) }]

const policyFor = (of: TeeVendor) =>
  parsePolicy({ trusted_root: { test_pki_pem: of.rootPem }, workload: 'any' })

async function judge(of: TeeVendor, quote: Uint8Array, collateral: Collateral) {
  const policy = policyFor(of)
  const root = await trustedRoot(policy)
  const genuine = await verifyQuote({ quote, collateral, now: of.now, trustedRoot: root })
  return acceptQuote(genuine, policy)
}

async function codeOf(verdict: Promise<unknown>): Promise<string> {
  try {
    await verdict
    return 'accepted'
  } catch (error) {
    if (error instanceof EvidenceError || error instanceof PolicyError) return error.code
    throw error
  }
}

const quoteCode = async (fields: Omit<QuoteFields, 'reportData'>): Promise<string> =>
  codeOf(judge(vendor, await vendor.quote({ reportData, ...fields }), vendor.collateral()))

const collateralCode = async (overrides: CollateralOverrides): Promise<string> =>
  codeOf(judge(vendor, await vendor.quote({ reportData }), vendor.collateral(overrides)))

describe('default evidence of the simulated vendor is accepted', () => {
  test.each<[string, Omit<QuoteFields, 'reportData'>]>([
    ['version 4', {}],
    ['version 5 with TD report 1.5', { version: 5 }],
    ['version 5 with TD report 1.0', { version: 5, bodyType: 2 }],
    ['zero padding after the quote', { padding: 307 }],
    ['QE authentication data of another length', { qe: { authData: '' } }],
  ])('%s', async (_name, fields) => {
    const accepted = await judge(
      vendor,
      await vendor.quote({ reportData, ...fields }),
      vendor.collateral(),
    )
    expect(accepted.tcb.status).toBe('UpToDate')
    expect(accepted.fmspc).toBe('b0c06f000000')
    expect(accepted.reportData).toEqual(reportData)
  })

  test('under the Processor CA', async () => {
    const other = createTeeVendor({ platform: { ca: 'processor' } })
    const quote = await other.quote({ reportData })
    expect(await codeOf(judge(other, quote, other.collateral()))).toBe('accepted')
  })

  test('every field of the TD lands where the parser finds it', async () => {
    const quote = await vendor.quote({
      reportData,
      version: 5,
      mrtd: '11'.repeat(48),
      mrConfigId: '22'.repeat(48),
      rtmr0: '30'.repeat(48),
      rtmr1: '31'.repeat(48),
      rtmr2: '32'.repeat(48),
      rtmr3: '33'.repeat(48),
      mrServiceTd: '44'.repeat(48),
    })
    const accepted = parseQuote(quote).body
    expect(accepted).toMatchObject({
      report: {
        mrtd: fromHex('11'.repeat(48)),
        mrConfigId: fromHex('22'.repeat(48)),
        rtmr0: fromHex('30'.repeat(48)),
        rtmr1: fromHex('31'.repeat(48)),
        rtmr2: fromHex('32'.repeat(48)),
        rtmr3: fromHex('33'.repeat(48)),
        mrServiceTd: fromHex('44'.repeat(48)),
      },
    })
  })
})

test('a quote of the simulated vendor is refused under the default root', async () => {
  const policy = parsePolicy({ workload: 'any' })
  const verdict = verifyQuote({
    quote: await vendor.quote({ reportData }),
    collateral: vendor.collateral(),
    now: vendor.now,
    trustedRoot: await trustedRoot(policy),
  })
  expect(await codeOf(verdict)).toBe('certificate_root_untrusted')
})

const flip = (at: number) => (bytes: Uint8Array) =>
  bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))

describe('one broken field of a quote is the one that is refused', () => {
  const stranger = newSigningKey()
  test.each<[string, Omit<QuoteFields, 'reportData'>]>([
    ['quote_version_unsupported', { version: 6 }],
    ['quote_key_type_unsupported', { attestationKeyType: 3 }],
    ['quote_tee_type_unsupported', { teeType: 0x82 }],
    ['qe_vendor_unknown', { qeVendorId: '00'.repeat(16) }],
    ['quote_body_unsupported', { version: 5, bodyType: 3, bodySize: 584 }],
    ['quote_malformed', { outerType: 5 }],
    ['certification_data_unsupported', { certificationType: 7 }],
    ['quote_trailing_bytes', { afterSigning: (quote) => Buffer.concat([quote, Buffer.of(1)]) }],
    ['quote_signature_invalid', { afterSigning: flip(48 + 136) }],
    ['quote_signature_invalid', { quoteSigner: stranger }],
    ['qe_key_binding_invalid', { qe: { reportData: '00'.repeat(64) } }],
    ['qe_report_signature_invalid', { qeSigner: stranger }],
    ['qe_report_mismatch', { qe: { mrSigner: '00'.repeat(32) } }],
    ['qe_report_mismatch', { qe: { attributes: '1700000000000000e700000000000000' } }],
    ['tcb_status_not_accepted', { qe: { isvSvn: 1 } }],
    ['tdx_module_mismatch', { mrSignerSeam: '01'.repeat(48) }],
    ['tdx_module_mismatch', { teeTcbSvn: '0a020300000000000000000000000000' }],
    ['debug_enabled', { tdAttributes: '0100001000000000' }],
    ['sept_ve_not_disabled', { tdAttributes: '0000000000000000' }],
    ['migratable', { tdAttributes: '0000003000000000' }],
    ['xfam_unknown', { xfam: 'e702060000000080' }],
    ['service_td_present', { version: 5, mrServiceTd: '01'.repeat(48) }],
    ['accepted', { beforeSigning: flip(48 + 136) }],
  ])('%s', async (code, fields) => {
    expect(await quoteCode(fields)).toBe(code)
  })
})

describe('one broken certificate is the one that is refused', () => {
  const past = { notAfter: TEST_TIME - 1 }
  const future = { notBefore: TEST_TIME + 1 }
  type Overrides = NonNullable<Parameters<TeeVendor['issue']>[1]>
  test.each<[string, CertificateRole, Overrides]>([
    ['certificate_not_valid_now', 'leaf', past],
    ['certificate_not_valid_now', 'intermediate', past],
    ['certificate_not_valid_now', 'root', past],
    ['certificate_not_valid_now', 'tcbSigning', past],
    ['certificate_not_valid_now', 'leaf', future],
    ['certificate_name_mismatch', 'leaf', { subject: intelName('Intel SGX TCB Signing') }],
    ['certificate_name_mismatch', 'tcbSigning', { subject: intelName('Intel SGX PCK') }],
    ['certificate_name_mismatch', 'leaf', { issuer: intelName('Intel SGX Root CA') }],
    ['certificate_signature_invalid', 'leaf', { signer: newSigningKey() }],
    ['certificate_signature_invalid', 'intermediate', { signer: newSigningKey() }],
    ['certificate_signature_invalid', 'tcbSigning', { signer: newSigningKey() }],
    [
      'certificate_signature_invalid',
      'leaf',
      { outerAlgorithm: sequence(ECDSA_WITH_SHA256.slice(2, -1), new Uint8Array([4])) },
    ],
    ['certificate_role_invalid', 'intermediate', { constraints: { ca: false, pathLength: null } }],
    ['certificate_role_invalid', 'intermediate', { constraints: null }],
    ['certificate_role_invalid', 'root', { constraints: { ca: true, pathLength: 0 } }],
    ['certificate_role_invalid', 'leaf', { constraints: { ca: true, pathLength: null } }],
    ['certificate_role_invalid', 'intermediate', { keyUsage: KEY_USAGE.signing }],
    ['certificate_role_invalid', 'leaf', { keyUsage: KEY_USAGE.certifying }],
    ['certificate_critical_extension', 'leaf', { extensions: critical }],
    ['certificate_critical_extension', 'intermediate', { extensions: critical }],
    ['pck_extension_malformed', 'leaf', { sgxExtension: null }],
    [
      'pck_extension_malformed',
      'leaf',
      { sgxExtension: sgxExtension({ ...DEFAULT_PLATFORM, fmspc: 'b0c06f00000000' }) },
    ],
    [
      'pck_extension_malformed',
      'leaf',
      { sgxExtension: sgxExtension(DEFAULT_PLATFORM, { tcbEntries: (list) => list.slice(1) }) },
    ],
    [
      'pck_extension_malformed',
      'leaf',
      {
        sgxExtension: sgxExtension(DEFAULT_PLATFORM, {
          entries: (list) => [...list, sgxEntry('4', new Uint8Array([4, 0]))],
        }),
      },
    ],
    ['accepted', 'intermediate', {}],
  ])('%s (%s)', async (code, role, overrides) => {
    const other = createTeeVendor({ certificates: { [role]: overrides } })
    const verdict = judge(other, await other.quote({ reportData }), other.collateral())
    expect(await codeOf(verdict)).toBe(code)
  })

  test('reissued with the same key, it can replace one certificate of a quote', async () => {
    const leaf = vendor.issue('leaf', past)
    expect(await quoteCode({ chain: vendor.pckChain({ leaf }) })).toBe('certificate_not_valid_now')
    expect(await quoteCode({ chain: vendor.pckChain() })).toBe('accepted')
  })
})

describe('one broken part of the collateral is the one that is refused', () => {
  const stranger = newSigningKey()
  const { leaf, intermediate, tcbSigning, root } = vendor.certificates
  const byLeaf = { signer: leaf.key, chain: leaf.pem + root.pem }
  test.each<[string, CollateralOverrides]>([
    ['tcb_info_not_valid_now', { tcbInfo: { fields: { nextUpdate: '2026-11-19T23:59:59Z' } } }],
    ['tcb_info_signature_invalid', { tcbInfo: { signature: '00'.repeat(64) } }],
    ['tcb_info_signature_invalid', { tcbInfo: { signer: stranger } }],
    ['tcb_info_signature_invalid', { tcbInfo: { served: (text) => text.replace(':', ': ') } }],
    ['certificate_name_mismatch', { tcbInfo: byLeaf }],
    ['tcb_info_wrong_platform', { tcbInfo: { fields: { fmspc: '00906ed50000' } } }],
    ['tcb_info_wrong_platform', { tcbInfo: { fields: { pceId: '0001' } } }],
    ['tcb_info_wrong_tee', { tcbInfo: { fields: { id: 'SGX' } } }],
    ['tcb_info_malformed', { tcbInfo: { fields: { tcbLevels: [] } } }],
    ['tcb_info_malformed', { tcbInfo: { without: ['tcbLevels'] } }],
    ['tcb_status_not_accepted', { platformStatus: 'SWHardeningNeeded' }],
    ['tcb_status_not_accepted', { moduleStatus: 'OutOfDate' }],
    ['tcb_status_not_accepted', { qeStatus: 'OutOfDate' }],
    [
      'qe_identity_not_valid_now',
      { qeIdentity: { fields: { issueDate: '2026-12-01T00:00:00Z' } } },
    ],
    ['qe_identity_signature_invalid', { qeIdentity: { signer: stranger } }],
    ['qe_identity_wrong_enclave', { qeIdentity: { fields: { id: 'QE' } } }],
    ['qe_report_mismatch', { qeIdentity: { fields: { isvprodid: 1 } } }],
    ['crl_signature_invalid', { rootCrl: { signer: stranger } }],
    ['crl_signature_invalid', { pckCrl: { signer: stranger } }],
    ['crl_issuer_mismatch', { pckCrl: { issuer: root.subject } }],
    ['crl_issuer_mismatch', { rootCrl: { authorityKeyId: stranger.keyId } }],
    ['crl_not_valid_now', { rootCrl: { nextUpdate: TEST_TIME - 1 } }],
    ['crl_not_valid_now', { pckCrl: { thisUpdate: TEST_TIME + 1 } }],
    ['crl_not_valid_now', { pckCrl: { nextUpdate: null } }],
    ['crl_extension_unsupported', { pckCrl: { extensions: critical } }],
    ['crl_extension_unsupported', { rootCrl: { extensions: critical } }],
    ['certificate_revoked', { pckCrl: { revoked: [leaf.serial] } }],
    ['certificate_revoked', { rootCrl: { revoked: [intermediate.serial] } }],
    ['certificate_revoked', { rootCrl: { revoked: [tcbSigning.serial] } }],
    ['accepted', { pckCrl: { revoked: [stranger.keyId] } }],
    ['accepted', { tcbInfo: { text: (text) => text.replace(':', ': ') } }],
  ])('%s', async (code, overrides) => {
    expect(await collateralCode(overrides)).toBe(code)
  })
})

test('levels made for a test are the ones that are matched', async () => {
  const { components: sgx, pcesvn } = vendor.platform
  const tcbLevels = [
    platformLevel({
      sgx,
      pcesvn: pcesvn + 1,
      tdx: TDX_COMPONENTS,
      tcbStatus: 'UpToDate',
    }),
    platformLevel({
      sgx,
      pcesvn,
      tdx: TDX_COMPONENTS,
      tcbStatus: 'OutOfDate',
      tcbDate: '2025-05-14T00:00:00Z',
      advisoryIDs: ['INTEL-SA-00003'],
    }),
  ]
  const policy = policyFor(vendor)
  const genuine = await verifyQuote({
    quote: await vendor.quote({ reportData }),
    collateral: vendor.collateral({
      tcbInfo: { fields: { tcbLevels } },
      qeIdentity: { fields: { tcbLevels: [isvLevel(7, 'UpToDate')] } },
    }),
    now: vendor.now,
    trustedRoot: await trustedRoot(policy),
  })
  expect(genuine.tcb).toMatchObject({ status: 'OutOfDate', advisoryIds: ['INTEL-SA-00003'] })
})

async function startPcs() {
  const pcs = await vendor.pcsServer()
  onTestFinished(() => pcs.close())
  return pcs
}

describe('PCS server', () => {
  test('serves collateral that assembles to what a quote needs', async () => {
    const pcs = await startPcs()
    const quote = await vendor.quote({ reportData })
    const routes = pcsRoutes(await collateralKey(quote))
    const fetchRoute = async (route: 'tcb' | 'qeIdentity' | 'pckCrl') => {
      const response = await fetch(pcs.url + routes[route])
      const issuerChain = response.headers.get(ISSUER_CHAIN_HEADERS[route]) ?? ''
      expect(issuerChain).not.toMatch(/[\s+]/)
      return { body: new Uint8Array(await response.arrayBuffer()), issuerChain }
    }
    const collateral = assembleCollateral({
      tcb: await fetchRoute('tcb'),
      qeIdentity: await fetchRoute('qeIdentity'),
      pckCrl: await fetchRoute('pckCrl'),
      rootCrl: new Uint8Array(await (await fetch(pcs.rootCrlUrl)).arrayBuffer()),
    })
    expect(await codeOf(judge(vendor, quote, collateral))).toBe('accepted')
    expect(pcs.requests).toEqual([
      '/tdx/certification/v4/tcb?fmspc=b0c06f000000',
      '/tdx/certification/v4/qe/identity',
      '/sgx/certification/v4/pckcrl?ca=platform&encoding=der',
      '/IntelSGXRootCA.der',
    ])
  })

  test('knows one platform and fails when told to', async () => {
    const pcs = await startPcs()
    const status = async (path: string) => (await fetch(pcs.url + path)).status
    expect(await status('/tdx/certification/v4/tcb?fmspc=00906ed50000')).toBe(404)
    expect(await status('/tdx/certification/v4/tcb')).toBe(400)
    expect(await status('/sgx/certification/v4/pckcrl?ca=processor&encoding=der')).toBe(404)
    expect(await status('/nowhere')).toBe(404)
    pcs.control.fail = { qeIdentity: 503 }
    expect(await status('/tdx/certification/v4/qe/identity')).toBe(503)
  })
})

describe('model server report', () => {
  const nonce = '0f'.repeat(32)
  const policy = policyFor(vendor)

  async function start() {
    const clock = fakeClock()
    const server = await startModelServer({ vendor, clock })
    onTestFinished(() => server.close())
    const evidenceOf = async () => {
      const report = encodeUtf8(JSON.stringify(await server.report(nonce)))
      const { collateral } = parseReport(report).attestation.evidence
      return encodeAciEvidence({
        collected_at: clock.now(),
        origin: server.origin,
        nonce,
        observed_spki_sha256: server.spkiSha256(),
        report,
        collateral: collateral === undefined ? vendor.collateral() : parseCollateral(collateral),
      })
    }
    const verify = async () =>
      verifyEndpoint({
        evidence: await evidenceOf(),
        challenge: nonce,
        now: clock.now(),
        policy,
      })
    return { clock, server, verify }
  }

  test('verifies to the key that the server uses', async () => {
    const { server, verify } = await start()
    const endpoint = await verify()
    expect(toHex(endpoint.binding.digest)).toBe(server.spkiSha256())
    expect(endpoint.keysetDigest).toBe(await server.keysetDigest())
    const { publicKey } = new X509Certificate(server.certificatePem())
    expect(publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
  })

  test('verifies without collateral of its own, and again after a rotation', async () => {
    const { server, verify } = await start()
    server.evidence.collateral = null
    const before = server.spkiSha256()
    await verify()
    server.rotate()
    expect(toHex((await verify()).binding.digest)).not.toBe(before)
  })

  test('fails at the step that was broken', async () => {
    const { clock, server, verify } = await start()
    const { evidence } = server
    evidence.nonce = () => '00'.repeat(32)
    expect(await codeOf(verify())).toBe('report_data_mismatch')
    evidence.nonce = (asked) => asked
    evidence.keyset = (keyset) => ({
      ...keyset,
      tls_public_keys: [{ spki_sha256: '00'.repeat(32) }],
    })
    expect(await codeOf(verify())).toBe('channel_not_attested')
    evidence.keyset = (keyset) => ({ ...keyset, not_after: clock.now() })
    expect(await codeOf(verify())).toBe('keyset_expired')
    evidence.keyset = (keyset) => ({ ...keyset, not_after: clock.now() + 8 * 86_400 })
    expect(await codeOf(verify())).toBe('keyset_lifetime_implausible')
    evidence.keyset = (keyset) => keyset
    evidence.quote = { tdAttributes: '0100001000000000' }
    expect(await codeOf(verify())).toBe('debug_enabled')
    evidence.quote = {}
    evidence.report = (report) => ({
      ...report,
      workload_keyset_digest: `sha256:${'00'.repeat(32)}`,
    })
    expect(await codeOf(verify())).toBe('keyset_digest_mismatch')
    evidence.report = (report) => report
    evidence.collateral = { pckCrl: { revoked: [vendor.certificates.leaf.serial] } }
    expect(await codeOf(verify())).toBe('certificate_revoked')
    evidence.collateral = {}
    expect(await codeOf(verify())).toBe('accepted')
    clock.advance(86_400)
    expect(await codeOf(verify())).toBe('keyset_expired')
  })

  test('binds a boot document through the subject', async () => {
    const boot = {
      software: 'test 1',
      config_digest: `sha256:${'11'.repeat(32)}`,
      self_check: {},
    }
    const clock = fakeClock()
    const server = await startModelServer({ vendor, clock, boot })
    onTestFinished(() => server.close())
    const report = encodeUtf8(JSON.stringify(await server.report(null)))
    expect(parseReport(report).attestation.evidence.boot).toEqual(boot)
    expect(server.keyset().subject).toMatch(/^urn:vouchgate:boot:sha256:/)
  })
})
