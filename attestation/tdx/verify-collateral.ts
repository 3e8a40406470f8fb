import { z } from 'zod'
import type { UnixSeconds } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { parseTime } from '../time.ts'
import { parseCrlHex, type Crl } from '../x509-crl.ts'
import {
  PLATFORM_CA_NAME,
  PROCESSOR_CA_NAME,
  verifyPckCaChain,
  verifyTcbSigningChain,
} from './chain.ts'
import { verifyQeIdentity, verifyTcbInfo, type Collateral } from './collateral.ts'
import { verifyCrl } from './crl.ts'
import type { CollateralKey } from './pcs.ts'
import type { TrustedRoot } from './root.ts'
import { checkQeIdentitySubject, checkTcbInfoSubject } from './subject.ts'

/** The four documents of a collateral, each signed on its own. */
export type CollateralPart = 'tcb_info' | 'qe_identity' | 'pck_crl' | 'root_ca_crl'

/** How new a signed document is. CRLs have no evaluation number: theirs is 0. */
interface Edition {
  readonly evaluationDataNumber: number
  readonly issuedAt: UnixSeconds
}

/** Collateral whose every document held at one moment. A quote is still judged with it in full. */
export interface VerifiedCollateral {
  readonly collateral: Collateral
  /** When the first of its documents or certificates stops to be valid. */
  readonly expiresAt: UnixSeconds
  readonly editions: Readonly<Record<CollateralPart, Edition>>
}

export interface CollateralInput {
  readonly collateral: Collateral
  /** What it must be for. */
  readonly key: CollateralKey
  readonly now: UnixSeconds
  readonly trustedRoot: TrustedRoot
}

const CA_NAMES = { platform: PLATFORM_CA_NAME, processor: PROCESSOR_CA_NAME } as const

/**
 * Proves that collateral is Intel's, current and for this platform, without a quote: what a mirror serves is
 * judged before it is kept, so that a bad answer cannot take the place of a good one.
 *
 * @throws EvidenceError with the code and step of the first thing that does not hold.
 */
export async function verifyCollateral(input: CollateralInput): Promise<VerifiedCollateral> {
  const { collateral, key, now, trustedRoot } = input
  // 1. The chain of the PCK CRL is that of the named CA, under the trusted root.
  const pckChain = collateral.pck_crl_issuer_chain
  const { ca, root } = await verifyPckCaChain(pckChain, CA_NAMES[key.ca], trustedRoot, now)
  // 2. Both CRLs are authentic and fresh, and the CA is not revoked.
  const rootCrl = parseCrlHex(collateral.root_ca_crl)
  const pckCrl = parseCrlHex(collateral.pck_crl)
  await verifyCrl(rootCrl, root, now)
  await verifyCrl(pckCrl, ca, now)
  if (rootCrl.revokedSerials.has(ca.serial)) throw new EvidenceError('certificate_revoked')
  // 3. TCB info and QE identity are signed by the TCB signing role, authentic and current.
  const tcbChain = collateral.tcb_info_issuer_chain
  const tcbSigner = await verifyTcbSigningChain(tcbChain, trustedRoot, now, rootCrl)
  const qeChain = collateral.qe_identity_issuer_chain
  const qeSigner = await verifyTcbSigningChain(qeChain, trustedRoot, now, rootCrl)
  const tcbInfo = await verifyTcbInfo(collateral, tcbSigner, now)
  const qeIdentity = await verifyQeIdentity(collateral, qeSigner, now)
  // 4. They are about this TEE and this platform.
  checkTcbInfoSubject(tcbInfo, key.tee, { fmspc: key.fmspc, pceId: null })
  checkQeIdentitySubject(qeIdentity, key.tee)
  return {
    collateral,
    expiresAt: Math.min(
      ...[ca, root, tcbSigner, qeSigner].map(({ notAfter }) => notAfter),
      ...[rootCrl, pckCrl].map(({ nextUpdate }) => nextUpdate ?? 0),
      ...[tcbInfo, qeIdentity].map(({ nextUpdate }) => parseTime(nextUpdate)),
    ),
    editions: {
      tcb_info: documentEdition(tcbInfo),
      qe_identity: documentEdition(qeIdentity),
      pck_crl: crlEdition(pckCrl),
      root_ca_crl: crlEdition(rootCrl),
    },
  }
}

/**
 * When the last of its documents was issued: the moment to verify kept collateral at, which may have expired
 * since, where the question is only what must not be older. Read, not verified.
 */
export function collateralIssuedAt(collateral: Collateral): UnixSeconds {
  const crls = [collateral.root_ca_crl, collateral.pck_crl].map((crl) => parseCrlHex(crl))
  const dates = [collateral.tcb_info, collateral.qe_identity].map((text) => {
    const parsed = dated.safeParse(parseJson(text))
    if (!parsed.success) throw new EvidenceError('collateral_malformed')
    return parseTime(parsed.data.issueDate)
  })
  return Math.max(...crls.map(({ thisUpdate }) => thisUpdate), ...dates)
}

const dated = z.object({ issueDate: z.string() })

const documentEdition = (document: {
  readonly tcbEvaluationDataNumber: number
  readonly issueDate: string
}): Edition => ({
  evaluationDataNumber: document.tcbEvaluationDataNumber,
  issuedAt: parseTime(document.issueDate),
})

/** Intel's CRL numbers are all 1, so that thisUpdate alone orders them. */
const crlEdition = ({ thisUpdate }: Crl): Edition => ({
  evaluationDataNumber: 0,
  issuedAt: thisUpdate,
})

const isOlder = (offered: Edition, held: Edition): boolean =>
  offered.evaluationDataNumber === held.evaluationDataNumber
    ? offered.issuedAt < held.issuedAt
    : offered.evaluationDataNumber < held.evaluationDataNumber

/** What one document brings along. */
const MEMBERS = {
  tcb_info: ['tcb_info', 'tcb_info_signature', 'tcb_info_issuer_chain'],
  qe_identity: ['qe_identity', 'qe_identity_signature', 'qe_identity_issuer_chain'],
  pck_crl: ['pck_crl', 'pck_crl_issuer_chain'],
  root_ca_crl: ['root_ca_crl'],
} as const satisfies Record<CollateralPart, readonly (keyof Collateral)[]>

const PARTS = ['tcb_info', 'qe_identity', 'pck_crl', 'root_ca_crl'] as const

export interface Renewal {
  readonly verified: VerifiedCollateral
  /** Documents that were offered in an older edition than the held one, which was kept. */
  readonly older: readonly CollateralPart[]
}

/**
 * Verifies offered collateral and takes of it what is not older than the held one. A document that is validly
 * signed and still valid, but older, is a replay: it would make a platform look up to date that no longer is,
 * or a revoked certificate good.
 *
 * @throws EvidenceError where the offered collateral does not hold at `now`; `collateral_rolled_back` where only
 * a held document that has expired is newer.
 */
export async function renewCollateral(
  held: VerifiedCollateral | null,
  input: CollateralInput,
): Promise<Renewal> {
  const offered = await verifyCollateral(input)
  const older =
    held === null
      ? []
      : PARTS.filter((part) => isOlder(offered.editions[part], held.editions[part]))
  if (held === null || older.length === 0) return { verified: offered, older }
  const kept = older.flatMap((part) =>
    MEMBERS[part].map((member) => [member, held.collateral[member]] as const),
  )
  const collateral = { ...input.collateral, ...Object.fromEntries(kept) }
  try {
    return { verified: await verifyCollateral({ ...input, collateral }), older }
  } catch (error) {
    // Each document held on its own. A newer CRL may revoke what signed a kept one; else a kept one has expired.
    const revoked = error instanceof EvidenceError && error.code === 'certificate_revoked'
    throw revoked ? error : new EvidenceError('collateral_rolled_back')
  }
}
