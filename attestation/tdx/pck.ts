import { toHex } from '../bytes.ts'
import { DER, derContent, derElements, derOid, derUnsigned, type DerElement } from '../der.ts'
import { EvidenceError } from '../errors.ts'
import type { Certificate } from '../x509.ts'
import { PLATFORM_CA_NAME } from './chain.ts'
import type { TrustedRoot } from './root.ts'

/** What the PCK certificate says about its platform (tdx.md §2). Hex is lower case. */
export interface PckIdentity {
  readonly ppid: string
  readonly fmspc: string
  readonly pceId: string
  readonly pceSvn: number
  /** The 16 SGX TCB component SVNs. TCB levels are matched with these, not with the CPUSVN octets. */
  readonly components: readonly number[]
  /** Whether it has SGX type, platform instance and configuration as Intel's profile demands, or none. */
  readonly profile: 'intel' | 'short'
}

const SGX_EXTENSION = '1.2.840.113741.1.13.1'
const MAX_EXTENSION_LENGTH = 4096
const CODE = 'pck_extension_malformed'
const TCB_ENTRIES = 18
const COMPONENTS = 16

/**
 * `issuer` tells how many entries there must be: the Platform CA adds instance id and configuration.
 * A certificate that has any of the last three entries must have all that its issuer adds. Throws
 * `pck_extension_malformed`: absent, duplicate or missing entries, wrong lengths or ranges.
 */
export function pckIdentity(leaf: Certificate, issuer: Certificate): PckIdentity {
  const extension = leaf.extension(SGX_EXTENSION)
  if (extension === null || extension.length > MAX_EXTENSION_LENGTH) throw new EvidenceError(CODE)
  const [outer, ...rest] = derElements(extension, CODE)
  if (rest.length > 0) throw new EvidenceError(CODE)
  const entries = entryMap(derContent(outer, DER.sequence, CODE), SGX_EXTENSION)
  const tcb = entryMap(tagged(entries, 2, DER.sequence), `${SGX_EXTENSION}.2`)
  if (tcb.size !== TCB_ENTRIES) throw new EvidenceError(CODE)
  octets(tcb, 18, 16)
  const profile = PROFILE_ENTRIES.some((arc) => entries.has(arc)) ? 'intel' : 'short'
  if (profile === 'intel') checkProfileEntries(entries, issuer)
  return {
    profile,
    ppid: octets(entries, 1, 16),
    fmspc: octets(entries, 4, 6),
    pceId: octets(entries, 3, 2),
    pceSvn: derUnsigned(tagged(tcb, 17, DER.integer), 0xffff, CODE),
    components: Array.from({ length: COMPONENTS }, (_, index) =>
      derUnsigned(tagged(tcb, index + 1, DER.integer), 0xff, CODE),
    ),
  }
}

/**
 * Every PCK certificate of Intel's has the full profile. One without it under Intel's root is not what
 * Intel issues for attestation, whoever got it signed; a test PKI, named by its root, may leave it out.
 */
export function checkPckProfile({ profile }: PckIdentity, trusted: TrustedRoot): void {
  if (profile !== 'intel' && trusted.kind !== 'test-pki') throw new EvidenceError(CODE)
}

type Entries = ReadonlyMap<number, DerElement>

/** SGX type, platform instance and configuration. */
const PROFILE_ENTRIES = [5, 6, 7]

function checkProfileEntries(entries: Entries, issuer: Certificate): void {
  tagged(entries, 5, DER.enumerated)
  if (issuer.commonName !== PLATFORM_CA_NAME) return
  octets(entries, 6, 16)
  tagged(entries, 7, DER.sequence)
}

/** `SEQUENCE OF SEQUENCE { OID, value }`, keyed by the last arc under `prefix`. */
function entryMap(content: Uint8Array, prefix: string): Entries {
  const entries = new Map<number, DerElement>()
  for (const element of derElements(content, CODE)) {
    const [oid, value, ...rest] = derElements(derContent(element, DER.sequence, CODE), CODE)
    const name = derOid(derContent(oid, DER.oid, CODE), CODE)
    const arc = Number(name.slice(prefix.length + 1))
    const known = name.startsWith(`${prefix}.`) && Number.isInteger(arc)
    if (!known || value === undefined || rest.length > 0 || entries.has(arc)) {
      throw new EvidenceError(CODE)
    }
    entries.set(arc, value)
  }
  return entries
}

const tagged = (entries: Entries, arc: number, tag: number): Uint8Array =>
  derContent(entries.get(arc), tag, CODE)

function octets(entries: Entries, arc: number, length: number): string {
  const content = tagged(entries, arc, DER.octetString)
  if (content.length !== length) throw new EvidenceError(CODE)
  return toHex(content)
}
