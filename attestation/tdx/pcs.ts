import { decodeUtf8, encodeUtf8, fromHex, toHex } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { memberTexts, parseJson } from '../json.ts'
import { parsePemChain } from '../x509.ts'
import { PLATFORM_CA_NAME } from './chain.ts'
import type { Collateral } from './collateral.ts'
import { pckIdentity } from './pck.ts'
import { parseQuote, type TeeType } from './quote.ts'

/** What decides which collateral a quote needs. Read from an unverified quote: good for fetching, not for trust. */
export interface CollateralKey {
  readonly tee: TeeType
  /** 12 hex digits. */
  readonly fmspc: string
  readonly ca: 'platform' | 'processor'
}

export async function collateralKey(quote: Uint8Array): Promise<CollateralKey> {
  const { body, pckChain } = parseQuote(quote)
  const [leaf, intermediate] = await parsePemChain(pckChain)
  if (leaf === undefined || intermediate === undefined) {
    throw new EvidenceError('certificate_chain_length')
  }
  const ca = intermediate.commonName === PLATFORM_CA_NAME ? 'platform' : 'processor'
  return { tee: body.tee, fmspc: pckIdentity(leaf, intermediate).fmspc, ca }
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
const HEX_OF_SEQUENCE = encodeUtf8('30')

/** Intel serves DER; PCCS mirrors may serve the hex text of it. */
function crlHex(body: Uint8Array): string {
  const isText = body[0] === HEX_OF_SEQUENCE[0] && body[1] === HEX_OF_SEQUENCE[1]
  if (isText) return toHex(fromHex(decodeUtf8(body).trim()))
  if (body[0] !== DER_SEQUENCE) throw new EvidenceError('collateral_malformed')
  return toHex(body)
}
