import {
  acceptQuote,
  DEFAULT_POLICY,
  parseCollateral,
  testPkiRoot,
  toHex,
  verifyQuote,
  type Collateral,
  type GenuineQuote,
  type TrustedRoot,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { isvLevel, levelV2, platformLevel, TDX_COMPONENTS } from '../support/collateral.ts'
import { boolean, integer, octetString, oid, sequence } from '../support/der.ts'
import { intelName, KEY_USAGE, newSigningKey } from '../support/pki.ts'
import { sgxEntry, sgxExtension } from '../support/sgx-extension.ts'
import {
  createTeeVendor,
  type CollateralOverrides,
  type QuoteFields,
  type TeeVendor,
} from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const stranger = createTeeVendor()
const root = await testPkiRoot(vendor.rootPem)
const REPORT_DATA = 'ab'.repeat(64)
const DAY = 86_400
const UNKNOWN_CRITICAL = { oid: '1.2.3.4', critical: true, value: octetString(Uint8Array.of(1)) }

interface Attempt {
  readonly quote?: Omit<QuoteFields, 'reportData'>
  readonly collateral?: CollateralOverrides
  readonly edit?: (collateral: Collateral) => Collateral
  readonly bytes?: (quote: Uint8Array) => Uint8Array
  readonly from?: TeeVendor
  readonly at?: number
  readonly under?: TrustedRoot
}

async function attempt(given: Attempt): Promise<GenuineQuote> {
  const from = given.from ?? vendor
  const quote = await from.quote({ reportData: REPORT_DATA, ...given.quote })
  const collateral = from.collateral(given.collateral)
  return verifyQuote({
    quote: given.bytes?.(quote) ?? quote,
    collateral: given.edit?.(collateral) ?? collateral,
    now: given.at ?? vendor.now,
    trustedRoot: given.under ?? root,
  })
}

/** A chain in which one certificate was issued again with one difference. */
const chainWith = (
  role: 'leaf' | 'intermediate' | 'root',
  overrides: Parameters<TeeVendor['issue']>[1],
): Attempt => ({ quote: { chain: vendor.pckChain({ [role]: vendor.issue(role, overrides) }) } })

const signingChain = (overrides: Parameters<TeeVendor['issue']>[1]): string =>
  vendor.issue('tcbSigning', overrides).pem + vendor.certificates.root.pem

const flip = (offset: number) => (bytes: Uint8Array) =>
  bytes.map((byte, index) => (index === offset ? byte ^ 1 : byte))

const AUTH_LENGTH_AT = 48 + 584
const OUTER_LENGTH_AT = AUTH_LENGTH_AT + 4 + 128 + 2

/** One byte more at the end, and in the lengths at these offsets. */
const grow = (offsets: readonly number[]) => (bytes: Uint8Array) => {
  const grown = Uint8Array.from([...bytes, 0x0a])
  const view = new DataView(grown.buffer)
  for (const offset of offsets) view.setUint32(offset, view.getUint32(offset, true) + 1, true)
  return grown
}

/** Collateral that brings a PCK chain for quotes without one. */
const bringing = (chain: string) => (collateral: Collateral) => ({
  ...collateral,
  pck_certificate_chain: chain,
})

/** An SGX extension in which one entry was replaced, or dropped where nothing replaces it. */
const extensionWith = (arc: number, replacement: Uint8Array | null): Attempt =>
  chainWith('leaf', {
    sgxExtension: sgxExtension(vendor.platform, {
      entries: (entries) =>
        entries.flatMap((entry, index) =>
          index + 1 === arc
            ? replacement === null
              ? []
              : [Uint8Array.from(replacement)]
            : [entry],
        ),
    }),
  })

/** An SGX extension that ends before SGX type, platform instance and configuration. */
const SHORT_PROFILE = chainWith('leaf', {
  sgxExtension: sgxExtension(vendor.platform, { entries: (entries) => entries.slice(0, 4) }),
})
/** What a certificate of Intel's own would be judged by, were this vendor Intel. */
const AS_INTEL: TrustedRoot = { ...root, kind: 'intel' }

const CURRENT_MODULE = { teeTcbSvn2: '0a010300000000000000000000000000' }
const { leaf, intermediate, tcbSigning, root: rootCertificate } = vendor.certificates

/** One step fails at a time; everything else is as genuine as in the first test. */
const REFUSALS: Record<string, [step: string, code: string, attempt: Attempt]> = {
  'an empty quote': ['parse', 'quote_malformed', { bytes: () => new Uint8Array() }],
  'a megabyte of zeros': ['parse', 'quote_malformed', { bytes: () => new Uint8Array(1 << 20) }],
  'a quote without its last byte': ['parse', 'quote_malformed', { bytes: (q) => q.slice(0, -1) }],
  'text after the quote': [
    'parse',
    'quote_trailing_bytes',
    { bytes: (q) => Buffer.concat([q, Buffer.from('more')]) },
  ],
  'a byte inside the auth data after its parts': [
    'parse',
    'quote_malformed',
    { bytes: grow([AUTH_LENGTH_AT]) },
  ],
  'a byte inside the certification data after its parts': [
    'parse',
    'quote_malformed',
    { bytes: grow([AUTH_LENGTH_AT, OUTER_LENGTH_AT]) },
  ],
  'an auth data length beyond the end': [
    'parse',
    'quote_malformed',
    { bytes: (q) => q.fill(0xff, AUTH_LENGTH_AT, AUTH_LENGTH_AT + 4) },
  ],
  'certificates that are not ASCII': [
    'parse',
    'quote_malformed',
    { quote: { chain: `é${vendor.pckChain()}` } },
  ],
  'version 2': ['parse', 'quote_version_unsupported', { quote: { version: 2 } }],
  'a P-384 attestation key': [
    'parse',
    'quote_key_type_unsupported',
    { quote: { attestationKeyType: 3 } },
  ],
  'an unknown TEE type': ['parse', 'quote_tee_type_unsupported', { quote: { teeType: 0x82 } }],
  'a body descriptor that lies about its size': [
    'parse',
    'quote_body_unsupported',
    { quote: { version: 5, bodySize: 584 } },
  ],
  'another vendor of quoting enclaves': [
    'parse',
    'qe_vendor_unknown',
    { quote: { qeVendorId: '00'.repeat(16) } },
  ],
  'certification data of an unknown type': [
    'parse',
    'certification_data_unsupported',
    { quote: { certificationType: 7 } },
  ],
  'a PCK leaf alone, with no chain brought along': [
    'parse',
    'certification_data_unsupported',
    { quote: { certificationType: 4, chain: vendor.certificates.leaf.pem } },
  ],
  'a PCK leaf alone, with the chain of another platform': [
    'pck_chain',
    'certificate_chain_mismatch',
    {
      quote: { certificationType: 4, chain: vendor.certificates.leaf.pem },
      edit: bringing(stranger.pckChain()),
    },
  ],
  'no PCK leaf where the type says there is one': [
    'pck_chain',
    'certificate_chain_mismatch',
    { quote: { certificationType: 4, chain: '' }, edit: bringing(vendor.pckChain()) },
  ],
  'an encrypted PPID of the wrong length': [
    'parse',
    'quote_malformed',
    { quote: { certificationType: 3, chain: 'a'.repeat(403) }, edit: bringing(vendor.pckChain()) },
  ],
  'a PPID, with the chain of another platform under the same root': [
    'qe_report',
    'qe_report_signature_invalid',
    {
      quote: { certificationType: 1, chain: 'a'.repeat(36) },
      edit: bringing(vendor.pckChain({ leaf: vendor.issue('leaf', { key: newSigningKey() }) })),
    },
  ],
  'certification data of another outer type': [
    'parse',
    'quote_malformed',
    { quote: { outerType: 5 } },
  ],
  'no certificates': ['pck_chain', 'certificate_chain_length', { quote: { chain: '' } }],
  'a chain without the root': [
    'pck_chain',
    'certificate_chain_length',
    { quote: { chain: leaf.pem + intermediate.pem } },
  ],
  'a fourth certificate': [
    'pck_chain',
    'certificate_chain_length',
    { quote: { chain: vendor.pckChain() + rootCertificate.pem } },
  ],
  'text between certificates': [
    'pck_chain',
    'certificate_malformed',
    { quote: { chain: `${leaf.pem}hello\n${intermediate.pem}${rootCertificate.pem}` } },
  ],
  'another root of the same name': ['pck_chain', 'certificate_root_untrusted', { from: stranger }],
  'a leaf with another name': [
    'pck_chain',
    'certificate_name_mismatch',
    chainWith('leaf', { subject: intelName('Intel SGX TCB Signing') }),
  ],
  'an intermediate with another name': [
    'pck_chain',
    'certificate_name_mismatch',
    chainWith('intermediate', { subject: intelName('Intel SGX Something CA') }),
  ],
  'a leaf that names another issuer': [
    'pck_chain',
    'certificate_name_mismatch',
    chainWith('leaf', { issuer: intelName('Intel SGX PCK Processor CA') }),
  ],
  'a leaf signed by another key': [
    'pck_chain',
    'certificate_signature_invalid',
    chainWith('leaf', { signer: newSigningKey() }),
  ],
  'an intermediate signed by another key': [
    'pck_chain',
    'certificate_signature_invalid',
    chainWith('intermediate', { signer: newSigningKey() }),
  ],
  'a leaf that states another algorithm inside': [
    'pck_chain',
    'certificate_signature_invalid',
    chainWith('leaf', { innerAlgorithm: sequence(oid('1.2.840.10045.4.3.3')) }),
  ],
  'an intermediate that is no CA': [
    'pck_chain',
    'certificate_role_invalid',
    chainWith('intermediate', { constraints: { ca: false, pathLength: null } }),
  ],
  'an intermediate that may not certify': [
    'pck_chain',
    'certificate_role_invalid',
    chainWith('intermediate', { keyUsage: KEY_USAGE.signing }),
  ],
  'a leaf that is a CA': [
    'pck_chain',
    'certificate_role_invalid',
    chainWith('leaf', { constraints: { ca: true, pathLength: 0 } }),
  ],
  'a leaf that does not say it is no CA': [
    'pck_chain',
    'certificate_role_invalid',
    chainWith('leaf', { constraints: null }),
  ],
  'a leaf that may not sign': [
    'pck_chain',
    'certificate_role_invalid',
    chainWith('leaf', { keyUsage: KEY_USAGE.certifying }),
  ],
  'an unknown critical extension': [
    'pck_chain',
    'certificate_critical_extension',
    chainWith('leaf', { extensions: [UNKNOWN_CRITICAL] }),
  ],
  'an expired leaf': [
    'pck_chain',
    'certificate_not_valid_now',
    chainWith('leaf', { notAfter: vendor.now - 1 }),
  ],
  'a leaf of tomorrow': [
    'pck_chain',
    'certificate_not_valid_now',
    chainWith('leaf', { notBefore: vendor.now + 1 }),
  ],
  'an expired intermediate': [
    'pck_chain',
    'certificate_not_valid_now',
    chainWith('intermediate', { notAfter: vendor.now - 1 }),
  ],
  'a leaf without the SGX extension': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', { sgxExtension: null }),
  ],
  'an SGX extension with an entry of another arc': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: sgxExtension(vendor.platform, {
        entries: (entries) => [
          ...entries,
          sequence(oid('1.2.3.4'), octetString(new Uint8Array(1))),
        ],
      }),
    }),
  ],
  'an SGX extension with a nineteenth TCB entry': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: sgxExtension(vendor.platform, {
        tcbEntries: (entries) => [...entries, sgxEntry('2.19', integer(1))],
      }),
    }),
  ],
  'an SGX extension with bytes after it': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: Buffer.concat([sgxExtension(vendor.platform), Uint8Array.of(0x05, 0x00)]),
    }),
  ],
  'an SGX extension without FMSPC': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(4, null),
  ],
  'an SGX extension without the SGX type': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(5, null),
  ],
  'an SGX extension without the platform instance, under the Platform CA': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(6, null),
  ],
  'an SGX extension without the configuration, under the Platform CA': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(7, null),
  ],
  'an SGX extension of five entries, under the Platform CA': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: sgxExtension(vendor.platform, { entries: (entries) => entries.slice(0, 5) }),
    }),
  ],
  'an SGX extension of four entries, under the root of Intel': [
    'pck_chain',
    'pck_extension_malformed',
    { ...SHORT_PROFILE, under: AS_INTEL },
  ],
  'an FMSPC of seven bytes': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(4, sgxEntry('4', octetString(new Uint8Array(7)))),
  ],
  'a PPID of the wrong type': [
    'pck_chain',
    'pck_extension_malformed',
    extensionWith(1, sgxEntry('1', boolean(true))),
  ],
  'a duplicate entry in the SGX extension': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: sgxExtension(vendor.platform, {
        entries: (entries) => [...entries, ...entries.slice(3, 4)],
      }),
    }),
  ],
  'an SVN above 255': [
    'pck_chain',
    'pck_extension_malformed',
    chainWith('leaf', {
      sgxExtension: sgxExtension({
        ...vendor.platform,
        components: [256, ...vendor.platform.components.slice(1)],
      }),
    }),
  ],
  'a root CRL of garbage': [
    'crl',
    'crl_malformed',
    { edit: (collateral) => ({ ...collateral, root_ca_crl: '3000' }) },
  ],
  'a PCK CRL in place of the root CRL': [
    'crl',
    'crl_issuer_mismatch',
    { edit: (collateral) => ({ ...collateral, root_ca_crl: collateral.pck_crl }) },
  ],
  'a root CRL in place of the PCK CRL': [
    'crl',
    'crl_issuer_mismatch',
    { edit: (collateral) => ({ ...collateral, pck_crl: collateral.root_ca_crl }) },
  ],
  'a PCK CRL with another key id': [
    'crl',
    'crl_issuer_mismatch',
    { collateral: { pckCrl: { authorityKeyId: new Uint8Array(20) } } },
  ],
  'a PCK CRL issuer that is not the one of the quote': [
    'crl',
    'crl_issuer_mismatch',
    { collateral: { pckCrlChain: stranger.certificates.intermediate.pem } },
  ],
  'a PCK CRL signed by another key': [
    'crl',
    'crl_signature_invalid',
    { collateral: { pckCrl: { signer: newSigningKey() } } },
  ],
  'a root CRL signed by another key': [
    'crl',
    'crl_signature_invalid',
    { collateral: { rootCrl: { signer: newSigningKey() } } },
  ],
  'a stale PCK CRL': [
    'crl',
    'crl_not_valid_now',
    { collateral: { pckCrl: { nextUpdate: vendor.now - 1 } } },
  ],
  'a stale root CRL': [
    'crl',
    'crl_not_valid_now',
    { collateral: { rootCrl: { nextUpdate: vendor.now - 1 } } },
  ],
  'a PCK CRL of tomorrow': [
    'crl',
    'crl_not_valid_now',
    { collateral: { pckCrl: { thisUpdate: vendor.now + 1 } } },
  ],
  'a PCK CRL that never goes stale': [
    'crl',
    'crl_not_valid_now',
    { collateral: { pckCrl: { nextUpdate: null } } },
  ],
  'a delta CRL': [
    'crl',
    'crl_extension_unsupported',
    { collateral: { pckCrl: { extensions: [UNKNOWN_CRITICAL] } } },
  ],
  'a revoked PCK certificate': [
    'crl',
    'certificate_revoked',
    { collateral: { pckCrl: { revoked: [leaf.serial] } } },
  ],
  'a revoked PCK CA': [
    'crl',
    'certificate_revoked',
    { collateral: { rootCrl: { revoked: [intermediate.serial] } } },
  ],
  'a revoked TCB signing certificate': [
    'tcb_signing_chain',
    'certificate_revoked',
    { collateral: { rootCrl: { revoked: [tcbSigning.serial] } } },
  ],
  'TCB info signed by a PCK certificate': [
    'tcb_signing_chain',
    'certificate_name_mismatch',
    { collateral: { tcbInfo: { signer: leaf.key, chain: leaf.pem + rootCertificate.pem } } },
  ],
  'TCB info signed by another role under the root': [
    'tcb_signing_chain',
    'certificate_name_mismatch',
    {
      collateral: {
        tcbInfo: { chain: signingChain({ subject: intelName('Intel SGX PCK Certificate') }) },
      },
    },
  ],
  'a TCB signing chain of one': [
    'tcb_signing_chain',
    'certificate_chain_length',
    { collateral: { tcbInfo: { chain: tcbSigning.pem } } },
  ],
  'a TCB signing chain to another root': [
    'tcb_signing_chain',
    'certificate_signature_invalid',
    {
      collateral: {
        tcbInfo: { chain: tcbSigning.pem + stranger.certificates.root.pem },
      },
    },
  ],
  'a whole TCB signing chain of another root': [
    'tcb_signing_chain',
    'certificate_root_untrusted',
    {
      collateral: {
        tcbInfo: {
          signer: stranger.certificates.tcbSigning.key,
          chain: stranger.certificates.tcbSigning.pem + stranger.certificates.root.pem,
        },
      },
    },
  ],
  'an expired TCB signing certificate': [
    'tcb_signing_chain',
    'certificate_not_valid_now',
    { collateral: { tcbInfo: { chain: signingChain({ notAfter: vendor.now - 1 }) } } },
  ],
  'a QE identity chain of another root': [
    'tcb_signing_chain',
    'certificate_root_untrusted',
    {
      collateral: {
        qeIdentity: {
          signer: stranger.certificates.tcbSigning.key,
          chain: stranger.certificates.tcbSigning.pem + stranger.certificates.root.pem,
        },
      },
    },
  ],
  'TCB info edited after it was signed': [
    'tcb_info',
    'tcb_info_signature_invalid',
    { collateral: { tcbInfo: { served: (text) => text.replace('OutOfDate', 'UpToDate') } } },
  ],
  'TCB info with white space added': [
    'tcb_info',
    'tcb_info_signature_invalid',
    { collateral: { tcbInfo: { served: (text) => `${text} ` } } },
  ],
  'TCB info signed by another key': [
    'tcb_info',
    'tcb_info_signature_invalid',
    { collateral: { tcbInfo: { signer: newSigningKey() } } },
  ],
  'TCB info with a duplicate member': [
    'parse',
    'json_malformed',
    { collateral: { tcbInfo: { text: (text) => text.replace('{', '{"id":"TDX",') } } },
  ],
  'TCB info that is no JSON': [
    'parse',
    'json_malformed',
    { collateral: { tcbInfo: { text: () => 'hello' } } },
  ],
  'TCB info without levels': [
    'tcb_info',
    'tcb_info_malformed',
    { collateral: { tcbInfo: { fields: { tcbLevels: [] } } } },
  ],
  'TCB info with a broken date': [
    'parse',
    'time_malformed',
    { collateral: { tcbInfo: { fields: { nextUpdate: 'never' } } } },
  ],
  'stale TCB info': [
    'tcb_info',
    'tcb_info_not_valid_now',
    { collateral: { tcbInfo: { fields: { nextUpdate: '2026-11-19T23:59:59Z' } } } },
  ],
  'TCB info of tomorrow': [
    'tcb_info',
    'tcb_info_not_valid_now',
    { collateral: { tcbInfo: { fields: { issueDate: '2026-11-20T00:00:01Z' } } } },
  ],
  'TCB info for SGX': [
    'tcb_info',
    'tcb_info_wrong_tee',
    { collateral: { tcbInfo: { fields: { id: 'SGX' } } } },
  ],
  'TCB info of an unknown version': [
    'tcb_info',
    'tcb_info_malformed',
    { collateral: { tcbInfo: { fields: { version: 4 } } } },
  ],
  'TCB info of the version that knew SGX alone': [
    'tcb_info',
    'tcb_info_wrong_tee',
    { collateral: { tcbInfo: { fields: { version: 2, tcbLevels: [levelV2()] } } } },
  ],
  'TCB info of version 2 without a component': [
    'tcb_info',
    'tcb_info_malformed',
    { collateral: { tcbInfo: { fields: { version: 2, tcbLevels: [levelV2(15)] } } } },
  ],
  'TCB info for another FMSPC': [
    'tcb_info',
    'tcb_info_wrong_platform',
    { collateral: { tcbInfo: { fields: { fmspc: '00806f050000' } } } },
  ],
  'TCB info for another PCE': [
    'tcb_info',
    'tcb_info_wrong_platform',
    { collateral: { tcbInfo: { fields: { pceId: '0100' } } } },
  ],
  'two TCB levels that are the same': [
    'tcb_info',
    'tcb_info_malformed',
    {
      collateral: {
        tcbInfo: {
          fields: {
            tcbLevels: ['UpToDate', 'OutOfDate'].map((tcbStatus) =>
              platformLevel({
                sgx: vendor.platform.components,
                pcesvn: vendor.platform.pcesvn,
                tdx: TDX_COMPONENTS,
                tcbStatus,
              }),
            ),
          },
        },
      },
    },
  ],
  'a QE identity edited after it was signed': [
    'qe_identity',
    'qe_identity_signature_invalid',
    {
      collateral: {
        qeIdentity: { served: (text) => text.replace('"isvprodid":2', '"isvprodid":1') },
      },
    },
  ],
  'a QE identity with a short mask': [
    'qe_identity',
    'qe_identity_malformed',
    { collateral: { qeIdentity: { fields: { attributesMask: 'FB' } } } },
  ],
  'a stale QE identity': [
    'qe_identity',
    'qe_identity_not_valid_now',
    { collateral: { qeIdentity: { fields: { nextUpdate: '2026-11-19T23:59:59Z' } } } },
  ],
  'the identity of the SGX quoting enclave': [
    'qe_identity',
    'qe_identity_wrong_enclave',
    { collateral: { qeIdentity: { fields: { id: 'QE' } } } },
  ],
  'a QE report signed by another key': [
    'qe_report',
    'qe_report_signature_invalid',
    { quote: { qeSigner: newSigningKey() } },
  ],
  'a quoting enclave of another signer': [
    'qe_report',
    'qe_report_mismatch',
    { quote: { qe: { mrSigner: '11'.repeat(32) } } },
  ],
  'a quoting enclave of another product': [
    'qe_report',
    'qe_report_mismatch',
    { quote: { qe: { isvProdId: 1 } } },
  ],
  'a debug quoting enclave': [
    'qe_report',
    'qe_report_mismatch',
    { quote: { qe: { attributes: '1700000000000000e700000000000000' } } },
  ],
  'a quoting enclave with another misc select': [
    'qe_report',
    'qe_report_mismatch',
    { quote: { qe: { miscSelect: '01000000' } } },
  ],
  'a QE report that vouches for another key': [
    'qe_report',
    'qe_key_binding_invalid',
    { quote: { qe: { reportData: '22'.repeat(64) } } },
  ],
  'a header changed after it was signed': [
    'quote_signature',
    'quote_signature_invalid',
    { bytes: flip(30) },
  ],
  'a body changed after it was signed': [
    'quote_signature',
    'quote_signature_invalid',
    { bytes: flip(48 + 136) },
  ],
  'a quote signed by another key': [
    'quote_signature',
    'quote_signature_invalid',
    { quote: { quoteSigner: newSigningKey() } },
  ],
  'a TDX module by another signer': [
    'tdx_module',
    'tdx_module_mismatch',
    { quote: { mrSignerSeam: '33'.repeat(48) } },
  ],
  'a TDX module with attributes': [
    'tdx_module',
    'tdx_module_mismatch',
    { quote: { seamAttributes: '0100000000000000' } },
  ],
  'a TDX module of an unknown major version': [
    'tdx_module',
    'tdx_module_mismatch',
    { quote: { teeTcbSvn: '0a090300000000000000000000000000' } },
  ],
}

test('default evidence of the simulated vendor is genuine and wanted', async () => {
  const quote = await attempt({})
  expect(quote.tcb).toMatchObject({ status: 'UpToDate', advisoryIds: [], evaluationDataNumber: 20 })
  expect(acceptQuote(quote, DEFAULT_POLICY).workload).toBe('any')
  expect(toHex(quote.reportData)).toBe(REPORT_DATA)
  expect(quote.expiresAt).toBe(vendor.now + 29 * DAY)
})

test.for([null, 'text', {}, { ...vendor.collateral(), tcb_info: 1 }])(
  'collateral %j is malformed',
  (value) => {
    expect(() => parseCollateral(value)).toThrow(
      expect.objectContaining({ code: 'collateral_malformed' }),
    )
  },
)

test('a test PKI may issue PCK certificates of the short profile, and Intel those of the full', async () => {
  expect((await attempt(SHORT_PROFILE)).root).toBe('test-pki')
  expect((await attempt({ under: AS_INTEL })).root).toBe('intel')
})

test('zero padding after the quote is what platforms append, and is reported', async () => {
  expect((await attempt({ quote: { padding: 500 } })).padding).toBe(500)
  expect((await attempt({})).padding).toBe(0)
})

test.for([
  [1, 'a'.repeat(36)],
  [2, 'a'.repeat(276)],
  [3, 'a'.repeat(404)],
  [4, vendor.certificates.leaf.pem],
] as const)('certification data of type %i verifies with a chain brought along', async (given) => {
  const [certificationType, chain] = given
  const edit = bringing(vendor.pckChain())
  expect((await attempt({ quote: { certificationType, chain }, edit })).tcb.status).toBe('UpToDate')
})

test('a chain brought along never replaces the one of the quote', async () => {
  const edit = bringing(stranger.pckChain())
  expect((await attempt({ edit })).tcb.status).toBe('UpToDate')
})

describe('a quote is refused for', () => {
  test.for(Object.entries(REFUSALS))('%s', async ([, [step, code, given]]) => {
    await expect(attempt(given)).rejects.toMatchObject({ name: 'EvidenceError', step, code })
  })
})

describe('TCB status', () => {
  const STATUSES: Record<string, [status: string, attempt: Attempt]> = {
    'follows the platform level': [
      'OutOfDateConfigurationNeeded',
      { collateral: { platformStatus: 'OutOfDateConfigurationNeeded' } },
    ],
    'is lowered by the TDX module': ['OutOfDate', { collateral: { moduleStatus: 'OutOfDate' } }],
    'is lowered by the quoting enclave': ['OutOfDate', { collateral: { qeStatus: 'OutOfDate' } }],
    'keeps the need for configuration when lowered': [
      'OutOfDateConfigurationNeeded',
      { collateral: { platformStatus: 'ConfigurationNeeded', qeStatus: 'OutOfDate' } },
    ],
    'is revoked by any component': ['Revoked', { collateral: { moduleStatus: 'Revoked' } }],
    'is not supported below every platform level': [
      'TcbNotSupported',
      { quote: { teeTcbSvn: '0a010000000000000000000000000000' } },
    ],
    'is not supported below every QE level': ['TcbNotSupported', { quote: { qe: { isvSvn: 1 } } }],
    'is not supported below every module level': [
      'TcbNotSupported',
      { quote: { teeTcbSvn: '01010300000000000000000000000000' } },
    ],
    'does not depend on the order of levels': [
      'UpToDate',
      {
        collateral: {
          qeIdentity: {
            fields: { tcbLevels: [isvLevel(2, 'OutOfDate'), isvLevel(4, 'UpToDate')] },
          },
        },
      },
    ],
    'advises a relaunch where only the launch was old': [
      'RelaunchAdvised',
      {
        quote: {
          version: 5,
          teeTcbSvn: '04010300000000000000000000000000',
          teeTcbSvn2: '0a010300000000000000000000000000',
        },
      },
    ],
  }

  test.for(Object.entries(STATUSES))('%s', async ([, [status, given]]) => {
    expect((await attempt(given)).tcb.status).toBe(status)
  })

  test('tells launch and current apart where the quote does', async () => {
    const { tcb } = await attempt({
      quote: { version: 5, teeTcbSvn: '04010300000000000000000000000000', ...CURRENT_MODULE },
    })
    expect(tcb).toMatchObject({ launchStatus: 'OutOfDate', currentStatus: 'UpToDate' })
    expect((await attempt({})).tcb).toMatchObject({
      launchStatus: 'UpToDate',
      currentStatus: null,
      tcbInfoVersion: 3,
    })
  })

  test('carries the advisories of the matched level', async () => {
    const components = vendor.platform.components.map((svn) => Math.max(0, svn - 1))
    const old = createTeeVendor({ platform: { components } })
    const quote = await verifyQuote({
      quote: await old.quote({ reportData: REPORT_DATA }),
      collateral: old.collateral({
        tcbInfo: {
          fields: {
            tcbLevels: [
              platformLevel({
                sgx: vendor.platform.components,
                pcesvn: 11,
                tdx: TDX_COMPONENTS,
                tcbStatus: 'UpToDate',
              }),
              platformLevel({
                sgx: components,
                pcesvn: 11,
                tdx: TDX_COMPONENTS,
                tcbStatus: 'OutOfDate',
                advisoryIDs: ['INTEL-SA-00002', 'INTEL-SA-00001'],
              }),
            ],
          },
        },
      }),
      now: old.now,
      trustedRoot: await testPkiRoot(old.rootPem),
    })
    expect(quote.tcb).toMatchObject({
      status: 'OutOfDate',
      advisoryIds: ['INTEL-SA-00001', 'INTEL-SA-00002'],
    })
  })
})
