import {
  parseSnpReport,
  testSnpRoots,
  toHex,
  verifySnpReport,
  type GenuineSnpReport,
  type SnpProduct,
} from '@vouchgate/attestation'
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { bitString, boolean, concat, integer, octetString, sequence } from '../support/der.ts'
import {
  amdName,
  ASK_SERIAL,
  CA_EXTENSIONS,
  createSnpVendor,
  ia5String,
  KDS_OID,
  PLATFORMS,
  pssAlgorithm,
  SNP_KEYS,
  type CertificateOverrides,
  type EndorsementKind,
  type SnpCrlFields,
  type SnpExtension,
  type SnpReportFields,
  type SnpVendor,
} from '../support/snp-vendor.ts'

const vendor = createSnpVendor()
const DAY = 86_400
const UNKNOWN_CRITICAL: SnpExtension = {
  id: '1.2.3.4',
  critical: true,
  value: octetString(Uint8Array.of(1)),
}
const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const otherLeafKey = generateKeyPairSync('ec', { namedCurve: 'P-384' })

interface Attempt {
  readonly product?: SnpProduct
  readonly kind?: EndorsementKind
  readonly report?: SnpReportFields
  readonly reportKey?: typeof otherLeafKey.privateKey
  readonly bytes?: (report: Uint8Array) => Uint8Array
  readonly leaf?: CertificateOverrides
  readonly leafDer?: (der: Uint8Array) => Uint8Array
  readonly signer?: CertificateOverrides
  readonly root?: CertificateOverrides
  /** The chain's PEM text, in place of the one the overrides make. */
  readonly chain?: (from: SnpVendor) => string
  readonly crl?: Partial<SnpCrlFields>
  readonly crlDer?: (der: Uint8Array) => Uint8Array
  readonly at?: number
}

async function attempt(given: Attempt): Promise<GenuineSnpReport> {
  const { product, kind = 'vcek', at = vendor.now } = given
  const from = product === undefined ? vendor : createSnpVendor(product)
  const { bytes = same, leafDer = same } = given
  return verifySnpReport({
    report: bytes(from.report(given.report, given.reportKey)),
    leaf: leafDer(from.leaf(kind, given.leaf)),
    chain: chainOf(from, given),
    crl: crlOf(from, given),
    now: at,
    roots: await testSnpRoots(from.rootPem),
  })
}

const same = (bytes: Uint8Array): Uint8Array => bytes

function chainOf(from: SnpVendor, { chain, kind = 'vcek', signer, root }: Attempt): string {
  if (chain !== undefined) return chain(from)
  return from.chain(kind, signer, root === undefined ? undefined : from.root(root))
}

const crlOf = (from: SnpVendor, { crl, crlDer = same }: Attempt): Uint8Array | null =>
  crl === undefined ? null : crlDer(from.crl(crl))

const flip = (offset: number) => (bytes: Uint8Array) =>
  bytes.map((byte, index) => (index === offset ? byte ^ 1 : byte))

/** The leaf's extensions with one replaced, or left out where there is no value. */
const withExtension = (
  id: string,
  value: Uint8Array | null,
  kind: EndorsementKind = 'vcek',
): CertificateOverrides => ({
  extensions: [
    ...vendor.leafExtensions(kind).filter((extension) => extension.id !== id),
    ...(value === null ? [] : [{ id, value }]),
  ],
})

type Refusals = Record<string, [step: string, code: string, attempt: Attempt]>

const REPORT_REFUSALS: Refusals = {
  'a truncated report': [
    'snp_report',
    'snp_report_malformed',
    { bytes: (bytes) => bytes.subarray(0, 1183) },
  ],
  'a byte after the report': [
    'snp_report',
    'snp_report_malformed',
    { bytes: (bytes) => concat(bytes, Uint8Array.of(0)) },
  ],
  'version 1': ['snp_report', 'snp_report_version_unsupported', { report: { version: '01' } }],
  'version 6': ['snp_report', 'snp_report_version_unsupported', { report: { version: '06' } }],
  'another signature algorithm': [
    'snp_report',
    'snp_algorithm_unsupported',
    { report: { signatureAlgorithm: '02' } },
  ],
  'a guest policy without the bit that must be one': [
    'snp_report',
    'snp_policy_reserved',
    { report: { policy: '0000010000000000' } },
  ],
  'a guest policy with a reserved bit': [
    'snp_report',
    'snp_policy_reserved',
    { report: { policy: '0000030400000000' } },
  ],
  'a masked chip key, with which nothing is signed': [
    'snp_report',
    'snp_report_unsigned',
    { report: { keyInfo: '02' } },
  ],
  'a report that names no key': [
    'snp_report',
    'snp_report_unsigned',
    { report: { keyInfo: '1c' } },
  ],
  'reserved bits in the key info': [
    'snp_report',
    'snp_report_malformed',
    { report: { keyInfo: '20' } },
  ],
  'a reserved field': [
    'snp_report',
    'snp_report_malformed',
    { report: { reservedAfterKeyInfo: '01' } },
  ],
  'a CPU in a version that has none': [
    'snp_report',
    'snp_report_malformed',
    { report: { version: '02' } },
  ],
  'mitigation vectors in a version that has none': [
    'snp_report',
    'snp_report_malformed',
    { report: { version: '03', mitigations: '01' } },
  ],
  'mitigation vectors in version 4, which is read as version 3': [
    'snp_report',
    'snp_report_malformed',
    { report: { version: '04', mitigations: '01' } },
  ],
  'bytes after the CPU': [
    'snp_report',
    'snp_report_malformed',
    { report: { reservedAfterCpuid: '01' } },
  ],
  'a firmware version of four bytes': [
    'snp_report',
    'snp_report_malformed',
    { report: { currentFirmware: '23370101' } },
  ],
  'bytes before the signature': [
    'snp_report',
    'snp_report_malformed',
    { report: { reservedBeforeSignature: '01' } },
  ],
  'a signature scalar past 48 bytes': [
    'snp_report',
    'snp_report_malformed',
    { bytes: flip(0x2a0 + 48) },
  ],
  'bytes after the signature, which nothing signs': [
    'snp_report',
    'snp_report_malformed',
    { bytes: flip(1183) },
  ],
}

const CHAIN_REFUSALS: Refusals = {
  'a chain without a root': [
    'snp_chain',
    'certificate_chain_length',
    { chain: (from) => from.chain('vcek').slice(0, -from.rootPem.length) },
  ],
  'an empty chain': ['snp_chain', 'certificate_chain_length', { chain: () => '' }],
  'a chain with a third certificate': [
    'snp_chain',
    'certificate_chain_length',
    { chain: (from) => from.chain('vcek') + from.rootPem },
  ],
  'another root of the same name': [
    'snp_chain',
    'certificate_root_untrusted',
    { root: { serial: 99 } },
  ],
  'a root that has expired': [
    'snp_chain',
    'certificate_not_valid_now',
    { at: vendor.now + 3 * 365 * DAY },
  ],
  'a root of tomorrow': ['snp_chain', 'certificate_not_valid_now', { at: vendor.now - 366 * DAY }],
  'an ASK by another issuer': [
    'snp_chain',
    'certificate_name_mismatch',
    { signer: { issuer: amdName('ARK-Milan') } },
  ],
  'an ASK signed by another key': [
    'snp_chain',
    'certificate_signature_invalid',
    { signer: { signer: SNP_KEYS.ask.privateKey } },
  ],
  'an ASK that is no CA': ['snp_chain', 'certificate_role_invalid', { signer: { extensions: [] } }],
  'an ASK that may not certify': [
    'snp_chain',
    'certificate_role_invalid',
    {
      signer: {
        extensions: [
          ...CA_EXTENSIONS.slice(0, 1),
          { id: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(0x80), 7) },
        ],
      },
    },
  ],
  'an ASK that is too weak': [
    'snp_chain',
    'certificate_signature_invalid',
    { signer: { publicKey: generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey } },
  ],
  'an ASK that has expired': [
    'snp_chain',
    'certificate_not_valid_now',
    { signer: { notAfter: vendor.now - 1 } },
  ],
  'an ASK with an unknown critical extension': [
    'snp_chain',
    'certificate_critical_extension',
    { signer: { extensions: [...CA_EXTENSIONS, UNKNOWN_CRITICAL] } },
  ],
  'a leaf that is no certificate': [
    'snp_chain',
    'certificate_malformed',
    { leafDer: (der) => der.subarray(1) },
  ],
  'a leaf changed after it was signed': [
    'snp_chain',
    'certificate_signature_invalid',
    { leafDer: (der) => flip(der.length - 1)(der) },
  ],
  'a leaf signed with a shorter salt': [
    'snp_chain',
    'certificate_signature_invalid',
    { leaf: { saltLength: 32 } },
  ],
  'a leaf whose inner algorithm is another': [
    'snp_chain',
    'certificate_signature_invalid',
    { leaf: { innerAlgorithm: pssAlgorithm(32) } },
  ],
  'a leaf whose outer algorithm is another': [
    'snp_chain',
    'certificate_signature_invalid',
    { leaf: { outerAlgorithm: pssAlgorithm(32) } },
  ],
  'a leaf that has expired': [
    'snp_chain',
    'certificate_not_valid_now',
    { leaf: { notAfter: vendor.now - 1 } },
  ],
  'a leaf of tomorrow': [
    'snp_chain',
    'certificate_not_valid_now',
    { leaf: { notBefore: vendor.now + 1 } },
  ],
  'a leaf with an unknown critical extension': [
    'snp_chain',
    'certificate_critical_extension',
    { leaf: { extensions: [...vendor.leafExtensions('vcek'), UNKNOWN_CRITICAL] } },
  ],
  'a leaf on another curve': [
    'snp_chain',
    'certificate_role_invalid',
    { leaf: { publicKey: p256.publicKey } },
  ],
  'a leaf that is a CA': [
    'snp_chain',
    'certificate_role_invalid',
    {
      leaf: {
        extensions: [
          ...vendor.leafExtensions('vcek'),
          { id: '2.5.29.19', critical: true, value: sequence(boolean(true)) },
        ],
      },
    },
  ],
  'a leaf of another name': [
    'snp_chain',
    'certificate_name_mismatch',
    { leaf: { subject: amdName('SEV-TSME') } },
  ],
  'a VLEK under an ASK': [
    'snp_chain',
    'certificate_name_mismatch',
    { leaf: { subject: amdName('SEV-VLEK') } },
  ],
  'a VCEK under an ASVK': [
    'snp_chain',
    'certificate_name_mismatch',
    { kind: 'vlek', leaf: { subject: amdName('SEV-VCEK') } },
  ],
  'an ASK named for another product': [
    'snp_chain',
    'certificate_name_mismatch',
    {
      signer: { subject: amdName('SEV-Milan') },
      leaf: { issuer: amdName('SEV-Milan') },
    },
  ],
}

const CRL_REFUSALS: Refusals = {
  'that is malformed': ['crl', 'crl_malformed', { crl: {}, crlDer: (der) => der.subarray(1) }],
  'of another issuer': ['crl', 'crl_issuer_mismatch', { crl: { issuer: amdName('SEV-Genoa') } }],
  'of another key of that issuer': [
    'crl',
    'crl_issuer_mismatch',
    { crl: { authorityKeyId: Uint8Array.of(1, 2, 3) } },
  ],
  'signed by another key': [
    'crl',
    'crl_signature_invalid',
    { crl: { signer: SNP_KEYS.ask.privateKey } },
  ],
  'that is a delta': [
    'crl',
    'crl_extension_unsupported',
    { crl: { extensions: [{ id: '2.5.29.27', critical: true, value: integer(1) }] } },
  ],
  'of tomorrow': ['crl', 'crl_not_valid_now', { crl: { thisUpdate: vendor.now + 1 } }],
  'that is stale': ['crl', 'crl_not_valid_now', { crl: { nextUpdate: vendor.now - 1 } }],
  'that never goes stale': ['crl', 'crl_not_valid_now', { crl: { nextUpdate: null } }],
  'that revokes the ASK': ['crl', 'certificate_revoked', { crl: { revoked: [7, ASK_SERIAL] } }],
}

const VLEK = { kind: 'vlek', report: { keyInfo: '04' } } as const
const ENDORSEMENT_REFUSALS: Refusals = {
  'a CPU that is no known product': [
    'snp_endorsement',
    'snp_product_unknown',
    { report: { cpuid: '191b01'.replace('1b', '60') } },
  ],
  'a CPU of another product': [
    'snp_endorsement',
    'snp_product_mismatch',
    { report: { cpuid: '190101' } },
  ],
  'a leaf of another product': [
    'snp_endorsement',
    'snp_product_mismatch',
    { leaf: withExtension(KDS_OID.product, ia5String('Milan-B0')) },
  ],
  'a leaf of no product': [
    'snp_endorsement',
    'snp_product_mismatch',
    { leaf: withExtension(KDS_OID.product, null) },
  ],
  'a product name of another type': [
    'snp_endorsement',
    'snp_extension_malformed',
    { leaf: withExtension(KDS_OID.product, integer(1)) },
  ],
  'a patch level with something after it': [
    'snp_endorsement',
    'snp_extension_malformed',
    { leaf: withExtension(KDS_OID.snp, concat(integer(23), integer(23))) },
  ],
  'a VLEK in the place of a VCEK': [
    'snp_endorsement',
    'snp_signing_key_mismatch',
    { kind: 'vlek' },
  ],
  'a VCEK in the place of a VLEK': [
    'snp_endorsement',
    'snp_signing_key_mismatch',
    { report: VLEK.report },
  ],
  'another chip': ['snp_endorsement', 'snp_chip_mismatch', { report: { chipId: 'ff' } }],
  'a VCEK of no chip': [
    'snp_endorsement',
    'snp_chip_mismatch',
    { leaf: withExtension(KDS_OID.hwid, null) },
  ],
  'a Turin chip that differs after the bytes its key is bound to': [
    'snp_endorsement',
    'snp_chip_mismatch',
    { product: 'Turin', report: { chipId: '5a'.repeat(9) } },
  ],
  'a reserved byte in the reported TCB': [
    'snp_endorsement',
    'snp_tcb_mismatch',
    { report: { reportedTcb: '0a00010000001754' } },
  ],
  'a reserved byte in the reported TCB of Turin': [
    'snp_endorsement',
    'snp_tcb_mismatch',
    { product: 'Turin', report: { reportedTcb: '010a001701000054' } },
  ],
  'an FMC where the product has none': [
    'snp_endorsement',
    'snp_tcb_mismatch',
    { leaf: withExtension(KDS_OID.fmc, integer(0)) },
  ],
  'a reserved byte in the committed TCB': [
    'snp_report',
    'snp_report_malformed',
    { report: { committedTcb: '0a00010000001754' } },
  ],
}

test('evidence of the simulated vendor is genuine, with and without a CRL', async () => {
  const genuine = await attempt({ report: { reportData: 'ab'.repeat(64) } })
  expect(genuine).toMatchObject({ root: 'test-pki', product: 'Genoa', revocation: 'unknown' })
  expect(genuine.tcb.launch).toEqual({ fmc: null, bootloader: 10, tee: 0, snp: 23, microcode: 84 })
  expect(toHex(genuine.reportData)).toBe('ab'.repeat(64))
  expect(genuine.expiresAt).toBe(vendor.now + 365 * DAY)
  const checked = await attempt({ crl: { revoked: [7] } })
  expect(checked).toMatchObject({ revocation: 'checked', expiresAt: vendor.now + 30 * DAY })
})

test('a VLEK vouches for a TCB and for no chip', async () => {
  const genuine = await attempt({ ...VLEK, report: { ...VLEK.report, chipId: '00'.repeat(64) } })
  expect(genuine.report.signingKey).toBe('vlek')
})

test('Turin has an FMC and a chip id of eight bytes', async () => {
  const genuine = await attempt({ product: 'Turin' })
  expect(genuine.tcb.reported).toEqual({ fmc: 1, bootloader: 10, tee: 0, snp: 23, microcode: 84 })
})

test('version 2 names no CPU and takes its product from the pinned root', async () => {
  const genuine = await attempt({ product: 'Milan', report: { version: '02', cpuid: '000000' } })
  expect(genuine).toMatchObject({ product: 'Milan', report: { cpuid: null } })
})

test.for(['03', '04', '05'])('version %s names its CPU', async (version) => {
  const genuine = await attempt({ product: 'Milan', report: { version } })
  expect(genuine).toMatchObject({
    product: 'Milan',
    report: { version: Number(version), cpuid: { family: 0x19, model: 0x01 } },
  })
  const other = attempt({ product: 'Milan', report: { version, cpuid: PLATFORMS.Genoa.cpuid } })
  await expect(other).rejects.toMatchObject({ code: 'snp_product_mismatch' })
})

test('a spelled out trailer field is the same algorithm', async () => {
  const algorithm = pssAlgorithm(48, true)
  const leaf = { innerAlgorithm: algorithm, outerAlgorithm: algorithm }
  await expect(attempt({ leaf })).resolves.toBeDefined()
})

describe('a report is refused for', () => {
  test.for(Object.entries(REPORT_REFUSALS))('%s', async ([, [step, code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', step, code })
  })
})

describe('a chain is refused for', () => {
  test.for(Object.entries(CHAIN_REFUSALS))('%s', async ([, [step, code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', step, code })
  })
})

describe('a CRL is refused', () => {
  test.for(Object.entries(CRL_REFUSALS))('%s', async ([, [step, code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', step, code })
  })
})

describe('an endorsement is refused for', () => {
  test.for(Object.entries(ENDORSEMENT_REFUSALS))('%s', async ([, [step, code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', step, code })
  })

  test.for(PLATFORMS.Turin.levels)('another %s level', async ([name, level]) => {
    const leaf: CertificateOverrides = {
      extensions: createSnpVendor('Turin')
        .leafExtensions('vcek')
        .map((extension) =>
          extension.id === KDS_OID[name] ? { ...extension, value: integer(level + 1) } : extension,
        ),
    }
    await expect(attempt({ product: 'Turin', leaf })).rejects.toMatchObject({
      step: 'snp_endorsement',
      code: 'snp_tcb_mismatch',
    })
  })

  test('a VLEK of another TCB', async () => {
    const leaf = withExtension(KDS_OID.microcode, integer(85), 'vlek')
    await expect(attempt({ ...VLEK, leaf })).rejects.toMatchObject({ code: 'snp_tcb_mismatch' })
  })
})

describe('a signature is refused', () => {
  test('over another measurement', async () => {
    await expect(attempt({ bytes: flip(0x90) })).rejects.toMatchObject({
      step: 'snp_signature',
      code: 'snp_signature_invalid',
    })
  })

  test('by another key', async () => {
    await expect(attempt({ reportKey: otherLeafKey.privateKey })).rejects.toMatchObject({
      code: 'snp_signature_invalid',
    })
  })

  test('of zeros', async () => {
    const bytes = (report: Uint8Array): Uint8Array => report.slice().fill(0, 0x2a0)
    await expect(attempt({ bytes })).rejects.toMatchObject({ code: 'snp_signature_invalid' })
  })

  test('by a key that is no point of the curve', async () => {
    const point = SNP_KEYS.leaf.publicKey.export({ type: 'spki', format: 'der' }).subarray(-97)
    const leafDer = (der: Uint8Array): Uint8Array => {
      const at = Buffer.from(der).indexOf(point)
      return flip(at + 96)(der)
    }
    await expect(attempt({ leafDer })).rejects.toMatchObject({
      code: 'certificate_signature_invalid',
    })
  })
})

test.for([
  ['nothing', '', 'certificate_malformed'],
  ['two certificates', vendor.chain('vcek'), 'certificate_malformed'],
])('a test root may not be %s', async ([, pem, code]) => {
  await expect(testSnpRoots(pem ?? '')).rejects.toMatchObject({ code })
})

test('a test root of an unknown product is refused: there is no default product', async () => {
  const rome = vendor.chain('vcek', {}, vendor.root({ subject: amdName('ARK-Rome') }))
  const pem = rome.slice(rome.indexOf('-----BEGIN', 1))
  await expect(testSnpRoots(pem)).rejects.toMatchObject({ code: 'snp_product_unknown' })
})

test.for([
  ['has expired', { notAfter: vendor.now - 1 }],
  ['is of tomorrow', { notBefore: vendor.now + 1 }],
] as const)('a pinned root that %s is refused', async ([, overrides]) => {
  const root = vendor.root(overrides)
  const chain = vendor.chain('vcek', {}, root)
  const verdict = verifySnpReport({
    report: vendor.report(),
    leaf: vendor.leaf('vcek'),
    chain,
    crl: null,
    now: vendor.now,
    roots: await testSnpRoots(chain.slice(chain.indexOf('-----BEGIN', 1))),
  })
  await expect(verdict).rejects.toMatchObject({ code: 'certificate_not_valid_now' })
})

test('a forged root is refused, whatever the report says of its product', async () => {
  for (const version of ['02', '05']) {
    const cpuid = version === '02' ? '000000' : PLATFORMS.Genoa.cpuid
    await expect(
      attempt({ report: { version, cpuid }, root: { serial: 1 } }),
    ).rejects.toMatchObject({ code: 'certificate_root_untrusted' })
  }
})

test('every byte of the report counts', async () => {
  const good = vendor.report({ reportData: '11'.repeat(64) })
  const leaf = vendor.leaf('vcek')
  const chain = vendor.chain('vcek')
  const roots = await testSnpRoots(vendor.rootPem)
  const verify = (report: Uint8Array) =>
    verifySnpReport({ report, leaf, chain, crl: null, now: vendor.now, roots })
  await expect(verify(good)).resolves.toBeDefined()
  await Promise.all(
    [...good.keys()].map(async (offset) => {
      await expect(verify(flip(offset)(good))).rejects.toMatchObject({ name: 'EvidenceError' })
    }),
  )
})

test('a report is parsed without being believed', () => {
  expect(parseSnpReport(vendor.report({ vmpl: '02' })).vmpl).toBe(2)
})
