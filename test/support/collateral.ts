import type { Bytes, Collateral, JsonValue, UnixSeconds } from '@vouchgate/attestation'
import {
  ECDSA_WITH_SHA256,
  issueCrl,
  signRaw,
  type CrlFields,
  type IssuedCertificate,
  type SigningKey,
} from './pki.ts'
import { TD_QE_MRSIGNER } from './quote.ts'
import type { SgxPlatform } from './sgx-extension.ts'

type JsonObject = Readonly<Record<string, JsonValue>>

/** Breaks one signed JSON document, before or after it is signed. */
interface SignedDocumentOverrides {
  /** Members set before signing. */
  readonly fields?: JsonObject
  /** Members left out before signing. */
  readonly without?: readonly string[]
  /** Edits the compact text before it is signed: white space, duplicate members, not JSON. */
  readonly text?: (text: string) => string
  readonly signer?: SigningKey
  /** Replaces the signature (hex of r ‖ s). */
  readonly signature?: string
  /** Edits the text after it was signed. */
  readonly served?: (text: string) => string
  /** PEM in place of [TCB signing, root]. */
  readonly chain?: string
}

export interface CollateralOverrides {
  /** The time that the documents are valid around; default the vendor's. */
  readonly at?: UnixSeconds
  /** Status of the TCB level that a default quote matches: platform, TDX module, QE. */
  readonly platformStatus?: string
  readonly moduleStatus?: string
  readonly qeStatus?: string
  readonly tcbInfo?: SignedDocumentOverrides
  readonly qeIdentity?: SignedDocumentOverrides
  readonly rootCrl?: Partial<CrlFields>
  readonly pckCrl?: Partial<CrlFields>
  /** PEM in place of [PCK CA, root]. */
  readonly pckCrlChain?: string
}

/** What the collateral is made from. */
export interface CollateralIssuer {
  readonly now: UnixSeconds
  readonly platform: SgxPlatform
  readonly root: IssuedCertificate
  readonly intermediate: IssuedCertificate
  readonly tcbSigning: IssuedCertificate
}

const DAY = 86_400
const ZERO_48 = '00'.repeat(48)
const EVALUATION_DATA_NUMBER = 20
const CURRENT = '2026-08-12T00:00:00Z'
const PREVIOUS = '2025-05-14T00:00:00Z'

const isoTime = (at: UnixSeconds): string => `${new Date(at * 1000).toISOString().slice(0, 19)}Z`

/** A level of a TDX module identity or of a QE identity. */
export const isvLevel = (isvsvn: number, tcbStatus: string, tcbDate: string = CURRENT) => ({
  tcb: { isvsvn },
  tcbDate,
  tcbStatus,
})

interface PlatformLevel {
  readonly sgx: readonly number[]
  readonly pcesvn: number
  readonly tdx: readonly number[]
  readonly tcbStatus: string
  readonly tcbDate?: string
  readonly advisoryIDs?: readonly string[]
}

const svns = (list: readonly number[]) => list.map((svn) => ({ svn }))

/** A platform TCB level of the TCB info. */
export function platformLevel(level: PlatformLevel) {
  const { sgx, pcesvn, tdx, tcbStatus, tcbDate = CURRENT, advisoryIDs } = level
  const tcb = { sgxtcbcomponents: svns(sgx), pcesvn, tdxtcbcomponents: svns(tdx) }
  return { tcb, tcbDate, tcbStatus, ...(advisoryIDs === undefined ? {} : { advisoryIDs }) }
}

/** A TCB level as the retired version 2 writes it, with this many components. */
export function levelV2(components = 16) {
  const named = Array.from({ length: components }, (_, index) => [
    `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`,
    0,
  ])
  const tcb: Record<string, number> = { ...Object.fromEntries(named), pcesvn: 0 }
  return { tcb, tcbDate: CURRENT, tcbStatus: 'UpToDate' }
}

/** Overrides that turn the default collateral into that of SGX, with TCB info of this version. */
export const sgxCollateral = (version: 2 | 3): CollateralOverrides => ({
  tcbInfo:
    version === 3
      ? { fields: { id: 'SGX' }, without: ['tdxModule', 'tdxModuleIdentities'] }
      : {
          fields: { version, tcbLevels: [levelV2()] },
          without: ['id', 'tdxModule', 'tdxModuleIdentities'],
        },
  qeIdentity: { fields: { id: 'QE' } },
})

/** The `tdxtcbcomponents` that a default quote meets. */
export const TDX_COMPONENTS: readonly number[] = [5, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]

function moduleIdentity(id: string, tcbLevels: readonly JsonValue[]) {
  const attributesMask = 'FFFFFFFFFFFFFFFF'
  return { id, mrsigner: ZERO_48, attributes: '0000000000000000', attributesMask, tcbLevels }
}

function validity(at: UnixSeconds) {
  return { issueDate: isoTime(at - DAY), nextUpdate: isoTime(at + 29 * DAY) }
}

function tcbInfo(issuer: CollateralIssuer, overrides: CollateralOverrides): JsonObject {
  const { components, pcesvn, fmspc, pceId } = issuer.platform
  const older = components.map((svn) => Math.max(0, svn - 1))
  const { id: _id, tcbLevels: _levels, ...tdxModule } = moduleIdentity('', [])
  return {
    id: 'TDX',
    version: 3,
    ...validity(overrides.at ?? issuer.now),
    fmspc,
    pceId,
    tcbType: 0,
    tcbEvaluationDataNumber: EVALUATION_DATA_NUMBER,
    tdxModule,
    tdxModuleIdentities: [
      moduleIdentity('TDX_03', [isvLevel(3, 'UpToDate')]),
      moduleIdentity('TDX_01', [
        isvLevel(6, overrides.moduleStatus ?? 'UpToDate'),
        isvLevel(2, 'OutOfDate', PREVIOUS),
      ]),
    ],
    tcbLevels: [
      platformLevel({
        sgx: components,
        pcesvn,
        tdx: TDX_COMPONENTS,
        tcbStatus: overrides.platformStatus ?? 'UpToDate',
      }),
      platformLevel({
        sgx: older,
        pcesvn: Math.max(0, pcesvn - 1),
        tdx: TDX_COMPONENTS.map((svn) => Math.max(0, svn - 1)),
        tcbStatus: 'OutOfDate',
        tcbDate: PREVIOUS,
        advisoryIDs: ['INTEL-SA-00001', 'INTEL-SA-00002'],
      }),
    ],
  }
}

function qeIdentity(issuer: CollateralIssuer, overrides: CollateralOverrides): JsonObject {
  return {
    id: 'TD_QE',
    version: 2,
    ...validity(overrides.at ?? issuer.now),
    tcbEvaluationDataNumber: EVALUATION_DATA_NUMBER,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: TD_QE_MRSIGNER.toUpperCase(),
    isvprodid: 2,
    tcbLevels: [isvLevel(4, overrides.qeStatus ?? 'UpToDate'), isvLevel(2, 'OutOfDate', PREVIOUS)],
  }
}

/** The compact text and the signature over exactly its bytes (tdx.md §3.5). */
function signDocument(
  document: JsonObject,
  overrides: SignedDocumentOverrides,
  key: SigningKey,
): { text: string; signature: string } {
  const dropped = new Set(overrides.without)
  const members = Object.entries({ ...document, ...overrides.fields })
  const compact = JSON.stringify(Object.fromEntries(members.filter(([name]) => !dropped.has(name))))
  const text = overrides.text?.(compact) ?? compact
  const signature = signRaw(overrides.signer ?? key, Buffer.from(text))
  return {
    text: overrides.served?.(text) ?? text,
    signature: overrides.signature ?? Buffer.from(signature).toString('hex'),
  }
}

function crl(
  authority: IssuedCertificate,
  overrides: Partial<CrlFields>,
  dates: Pick<CrlFields, 'thisUpdate' | 'nextUpdate'>,
): string {
  const der: Bytes = issueCrl({
    issuer: authority.subject,
    signer: authority.key,
    ...dates,
    revoked: [],
    crlNumber: 1,
    authorityKeyId: authority.key.keyId,
    extensions: [],
    entryExtensions: [],
    innerAlgorithm: ECDSA_WITH_SHA256,
    outerAlgorithm: ECDSA_WITH_SHA256,
    ...overrides,
  })
  return Buffer.from(der).toString('hex')
}

export function buildCollateral(
  issuer: CollateralIssuer,
  overrides: CollateralOverrides = {},
): Collateral {
  const { at = issuer.now, tcbInfo: tcb = {}, qeIdentity: qe = {} } = overrides
  const { root, intermediate, tcbSigning } = issuer
  const signingChain = tcbSigning.pem + root.pem
  const info = signDocument(tcbInfo(issuer, overrides), tcb, tcbSigning.key)
  const identity = signDocument(qeIdentity(issuer, overrides), qe, tcbSigning.key)
  return {
    pck_crl_issuer_chain: overrides.pckCrlChain ?? intermediate.pem + root.pem,
    root_ca_crl: crl(root, overrides.rootCrl ?? {}, {
      thisUpdate: at - 60 * DAY,
      nextUpdate: at + 305 * DAY,
    }),
    pck_crl: crl(intermediate, overrides.pckCrl ?? {}, {
      thisUpdate: at - DAY,
      nextUpdate: at + 29 * DAY,
    }),
    tcb_info_issuer_chain: tcb.chain ?? signingChain,
    tcb_info: info.text,
    tcb_info_signature: info.signature,
    qe_identity_issuer_chain: qe.chain ?? signingChain,
    qe_identity: identity.text,
    qe_identity_signature: identity.signature,
  }
}
