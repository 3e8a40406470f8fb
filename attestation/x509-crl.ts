import { fromHex, type Bytes, type UnixSeconds } from './bytes.ts'
import { DER, derContent, derElements, type DerElement } from './der.ts'
import { EvidenceError } from './errors.ts'
import { Memo } from './memo.ts'
import { parseTime } from './time.ts'
import {
  authorityKeyId,
  derTime,
  explicit,
  extensionList,
  serialNumber,
  signedFrame,
} from './x509-signed.ts'

/** A certificate revocation list that has been read, and nothing more. */
export interface CrlBody {
  /** DER of the issuer's name. */
  readonly issuer: Bytes
  readonly thisUpdate: UnixSeconds
  /** Null where the CRL states none, so that it would never go stale; the caller refuses that. */
  readonly nextUpdate: UnixSeconds | null
  readonly authorityKeyId: string | null
  /** Of the list or of any entry. */
  readonly unknownCritical: boolean
  /** Hex without leading zeros. */
  readonly revokedSerials: ReadonlySet<string>
}

export interface Crl extends CrlBody {
  readonly isSignedBy: (p256: Bytes | null) => Promise<boolean>
}

const CODE = 'crl_malformed'
/** version, signature algorithm, issuer, thisUpdate */
const MANDATORY_FIELDS = 4

/** A CRL is fetched once in weeks and judges every quote of that time; it is read once. */
const lists = new Memo<Crl>(64)

/** A CRL in hex. Throws `encoding_malformed`, `crl_malformed`. */
export const parseCrlHex = (hex: string): Crl => lists.get(hex, () => parseCrl(fromHex(hex)))

/** Reads a v2 CRL (RFC 5280 §5.1). Throws `crl_malformed`. */
export function parseCrl(der: Uint8Array): Crl {
  const frame = signedFrame(der, 1, CODE)
  return { ...crlBody(frame.fields), isSignedBy: frame.isSignedBy }
}

/** What a CRL says, whatever it is signed with. Throws `crl_malformed`. */
export function crlBody(fields: readonly DerElement[]): CrlBody {
  const [, , issuer, thisUpdate] = fields
  const rest = fields.slice(MANDATORY_FIELDS)
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined
  const entries = rest[0]?.tag === DER.sequence ? sequences(rest.shift()) : []
  const extensions =
    rest[0]?.tag === DER.context0
      ? extensionList(explicit(rest.shift(), DER.context0, CODE), CODE)
      : []
  if (issuer === undefined || rest.length > 0) throw new EvidenceError(CODE)
  const entryExtensions = entries.flatMap(([, , list]) =>
    list === undefined ? [] : extensionList(list, CODE),
  )
  return {
    issuer: Uint8Array.from(issuer.bytes),
    thisUpdate: parseTime(derTime(thisUpdate, CODE)),
    nextUpdate: nextUpdate === undefined ? null : parseTime(derTime(nextUpdate, CODE)),
    authorityKeyId: authorityKeyId(extensions, CODE),
    unknownCritical: [...extensions, ...entryExtensions].some(({ critical }) => critical),
    revokedSerials: new Set(entries.map(([serial]) => serialNumber(serial, CODE))),
  }
}

const isTime = (element: DerElement | undefined): boolean =>
  element?.tag === DER.utcTime || element?.tag === DER.generalizedTime

/** The elements of each SEQUENCE inside a SEQUENCE. */
const sequences = (element: DerElement | undefined): DerElement[][] =>
  derElements(derContent(element, DER.sequence, CODE), CODE).map((inner) =>
    derElements(derContent(inner, DER.sequence, CODE), CODE),
  )
