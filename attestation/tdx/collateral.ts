import { z } from 'zod'
import { encodeUtf8, fromHex, toHex, type UnixSeconds } from '../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../errors.ts'
import { parseJson } from '../json.ts'
import { Memo } from '../memo.ts'
import { SignedMessage } from '../signature.ts'
import { parseTime } from '../time.ts'
import type { Certificate } from '../x509.ts'

/** Everything Intel publishes that a quote is judged by. CRLs and signatures are hex, chains PEM, documents exact text. */
export interface Collateral {
  readonly pck_crl_issuer_chain: string
  readonly root_ca_crl: string
  readonly pck_crl: string
  readonly tcb_info_issuer_chain: string
  readonly tcb_info: string
  readonly tcb_info_signature: string
  readonly qe_identity_issuer_chain: string
  readonly qe_identity: string
  readonly qe_identity_signature: string
  readonly pck_certificate_chain?: string | undefined
}

const MAX_DOCUMENT = 1 << 20
const text = z.string().max(MAX_DOCUMENT)

const collateralSchema = z.object({
  pck_crl_issuer_chain: text,
  root_ca_crl: text,
  pck_crl: text,
  tcb_info_issuer_chain: text,
  tcb_info: text,
  tcb_info_signature: text,
  qe_identity_issuer_chain: text,
  qe_identity: text,
  qe_identity_signature: text,
  pck_certificate_chain: text.optional(),
})

/** Throws `collateral_malformed`. */
export function parseCollateral(value: unknown): Collateral {
  const parsed = collateralSchema.safeParse(value)
  if (!parsed.success) throw new EvidenceError('collateral_malformed')
  return parsed.data
}

const PLATFORM_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const

const hex = (bytes: number) =>
  z
    .string()
    .regex(/^[0-9a-fA-F]*$/)
    .length(2 * bytes)
const integer = (max: number) => z.number().int().min(0).max(max)
const components = z.array(z.object({ svn: integer(0xff) })).length(16)
const advisoryIDs = z.array(z.string().max(64)).max(256).optional()

const svnStatus = z.enum(['UpToDate', 'OutOfDate', 'Revoked'])
const qeLevel = z.object({
  tcb: z.object({ isvsvn: integer(0xffff) }),
  tcbDate: z.string(),
  tcbStatus: svnStatus,
  advisoryIDs,
})
// A status that a TDX module cannot have makes its level match nothing, as Intel's library has it.
const moduleLevel = qeLevel.extend({
  tcbStatus: svnStatus.or(
    z
      .string()
      .max(64)
      .transform(() => null),
  ),
})

const platformLevel = z.object({
  tcb: z.object({
    sgxtcbcomponents: components,
    pcesvn: integer(0xffff),
    tdxtcbcomponents: components.optional(),
  }),
  tcbDate: z.string(),
  tcbStatus: z.enum(PLATFORM_STATUSES),
  advisoryIDs,
})

const module = { mrsigner: hex(48), attributes: hex(8), attributesMask: hex(8) }

const dated = {
  issueDate: z.string(),
  nextUpdate: z.string(),
  tcbEvaluationDataNumber: integer(0xffff_ffff),
}

// Not strict: Intel adds members. What is used is range-checked.
const tcbInfoV3 = z.object({
  id: z.string(),
  version: z.literal(3),
  ...dated,
  fmspc: hex(6),
  pceId: hex(2),
  tcbType: integer(255),
  tdxModule: z.object(module).optional(),
  tdxModuleIdentities: z
    .array(
      z.object({
        id: z.string().max(64),
        ...module,
        tcbLevels: z.array(moduleLevel).min(1).max(256),
      }),
    )
    .max(256)
    .optional(),
  tcbLevels: z.array(platformLevel).min(1).max(256),
})

const V2_COMPONENTS = Array.from(
  { length: 16 },
  (_, index) => `sgxtcbcomp${String(index + 1).padStart(2, '0')}svn`,
)

/** The levels of version 2 name each component; they are read into the shape of version 3. */
const tcbInfoV2 = z
  .object({
    version: z.literal(2),
    ...dated,
    fmspc: hex(6),
    pceId: hex(2),
    tcbType: integer(255),
    tcbLevels: z
      .array(
        platformLevel.extend({
          tcb: z.record(z.string(), integer(0xffff)).transform((tcb, context) => {
            const sgx = V2_COMPONENTS.map((name) => ({ svn: tcb[name] ?? -1 }))
            const pcesvn = tcb['pcesvn'] ?? -1
            const complete = pcesvn >= 0 && sgx.every(({ svn }) => svn >= 0 && svn <= 0xff)
            if (!complete) context.addIssue('a component is missing')
            return { sgxtcbcomponents: sgx, pcesvn, tdxtcbcomponents: undefined }
          }),
        }),
      )
      .min(1)
      .max(256),
  })
  .transform((info) => ({
    ...info,
    id: 'SGX',
    tdxModule: undefined,
    tdxModuleIdentities: undefined,
  }))

const tcbInfoSchema = z.union([tcbInfoV3, tcbInfoV2])

const qeIdentitySchema = z.object({
  id: z.string(),
  version: z.number(),
  ...dated,
  miscselect: hex(4),
  miscselectMask: hex(4),
  attributes: hex(16),
  attributesMask: hex(16),
  mrsigner: hex(32),
  isvprodid: integer(0xffff),
  tcbLevels: z.array(qeLevel).min(1).max(256),
})

export type TcbInfo = z.output<typeof tcbInfoSchema>
export type PlatformLevel = z.output<typeof platformLevel>
/** A level of the TDX module or of the quoting enclave. */
export type SvnLevel = z.output<typeof moduleLevel>
export type QeIdentity = z.output<typeof qeIdentitySchema>
export type PlatformStatus = (typeof PLATFORM_STATUSES)[number]

interface Codes {
  readonly malformed: EvidenceErrorCode
  readonly signature: EvidenceErrorCode
  readonly notValidNow: EvidenceErrorCode
}

const TCB_INFO_CODES: Codes = {
  malformed: 'tcb_info_malformed',
  signature: 'tcb_info_signature_invalid',
  notValidNow: 'tcb_info_not_valid_now',
}
const QE_IDENTITY_CODES: Codes = {
  malformed: 'qe_identity_malformed',
  signature: 'qe_identity_signature_invalid',
  notValidNow: 'qe_identity_not_valid_now',
}

const TCB_INFO: Kind<TcbInfo> = {
  schema: tcbInfoSchema,
  codes: TCB_INFO_CODES,
  known: new Memo(64),
}
const QE_IDENTITY: Kind<QeIdentity> = {
  schema: qeIdentitySchema,
  codes: QE_IDENTITY_CODES,
  known: new Memo(64),
}

interface Kind<T> {
  readonly schema: z.ZodType<T>
  readonly codes: Codes
  /** Documents that were read under their signature, by signer, signature and text. */
  readonly known: Memo<Promise<T>>
}

/** The TCB info, signed by `signer` over its exact bytes; when is another question. */
export const readTcbInfo = async (
  { tcb_info, tcb_info_signature }: Collateral,
  signer: Certificate,
): Promise<TcbInfo> => readSigned(tcb_info, tcb_info_signature, TCB_INFO, signer)

/** The QE identity, signed by `signer` over its exact bytes; when is another question. */
export const readQeIdentity = async (
  { qe_identity, qe_identity_signature }: Collateral,
  signer: Certificate,
): Promise<QeIdentity> => readSigned(qe_identity, qe_identity_signature, QE_IDENTITY, signer)

/** The TCB info, signed by `signer` over its exact bytes and valid at `now`. */
export const verifyTcbInfo = async (
  collateral: Collateral,
  signer: Certificate,
  now: UnixSeconds,
): Promise<TcbInfo> => checkValidity(await readTcbInfo(collateral, signer), TCB_INFO_CODES, now)

/** The QE identity, signed by `signer` over its exact bytes and valid at `now`. */
export const verifyQeIdentity = async (
  collateral: Collateral,
  signer: Certificate,
  now: UnixSeconds,
): Promise<QeIdentity> =>
  checkValidity(await readQeIdentity(collateral, signer), QE_IDENTITY_CODES, now)

function checkValidity<T extends { readonly issueDate: string; readonly nextUpdate: string }>(
  document: T,
  codes: Codes,
  now: UnixSeconds,
): T {
  if (!(parseTime(document.issueDate) <= now && now <= parseTime(document.nextUpdate))) {
    throw new EvidenceError(codes.notValidNow)
  }
  return document
}

/** Text is read only under its signature, and then once. */
async function readSigned<T>(
  document: string,
  signature: string,
  { schema, codes, known }: Kind<T>,
  { p256 }: Certificate,
): Promise<T> {
  const raw = fromHex(signature)
  const key = p256 === null ? '' : toHex(p256)
  // Hex that was read and written again has no space in it: no other signature and text give the same words.
  return known.get(`${key} ${toHex(raw)} ${document}`, async () => {
    const signed = new SignedMessage(raw, encodeUtf8(document))
    if (!(await signed.isSignedBy(p256))) throw new EvidenceError(codes.signature)
    const parsed = schema.safeParse(parseJson(document))
    if (!parsed.success) throw new EvidenceError(codes.malformed)
    return parsed.data
  })
}
