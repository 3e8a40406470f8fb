import { randomBytes } from 'node:crypto'
import type { Bytes, Collateral, UnixSeconds } from '@vouchgate/attestation'
import type { QuoteSource } from '../../enclave/index.ts'
import { TEST_TIME } from './clock.ts'
import { buildCollateral, type CollateralOverrides } from './collateral.ts'
import { startPcsServer, type PcsServer } from './pcs-server.ts'
import {
  ECDSA_WITH_SHA256,
  intelName,
  issueCertificate,
  KEY_USAGE,
  newSigningKey,
  type CertificateFields,
  type IssuedCertificate,
  type SigningKey,
} from './pki.ts'
import { buildQuote, type QuoteFields } from './quote.ts'
import { DEFAULT_PLATFORM, sgxExtension, type SgxPlatform } from './sgx-extension.ts'

export type { CollateralOverrides } from './collateral.ts'
export type { PcsServer } from './pcs-server.ts'
export type { QuoteFields } from './quote.ts'

/**
 * A TEE vendor made of software: Intel's formats, names and roles under a root of its own.
 *
 * SIMULATED ROOTS. Nothing here is trusted by any production policy: the default policy pins Intel's root
 * certificate, and this one is accepted only where a policy carries its PEM by name.
 */
export interface TeeVendor {
  readonly now: UnixSeconds
  readonly rootPem: string
  readonly platform: SgxPlatform
  readonly certificates: Readonly<Record<CertificateRole, IssuedCertificate>>
  /** Signs the quotes; vouched for by the QE report. */
  readonly attestationKey: SigningKey
  /** Issues the certificate of this role again, with the same key and these differences. */
  issue(role: CertificateRole, overrides?: Partial<CertificateFields>): IssuedCertificate
  /** Leaf, PCK CA, root as in a quote, with certificates replaced. */
  pckChain(replaced?: Partial<Record<CertificateRole, IssuedCertificate>>): string
  collateral(overrides?: CollateralOverrides): Collateral
  quote(fields: QuoteFields): Promise<Bytes>
  /** Quotes like a TD with these fields; the object is read at every quote. */
  quoteSource(fields?: Omit<QuoteFields, 'reportData'>): QuoteSource
  pcsServer(): Promise<PcsServer>
}

export type CertificateRole = 'root' | 'intermediate' | 'leaf' | 'tcbSigning'

export interface TeeVendorOptions {
  /** The time that certificates and collateral are valid around. Default 2026-11-20T00:00:00Z. */
  readonly now?: UnixSeconds
  readonly platform?: Partial<SgxPlatform>
  /** Differences of the certificates that everything of this vendor uses. */
  readonly certificates?: Partial<Record<CertificateRole, Partial<CertificateFields>>>
}

const DAY = 86_400
const YEAR = 365 * DAY
const ROOT_CRL_URL = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der'
const PCK_CRL_URL = 'https://api.trustedservices.intel.com/sgx/certification/v4/pckcrl'

type Keys = Readonly<Record<CertificateRole, SigningKey>>

export function createTeeVendor(options: TeeVendorOptions = {}): TeeVendor {
  const { now = TEST_TIME, certificates: differences = {} } = options
  const platform: SgxPlatform = { ...DEFAULT_PLATFORM, ...options.platform }
  const keys: Keys = {
    root: newSigningKey(),
    intermediate: newSigningKey(),
    leaf: newSigningKey(),
    tcbSigning: newSigningKey(),
  }
  const attestationKey = newSigningKey()
  const leafSerial = randomBytes(20)
  const issue: TeeVendor['issue'] = (role, overrides = {}) =>
    issueCertificate({
      ...certificateFields(role, keys, platform, now),
      ...(role === 'leaf' ? { serial: leafSerial } : {}),
      ...differences[role],
      ...overrides,
    })
  const certificates = {
    root: issue('root'),
    intermediate: issue('intermediate'),
    leaf: issue('leaf'),
    tcbSigning: issue('tcbSigning'),
  }
  const pckChain: TeeVendor['pckChain'] = (replaced = {}) => {
    const { leaf, intermediate, root } = { ...certificates, ...replaced }
    return leaf.pem + intermediate.pem + root.pem
  }
  const collateral: TeeVendor['collateral'] = (overrides) =>
    buildCollateral({ now, platform, ...certificates }, overrides)
  const quote: TeeVendor['quote'] = async (fields) =>
    buildQuote(fields, { attestationKey, pckKey: keys.leaf, chain: pckChain() })
  return {
    now,
    rootPem: certificates.root.pem,
    platform,
    certificates,
    attestationKey,
    issue,
    pckChain,
    collateral,
    quote,
    quoteSource: (fields = {}) => ({
      kind: 'test',
      quote: async (reportData) => ({
        quote: await quote({ ...fields, reportData }),
        eventLog: null,
        vmConfig: null,
      }),
    }),
    pcsServer: () => startPcsServer({ collateral, fmspc: platform.fmspc, ca: platform.ca }),
  }
}

/** The certificates as Intel issues them (tdx.md §2). */
function certificateFields(
  role: CertificateRole,
  keys: Keys,
  platform: SgxPlatform,
  now: UnixSeconds,
): CertificateFields {
  const root = intelName('Intel SGX Root CA')
  const caName = platform.ca === 'platform' ? 'Platform' : 'Processor'
  const pckCa = intelName(`Intel SGX PCK ${caName} CA`)
  const key = keys[role]
  const common = {
    issuer: root,
    serial: key.keyId,
    key,
    signer: keys.root,
    innerAlgorithm: ECDSA_WITH_SHA256,
    outerAlgorithm: ECDSA_WITH_SHA256,
    authorityKeyId: keys.root.keyId,
    subjectKeyId: key.keyId,
    crlUrl: ROOT_CRL_URL,
    sgxExtension: null,
    extensions: [],
  }
  const authority = { keyUsage: KEY_USAGE.certifying, notBefore: now - 8 * YEAR }
  const signer = { keyUsage: KEY_USAGE.signing, constraints: { ca: false, pathLength: null } }
  switch (role) {
    case 'root': {
      const constraints = { ca: true, pathLength: 1 }
      return { ...common, ...authority, subject: root, constraints, notAfter: now + 23 * YEAR }
    }
    case 'intermediate': {
      const constraints = { ca: true, pathLength: 0 }
      return { ...common, ...authority, subject: pckCa, constraints, notAfter: now + 7 * YEAR }
    }
    case 'tcbSigning': {
      const subject = intelName('Intel SGX TCB Signing')
      return { ...common, ...signer, subject, notBefore: now - YEAR, notAfter: now + 6 * YEAR }
    }
    case 'leaf':
      return {
        ...common,
        ...signer,
        subject: intelName('Intel SGX PCK Certificate'),
        issuer: pckCa,
        signer: keys.intermediate,
        authorityKeyId: keys.intermediate.keyId,
        crlUrl: `${PCK_CRL_URL}?ca=${platform.ca}&encoding=der`,
        sgxExtension: sgxExtension(platform),
        notBefore: now - 30 * DAY,
        notAfter: now + 7 * YEAR,
      }
  }
}
