import { encodeUtf8, toHex, type Bytes } from './bytes.ts'
import { DER, derContent, derElements, derOid, type DerElement } from './der.ts'
import { EvidenceError, type EvidenceErrorCode } from './errors.ts'
import { SignedMessage } from './signature.ts'

const ECDSA_WITH_SHA256 = '06082a8648ce3d040302'

/** `SEQUENCE { tbs, algorithm, BIT STRING }`, the frame that certificates and CRLs share (RFC 5280 §4.1, §5.1). */
export interface SignedParts {
  /** The elements inside the signed part. */
  readonly fields: readonly DerElement[]
  /** DER of the signed part. */
  readonly tbs: Uint8Array
  /** Content of the BIT STRING, the count of unused bits in front. */
  readonly signature: Uint8Array
  /** Whether both algorithm identifiers have this content (hex). */
  readonly isAlgorithm: (hex: string) => boolean
}

export interface SignedFrame {
  readonly fields: readonly DerElement[]
  /** Whether this key (x ‖ y of P-256) signed it. */
  readonly isSignedBy: (p256: Bytes | null) => Promise<boolean>
}

/**
 * Splits a certificate or CRL. `algorithmIndex` is the place of the inner algorithm: it stands inside and
 * outside the signed part and only the inside is protected, so both must be the expected one.
 */
export function signedParts(
  der: Uint8Array,
  algorithmIndex: number,
  code: EvidenceErrorCode,
): SignedParts {
  const [outer, ...trailing] = derElements(der, code)
  const [tbs, algorithm, signature, ...rest] = derElements(
    derContent(outer, DER.sequence, code),
    code,
  )
  if (tbs === undefined || trailing.length > 0 || rest.length > 0) throw new EvidenceError(code)
  const fields = derElements(derContent(tbs, DER.sequence, code), code)
  const algorithms = [algorithm, fields[algorithmIndex]].map((element) =>
    toHex(derContent(element, DER.sequence, code)),
  )
  return {
    fields,
    tbs: tbs.bytes,
    signature: derContent(signature, DER.bitString, code),
    isAlgorithm: (expected) => algorithms.every((found) => found === expected),
  }
}

/** A certificate or CRL that is signed with ecdsa-with-SHA256, as all of Intel's are. */
export function signedFrame(
  der: Uint8Array,
  algorithmIndex: number,
  code: EvidenceErrorCode,
): SignedFrame {
  const { fields, tbs, signature, isAlgorithm } = signedParts(der, algorithmIndex, code)
  const signed = new SignedMessage(rawSignature(signature, 32, code), tbs)
  const fits = isAlgorithm(ECDSA_WITH_SHA256)
  return { fields, isSignedBy: async (p256) => fits && signed.isSignedBy(p256) }
}

/**
 * `BIT STRING { SEQUENCE { r INTEGER, s INTEGER } }` as r ‖ s of `size` bytes each. Integers in another than
 * the one DER form are refused, so that one signature has one spelling.
 */
export function rawSignature(bitString: Uint8Array, size: number, code: EvidenceErrorCode): Bytes {
  const [sequence, ...rest] = derElements(bitString.subarray(1), code)
  const integers = derElements(derContent(sequence, DER.sequence, code), code)
  if (bitString[0] !== 0 || rest.length > 0 || integers.length !== 2) throw new EvidenceError(code)
  const raw = new Uint8Array(2 * size)
  for (const [index, element] of integers.entries()) {
    const value = derPositive(element, code)
    if (value.length > size) throw new EvidenceError(code)
    raw.set(value, size * (index + 1) - value.length)
  }
  return raw
}

/** The magnitude of an INTEGER that is neither negative nor padded (X.690 §8.3.2). */
function derPositive(element: DerElement, code: EvidenceErrorCode): Uint8Array {
  const content = derContent(element, DER.integer, code)
  const [first = 0x80, second = 0x80] = content
  if (first >= 0x80 || (first === 0 && second < 0x80)) throw new EvidenceError(code)
  return first === 0 ? content.subarray(1) : content
}

const UTC_TIME = /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/

/** UTCTime or GeneralizedTime in the forms RFC 5280 §4.1.2.5 allows, as `YYYY-MM-DDTHH:MM:SSZ`. */
export function derTime(element: DerElement | undefined, code: EvidenceErrorCode): string {
  const text = new TextDecoder().decode(element?.content ?? encodeUtf8(''))
  const short = element?.tag === DER.utcTime
  if (!short && element?.tag !== DER.generalizedTime) throw new EvidenceError(code)
  const [century, digits] = short
    ? [Number(text.slice(0, 2)) < 50 ? '20' : '19', text]
    : [text.slice(0, 2), text.slice(2)]
  const parts = UTC_TIME.exec(digits)?.slice(1)
  if (parts === undefined || !/^\d\d$/.test(century)) throw new EvidenceError(code)
  const [year, month, day, hour, minute, second] = parts
  return `${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`
}

export interface Extension {
  readonly oid: string
  readonly critical: boolean
  readonly value: Uint8Array
}

/** `[n] { SEQUENCE OF Extension }` of a certificate or CRL, or the bare list of a CRL entry. */
export function extensionList(
  list: DerElement | undefined,
  code: EvidenceErrorCode,
): readonly Extension[] {
  const extensions = derElements(derContent(list, DER.sequence, code), code).map((element) => {
    const [oid, ...rest] = derElements(derContent(element, DER.sequence, code), code)
    const flag = rest[0]?.tag === DER.boolean ? rest.shift() : undefined
    const [value, ...trailing] = rest
    if (trailing.length > 0) throw new EvidenceError(code)
    return {
      oid: derOid(derContent(oid, DER.oid, code), code),
      critical: flag !== undefined && flag.content[0] !== 0,
      value: derContent(value, DER.octetString, code),
    }
  })
  // Of two extensions of one kind, two readers could heed different ones (RFC 5280 §4.2).
  if (new Set(extensions.map(({ oid }) => oid)).size !== extensions.length) {
    throw new EvidenceError(code)
  }
  return extensions
}

/** The only element inside an explicit tag. */
export function explicit(
  element: DerElement | undefined,
  tag: number,
  code: EvidenceErrorCode,
): DerElement | undefined {
  const [inner, ...rest] = derElements(derContent(element, tag, code), code)
  if (rest.length > 0) throw new EvidenceError(code)
  return inner
}

/** Serial numbers compare as numbers: hex without leading zeros. */
export function serialNumber(element: DerElement | undefined, code: EvidenceErrorCode): string {
  const content = derContent(element, DER.integer, code)
  const start = content.findIndex((byte) => byte !== 0)
  return toHex(content.subarray(start === -1 ? -1 : start))
}

const CONTEXT_KEY_ID = 0x80

/** keyIdentifier of an AuthorityKeyIdentifier, hex. */
export function authorityKeyId(
  extensions: readonly Extension[],
  code: EvidenceErrorCode,
): string | null {
  const found = extensions.find(({ oid }) => oid === '2.5.29.35')
  if (found === undefined) return null
  const [sequence] = derElements(found.value, code)
  const id = derElements(derContent(sequence, DER.sequence, code), code).find(
    ({ tag }) => tag === CONTEXT_KEY_ID,
  )
  return id === undefined ? null : toHex(id.content)
}
