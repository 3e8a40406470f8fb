import {
  assembleCollateral,
  collateralIssuedAt,
  collateralName,
  INTEL_SGX_ROOT,
  parseCollateral,
  parseCollateralBundle,
  parseTime,
  renewCollateral,
  testPkiRoot,
  verifyCollateral,
  type Collateral,
  type CollateralKey,
  type VerifiedCollateral,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { newSigningKey } from '../support/pki.ts'
import { createTeeVendor, type CollateralOverrides } from '../support/tee-vendor.ts'
import { hasVectors, vectorBytes, vectorCases, vectorJson } from '../support/vectors.ts'

const DAY = 86_400
const vendor = createTeeVendor()
const stranger = createTeeVendor()
const trustedRoot = await testPkiRoot(vendor.rootPem)
const key: CollateralKey = { tee: 'tdx', fmspc: vendor.platform.fmspc, ca: 'platform' }
const { root, intermediate, leaf, tcbSigning } = vendor.certificates

const verify = (collateral: Collateral, changes: Partial<CollateralKey> = {}, now = vendor.now) =>
  verifyCollateral({ collateral, key: { ...key, ...changes }, now, trustedRoot })

test('good collateral is verified without a quote, and says how new it is and how long it lasts', async () => {
  const collateral = vendor.collateral()
  const verified = await verify(collateral)
  const document = { evaluationDataNumber: 20, issuedAt: vendor.now - DAY }
  expect(verified).toEqual({
    collateral,
    expiresAt: vendor.now + 29 * DAY,
    editions: {
      tcb_info: document,
      qe_identity: document,
      pck_crl: { evaluationDataNumber: 0, issuedAt: vendor.now - DAY },
      root_ca_crl: { evaluationDataNumber: 0, issuedAt: vendor.now - 60 * DAY },
    },
  })
})

test('an FMSPC in upper case is the same platform', async () => {
  const fmspc = vendor.platform.fmspc.toUpperCase()
  expect(fmspc).not.toBe(vendor.platform.fmspc)
  await expect(verify(vendor.collateral({ tcbInfo: { fields: { fmspc } } }))).resolves.toBeDefined()
})

test('collateral lasts as long as the first of its parts', async () => {
  const early = vendor.now + 3 * DAY
  const nextUpdate = '2026-11-23T00:00:00Z'
  const overrides: CollateralOverrides[] = [
    { rootCrl: { nextUpdate: early } },
    { pckCrl: { nextUpdate: early } },
    { tcbInfo: { fields: { nextUpdate } } },
    { qeIdentity: { fields: { nextUpdate } } },
    { pckCrlChain: vendor.issue('intermediate', { notAfter: early }).pem + root.pem },
    { tcbInfo: { chain: vendor.issue('tcbSigning', { notAfter: early }).pem + root.pem } },
    { qeIdentity: { chain: vendor.issue('tcbSigning', { notAfter: early }).pem + root.pem } },
  ]
  for (const each of overrides) {
    expect((await verify(vendor.collateral(each))).expiresAt).toBe(early)
  }
})

describe('collateral is refused', () => {
  const serial = (certificate: { serial: Uint8Array }) => ({ revoked: [certificate.serial] })
  const signer = newSigningKey()
  interface Refused {
    readonly collateral?: CollateralOverrides
    readonly edit?: Partial<Collateral>
    readonly key?: Partial<CollateralKey>
    readonly now?: number
  }
  const CASES: Record<string, [code: string, step: string, given: Refused]> = {
    'without the chain of the PCK CRL': [
      'certificate_chain_length',
      'pck_crl_chain',
      { edit: { pck_crl_issuer_chain: '' } },
    ],
    'with a third certificate in that chain': [
      'certificate_chain_length',
      'pck_crl_chain',
      { collateral: { pckCrlChain: intermediate.pem + root.pem + root.pem } },
    ],
    'with the CRL of another CA than the named one': [
      'certificate_name_mismatch',
      'pck_crl_chain',
      { key: { ca: 'processor' } },
    ],
    'with a CA that may not be one': [
      'certificate_role_invalid',
      'pck_crl_chain',
      {
        collateral: {
          pckCrlChain:
            vendor.issue('intermediate', { constraints: { ca: false, pathLength: null } }).pem +
            root.pem,
        },
      },
    ],
    'with a CA that the root did not sign': [
      'certificate_signature_invalid',
      'pck_crl_chain',
      { collateral: { pckCrlChain: stranger.certificates.intermediate.pem + root.pem } },
    ],
    'with a CA that is not valid yet': [
      'certificate_not_valid_now',
      'pck_crl_chain',
      {
        collateral: {
          pckCrlChain: vendor.issue('intermediate', { notBefore: vendor.now + DAY }).pem + root.pem,
        },
      },
    ],
    'under another root': [
      'certificate_root_untrusted',
      'pck_crl_chain',
      { edit: stranger.collateral() },
    ],
    'with a root CRL that is none': ['crl_malformed', 'crl', { edit: { root_ca_crl: '3000' } }],
    'with a root CRL by somebody else': [
      'crl_signature_invalid',
      'crl',
      { collateral: { rootCrl: { signer } } },
    ],
    'with a PCK CRL by somebody else': [
      'crl_signature_invalid',
      'crl',
      { collateral: { pckCrl: { signer } } },
    ],
    'with a PCK CRL that has expired': [
      'crl_not_valid_now',
      'crl',
      { collateral: { pckCrl: { nextUpdate: vendor.now - 1 } } },
    ],
    'where the root CRL revokes the CA': [
      'certificate_revoked',
      'crl',
      { collateral: { rootCrl: serial(intermediate) } },
    ],
    'where the root CRL revokes the TCB signing certificate': [
      'certificate_revoked',
      'tcb_signing_chain',
      { collateral: { rootCrl: serial(tcbSigning) } },
    ],
    'with TCB info signed in the role of a platform': [
      'certificate_name_mismatch',
      'tcb_signing_chain',
      { collateral: { tcbInfo: { signer: leaf.key, chain: leaf.pem + root.pem } } },
    ],
    'with a QE identity signed in the role of a platform': [
      'certificate_name_mismatch',
      'tcb_signing_chain',
      { collateral: { qeIdentity: { signer: leaf.key, chain: leaf.pem + root.pem } } },
    ],
    'with changed TCB info': [
      'tcb_info_signature_invalid',
      'tcb_info',
      { collateral: { tcbInfo: { served: (text) => text.replace('OutOfDate', 'UpToDate') } } },
    ],
    'with expired TCB info': [
      'tcb_info_not_valid_now',
      'tcb_info',
      { collateral: { tcbInfo: { fields: { nextUpdate: '2026-11-19T23:59:59Z' } } } },
    ],
    'with TCB info of another platform': [
      'tcb_info_wrong_platform',
      'tcb_info',
      { key: { fmspc: '00906ed50000' } },
    ],
    'with TCB info of another TEE': [
      'tcb_info_wrong_tee',
      'tcb_info',
      { collateral: { tcbInfo: { fields: { id: 'SGX' } } } },
    ],
    'with a changed QE identity': [
      'qe_identity_signature_invalid',
      'qe_identity',
      { collateral: { qeIdentity: { served: (text) => text.replace('OutOfDate', 'UpToDate') } } },
    ],
    'with an expired QE identity': [
      'qe_identity_not_valid_now',
      'qe_identity',
      { collateral: { qeIdentity: { fields: { nextUpdate: '2026-11-19T23:59:59Z' } } } },
    ],
    'with the identity of another enclave': [
      'qe_identity_wrong_enclave',
      'qe_identity',
      { collateral: { qeIdentity: { fields: { id: 'QVE' } } } },
    ],
    'before it was issued': ['crl_not_valid_now', 'crl', { now: vendor.now - 2 * DAY }],
  }

  test.for(Object.entries(CASES))('%s', async ([, [code, step, given]]) => {
    const collateral = { ...vendor.collateral(given.collateral), ...given.edit }
    await expect(verify(collateral, given.key, given.now)).rejects.toMatchObject({ code, step })
  })
})

describe('renewed collateral', () => {
  const offer = (held: VerifiedCollateral | null, overrides: CollateralOverrides) =>
    renewCollateral(held, { collateral: vendor.collateral(overrides), key, now, trustedRoot })
  const now = vendor.now + DAY
  const newer = { at: now }
  const number = (tcbEvaluationDataNumber: number) => ({ fields: { tcbEvaluationDataNumber } })

  test('is the offered one where nothing is held', async () => {
    const { verified, older } = await offer(null, {})
    expect([older, verified.editions.tcb_info.issuedAt]).toEqual([[], vendor.now - DAY])
  })

  test('is the offered one where all of it is newer', async () => {
    const held = await verify(vendor.collateral())
    const { verified, older } = await offer(held, newer)
    expect(older).toEqual([])
    expect(Object.values(verified.editions).map(({ issuedAt }) => issuedAt)).toEqual([
      vendor.now,
      vendor.now,
      vendor.now,
      now - 60 * DAY,
    ])
  })

  test('is the offered one where it is the same edition', async () => {
    const held = await verify(vendor.collateral())
    expect((await offer(held, {})).older).toEqual([])
  })

  test('keeps each document whose offered edition is older', async () => {
    const { verified: held } = await offer(null, newer)
    const { verified, older } = await offer(held, {})
    expect(older).toEqual(['tcb_info', 'qe_identity', 'pck_crl', 'root_ca_crl'])
    expect(verified.collateral).toEqual(held.collateral)
  })

  const OLDER: Record<string, [part: string, overrides: CollateralOverrides]> = {
    'TCB info of a lower evaluation number, issued later': ['tcb_info', { tcbInfo: number(19) }],
    'a QE identity of a lower evaluation number': ['qe_identity', { qeIdentity: number(19) }],
    'TCB info issued earlier': [
      'tcb_info',
      { tcbInfo: { fields: { issueDate: '2026-11-18T23:59:59Z' } } },
    ],
    'a QE identity issued earlier': [
      'qe_identity',
      { qeIdentity: { fields: { issueDate: '2026-11-18T23:59:59Z' } } },
    ],
    'a PCK CRL issued earlier': ['pck_crl', { pckCrl: { thisUpdate: vendor.now - 2 * DAY } }],
    'a root CRL issued earlier': [
      'root_ca_crl',
      { rootCrl: { thisUpdate: vendor.now - 90 * DAY } },
    ],
  }
  test.for(Object.entries(OLDER))('does not take %s', async ([, [part, overrides]]) => {
    const held = await verify(vendor.collateral())
    const { verified, older } = await offer(held, { ...newer, ...overrides })
    expect(older).toEqual([part])
    const offered = (await offer(null, newer)).verified
    expect(verified.editions).toEqual({
      ...offered.editions,
      ...Object.fromEntries(Object.entries(held.editions).filter(([name]) => name === part)),
    })
  })

  test('takes a higher evaluation number though it was issued earlier', async () => {
    const held = await verify(vendor.collateral())
    const fields = { issueDate: '2026-11-01T00:00:00Z', tcbEvaluationDataNumber: 21 }
    const { verified, older } = await offer(held, { tcbInfo: { fields } })
    expect(older).toEqual([])
    expect(verified.editions.tcb_info.evaluationDataNumber).toBe(21)
  })

  test('is refused where a kept document has expired: an older one is no way out', async () => {
    const fields = { tcbEvaluationDataNumber: 21, nextUpdate: '2026-11-20T12:00:00Z' }
    const held = await verify(vendor.collateral({ tcbInfo: { fields } }))
    await expect(offer(held, newer)).rejects.toMatchObject({
      code: 'collateral_rolled_back',
      step: 'collateral',
    })
  })

  test('is refused where a newer CRL revokes what signed a kept document', async () => {
    const again = vendor.issue('tcbSigning', { serial: Uint8Array.of(7) })
    const tcbInfo = { ...number(21), chain: again.pem + root.pem }
    const held = await verify(vendor.collateral({ tcbInfo }))
    const rootCrl = { revoked: [again.serial] }
    await expect(offer(held, { ...newer, rootCrl })).rejects.toMatchObject({
      code: 'certificate_revoked',
    })
  })

  test('is refused where the offered one does not hold, whatever is held', async () => {
    const held = await verify(vendor.collateral())
    await expect(offer(held, { tcbInfo: { signature: '00'.repeat(64) } })).rejects.toMatchObject({
      code: 'tcb_info_signature_invalid',
    })
  })
})

describe('kept collateral', () => {
  test('names the moment when its last document was issued', () => {
    expect(collateralIssuedAt(vendor.collateral())).toBe(vendor.now - DAY)
    const rootCrl = { thisUpdate: vendor.now - 5 }
    expect(collateralIssuedAt(vendor.collateral({ rootCrl }))).toBe(vendor.now - 5)
    const pckCrl = { thisUpdate: vendor.now - 4 }
    expect(collateralIssuedAt(vendor.collateral({ rootCrl, pckCrl }))).toBe(vendor.now - 4)
    const qeIdentity = { fields: { issueDate: '2026-11-19T23:59:57Z' } }
    expect(collateralIssuedAt(vendor.collateral({ qeIdentity }))).toBe(vendor.now - 3)
  })

  test('without a date is malformed', () => {
    const collateral = vendor.collateral({ tcbInfo: { without: ['issueDate'] } })
    expect(() => collateralIssuedAt(collateral)).toThrow(
      expect.objectContaining({ code: 'collateral_malformed' }),
    )
  })

  test('is bundled by the name of its platform', () => {
    const collateral = vendor.collateral()
    const keys: CollateralKey[] = [
      { tee: 'tdx', fmspc: '00906ed50000', ca: 'platform' },
      { tee: 'sgx', fmspc: '00906ed50000', ca: 'processor' },
    ]
    const bundle = Object.fromEntries(keys.map((each) => [collateralName(each), collateral]))
    expect(Object.keys(bundle)).toEqual(['tdx/00906ed50000/platform', 'sgx/00906ed50000/processor'])
    expect([...parseCollateralBundle(bundle).values()]).toEqual(
      keys.map((each) => ({ key: each, collateral })),
    )
  })

  test.for<[string, unknown]>([
    ['a list', []],
    ['a text', 'x'],
    ['nothing', null],
    ['no collateral', { 'tdx/00906ed50000/platform': {} }],
    ['a name in upper case', { 'tdx/00906ED50000/platform': vendor.collateral() }],
    ['a name of another TEE', { 'sev/00906ed50000/platform': vendor.collateral() }],
    ['a collateral without a name', vendor.collateral()],
  ])('a bundle is refused that is or has %s', ([, value]) => {
    expect(() => parseCollateralBundle(value)).toThrow(
      expect.objectContaining({ code: 'collateral_malformed' }),
    )
  })
})

const captureFile = z.object({ headers: z.record(z.string(), z.array(z.string())) })

test.skipIf(!hasVectors)("what Intel's own service answered is assembled and holds", async () => {
  const capture = (file: string, header = '') => {
    const { headers } = captureFile.parse(vectorJson('tdx', CAPTURE, `${file}.json`))
    const [issuerChain = ''] = headers[header] ?? []
    return { body: vectorBytes('tdx', CAPTURE, `${file}.body`), issuerChain }
  }
  const api = 'api.trustedservices.intel.com'
  const collateral = assembleCollateral({
    tcb: capture(`0003_${api}_tdx_certification_v4_tcb`, 'Tcb-Info-Issuer-Chain'),
    qeIdentity: capture(
      `0004_${api}_tdx_certification_v4_qe_identity`,
      'Sgx-Enclave-Identity-Issuer-Chain',
    ),
    pckCrl: capture(`0005_${api}_sgx_certification_v4_pckcrl`, 'Sgx-Pck-Crl-Issuer-Chain'),
    rootCrl: capture('0006_certificates.trustedservices.intel.com_intelsgxrootca.der').body,
  })
  const verified = await verifyCollateral({
    collateral,
    key: { tee: 'tdx', fmspc: '90c06f000000', ca: 'platform' },
    now: parseTime('2026-06-29T02:07:25Z'),
    trustedRoot: INTEL_SGX_ROOT,
  })
  expect(verified.editions.tcb_info.evaluationDataNumber).toBeGreaterThan(0)
})

const expectedFile = z.object({
  verification_time: z.number(),
  quote: z.object({ fmspc: z.string() }),
})

const CAPTURE = 'pcs-capture-20260629'
const real = ['tdx4-', 'tdx5-', 'sgx3-'].flatMap((prefix) =>
  vectorCases('tdx', prefix, ['collateral.json', 'expected.json']),
)
describe.skipIf(!hasVectors)("Intel's own collateral holds at its time", () => {
  test.for(real)('%s', async (name) => {
    const collateral = parseCollateral(vectorJson('tdx', name, 'collateral.json'))
    const expected = expectedFile.parse(vectorJson('tdx', name, 'expected.json'))
    const { verification_time: at, quote } = expected
    const fmspc = quote.fmspc.toLowerCase()
    const tee = name.startsWith('sgx') ? 'sgx' : 'tdx'
    const attempts = (['platform', 'processor'] as const).map((ca) =>
      verifyCollateral({
        collateral,
        key: { tee, fmspc, ca },
        now: at,
        trustedRoot: INTEL_SGX_ROOT,
      }),
    )
    await expect(Promise.any(attempts)).resolves.toMatchObject({ collateral })
    await Promise.allSettled(attempts)
  })
})
