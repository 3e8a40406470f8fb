import { decodeUtf8, fromBase64, fromHex, toHex } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { memberTexts, parseJson } from '../json.ts'
import { parsePemChain } from '../x509.ts'
import { PLATFORM_CA_NAME } from './chain.ts'
import { parseCollateral, type Collateral } from './collateral.ts'
import { pckIdentity } from './pck.ts'
import { parseQuote, type TeeType } from './quote.ts'

/** What decides which collateral a quote needs. Read from an unverified quote: good for fetching, not for trust. */
export interface CollateralKey {
  readonly tee: TeeType
  /** 12 hex digits. */
  readonly fmspc: string
  readonly ca: 'platform' | 'processor'
}

export interface QuoteCollateralKey extends CollateralKey {
  /** SHA-256 of the certificate that the quote's own chain ends in, hex: which root its collateral must have. */
  readonly rootSha256: string
}

/** Throws where the quote cannot be read or does not carry its whole chain. */
export async function collateralKey(quote: Uint8Array): Promise<QuoteCollateralKey> {
  const { body, certification } = parseQuote(quote)
  const [leaf, intermediate, root] = parsePemChain(
    certification.type === 'pck-chain' ? certification.pem : '',
  )
  if (leaf === undefined || intermediate === undefined || root === undefined) {
    throw new EvidenceError('certificate_chain_length')
  }
  const ca = intermediate.commonName === PLATFORM_CA_NAME ? 'platform' : 'processor'
  const { fmspc } = pckIdentity(leaf, intermediate)
  return { tee: body.tee, fmspc, ca, rootSha256: await root.fingerprint() }
}

/** `tdx/00806f050000/platform`: a key as bundles, logs and people write it. */
export type CollateralName = `${TeeType}/${string}/${CollateralKey['ca']}`

export const collateralName = ({ tee, fmspc, ca }: CollateralKey): CollateralName =>
  `${tee}/${fmspc}/${ca}`

const NAME = /^(?:(tdx)|sgx)\/([0-9a-f]{12})\/(?:(platform)|processor)$/

/**
 * Collateral of many platforms, one JSON object by name: what a gateway without a way to Intel starts from.
 * Throws `collateral_malformed`. Nothing is verified here.
 */
export function parseCollateralBundle(value: unknown): ReadonlyMap<CollateralName, BundleEntry> {
  if (!isRecord(value)) throw new EvidenceError('collateral_malformed')
  return new Map(
    Object.entries(value).map(([name, document]) => {
      const key = parseName(name)
      return [collateralName(key), { key, collateral: parseCollateral(document) }]
    }),
  )
}

export interface BundleEntry {
  readonly key: CollateralKey
  readonly collateral: Collateral
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function parseName(name: string): CollateralKey {
  const [, tdx, fmspc, platform] = NAME.exec(name) ?? []
  if (fmspc === undefined) throw new EvidenceError('collateral_malformed')
  return {
    tee: tdx === undefined ? 'sgx' : 'tdx',
    fmspc,
    ca: platform === undefined ? 'processor' : 'platform',
  }
}

/** Paths of Intel's PCS API v4 and of its mirrors, without the root CRL, which is served elsewhere. */
export function pcsRoutes(key: CollateralKey): { tcb: string; qeIdentity: string; pckCrl: string } {
  return {
    tcb: `/${key.tee}/certification/v4/tcb?fmspc=${key.fmspc}`,
    qeIdentity: `/${key.tee}/certification/v4/qe/identity`,
    pckCrl: `/sgx/certification/v4/pckcrl?ca=${key.ca}&encoding=der`,
  }
}

/** Headers that carry the issuer chain of each route, percent-encoded PEM. */
export const ISSUER_CHAIN_HEADERS = {
  tcb: 'tcb-info-issuer-chain',
  qeIdentity: 'sgx-enclave-identity-issuer-chain',
  pckCrl: 'sgx-pck-crl-issuer-chain',
} as const

export interface PcsAnswer {
  readonly body: Uint8Array
  /** The raw header value. */
  readonly issuerChain: string
}

export interface PcsAnswers {
  readonly tcb: PcsAnswer
  readonly qeIdentity: PcsAnswer
  readonly pckCrl: PcsAnswer
  readonly rootCrl: Uint8Array
}

/** Collateral out of the four answers, byte for byte. Nothing is verified here. Throws `collateral_malformed`. */
export function assembleCollateral(answers: PcsAnswers): Collateral {
  const tcb = signedDocument(answers.tcb.body, 'tcbInfo')
  const qeIdentity = signedDocument(answers.qeIdentity.body, 'enclaveIdentity')
  return {
    pck_crl_issuer_chain: chain(answers.pckCrl.issuerChain),
    root_ca_crl: crlHex(answers.rootCrl),
    pck_crl: crlHex(answers.pckCrl.body),
    tcb_info_issuer_chain: chain(answers.tcb.issuerChain),
    tcb_info: tcb.text,
    tcb_info_signature: tcb.signature,
    qe_identity_issuer_chain: chain(answers.qeIdentity.issuerChain),
    qe_identity: qeIdentity.text,
    qe_identity_signature: qeIdentity.signature,
  }
}

/** `{"<member>":{…},"signature":"<hex>"}`: the signature covers the member's text as served. */
function signedDocument(body: Uint8Array, member: string): { text: string; signature: string } {
  const members = memberTexts(decodeUtf8(body))
  const text = members.get(member)
  const signature = parseJson(members.get('signature') ?? 'null')
  if (text === undefined || typeof signature !== 'string' || members.size !== 2) {
    throw new EvidenceError('collateral_malformed')
  }
  return { text, signature }
}

function chain(header: string): string {
  try {
    return decodeURIComponent(header)
  } catch {
    throw new EvidenceError('collateral_malformed')
  }
}

const DER_SEQUENCE = 0x30
const HEX_TEXT = /^30/
const PEM_TEXT = /^-----BEGIN X509 CRL-----\s([A-Za-z0-9+/=\s]+)-----END X509 CRL-----$/

/** Intel serves DER; PCCS mirrors may serve PEM or the hex text of the DER. */
function crlHex(body: Uint8Array): string {
  if (body[0] === DER_SEQUENCE) return toHex(body)
  const text = decodeUtf8(body).trim()
  if (HEX_TEXT.test(text)) return toHex(fromHex(text.replaceAll(/\s/g, '')))
  const base64 = PEM_TEXT.exec(text)?.[1]
  if (base64 === undefined) throw new EvidenceError('collateral_malformed')
  return toHex(fromBase64(base64.replaceAll(/\s/g, '')))
}
