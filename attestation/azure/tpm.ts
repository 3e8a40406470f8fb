import { concatBytes, equalBytes, ownBuffer, Reader, sha256, toHex, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'

/** What a TPM2_Quote gives. */
export interface TpmQuote {
  /** TPMS_ATTEST, the signed bytes. */
  readonly message: Uint8Array
  /** RSASSA-PKCS1-v1_5 with SHA-256. */
  readonly signature: Uint8Array
  /** SHA-256 bank, one value of 32 bytes for each selected PCR, in the order of their numbers. */
  readonly pcrs: readonly Uint8Array[]
}

/** Hex of each PCR that the quote covers, by number. */
export type PcrValues = ReadonlyMap<number, string>

const CODE = 'tpm_quote_malformed'
const GENERATED_AND_QUOTE = 'ff5443478018'
const CLOCK_AND_FIRMWARE_LENGTH = 17 + 8
const SHA256_BANK = 0x000b
const MAX_SELECT_LENGTH = 4
const RS256 = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const

interface Attested {
  readonly extraData: Bytes
  readonly selected: readonly number[]
  readonly pcrDigest: Bytes
}

/**
 * The PCR values that this attestation key signed in answer to this nonce.
 *
 * @param key base64url modulus of the vTPM's RSA attestation key, from proven runtime data.
 */
export async function verifyTpmQuote(
  quote: TpmQuote,
  key: string,
  nonce: Uint8Array,
): Promise<PcrValues> {
  if (!(await isSigned(quote, key))) throw new EvidenceError('tpm_quote_signature_invalid')
  const { extraData, selected, pcrDigest } = parseAttest(quote.message)
  if (!equalBytes(extraData, nonce)) throw new EvidenceError('tpm_quote_nonce_mismatch')
  const complete =
    quote.pcrs.length === selected.length && quote.pcrs.every(({ length }) => length === 32)
  if (!complete || !equalBytes(await sha256(concatBytes(...quote.pcrs)), pcrDigest)) {
    throw new EvidenceError('tpm_pcr_mismatch')
  }
  return new Map(quote.pcrs.map((value, index) => [selected[index] ?? -1, toHex(value)]))
}

async function isSigned({ message, signature }: TpmQuote, n: string): Promise<boolean> {
  const jwk = { kty: 'RSA', n, e: 'AQAB' }
  try {
    const key = await crypto.subtle.importKey('jwk', jwk, RS256, false, ['verify'])
    return await crypto.subtle.verify(RS256, key, ownBuffer(signature), ownBuffer(message))
  } catch {
    return false
  }
}

/**
 * TPMS_ATTEST (TPM 2.0 part 2, §10.12.12), big-endian. The magic is what a TPM puts before its own
 * statements and never before data that it merely signs for someone.
 */
function parseAttest(message: Uint8Array): Attested {
  const reader = new Reader(message, CODE)
  if (toHex(reader.take(6)) !== GENERATED_AND_QUOTE) throw new EvidenceError(CODE)
  // The qualified name of the key: only the key itself counts.
  reader.take(u16(reader))
  const extraData = reader.take(u16(reader))
  reader.take(CLOCK_AND_FIRMWARE_LENGTH)
  const count = toHex(reader.take(4))
  if (count !== '00000001' || u16(reader) !== SHA256_BANK) throw new EvidenceError(CODE)
  const [selectLength = 0] = reader.take(1)
  if (selectLength > MAX_SELECT_LENGTH) throw new EvidenceError(CODE)
  const select = reader.take(selectLength)
  const pcrDigest = reader.take(u16(reader))
  reader.end()
  return { extraData, selected: selectedPcrs(select), pcrDigest }
}

const u16 = (reader: Reader): number => new DataView(reader.take(2).buffer).getUint16(0, false)

const BITS = [0, 1, 2, 3, 4, 5, 6, 7]

const selectedPcrs = (select: Bytes): number[] =>
  [...select].flatMap((bits, index) =>
    BITS.filter((bit) => (bits & (1 << bit)) !== 0).map((bit) => 8 * index + bit),
  )
