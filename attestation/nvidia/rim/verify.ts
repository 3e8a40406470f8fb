import { sha256, toHex, type Bytes, type UnixSeconds } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import { Memo } from '../../memo.ts'
import { parseNvidiaCertificate, type NvidiaCertificate } from '../certificate.ts'
import { checkValidNow, verifyNvidiaChain, type NvidiaChain } from '../chain.ts'
import type { NvidiaRoots } from '../root.ts'
import { checkRoot, readDocument, type RimDocument } from './document.ts'
import { checkDigest, checkSignature, readSignature } from './signature.ts'
import { GenuineRim } from './verdict.ts'
import { parseXml } from './xml.ts'

export interface RimInput {
  readonly now: UnixSeconds
  readonly roots: NvidiaRoots
}

/** A document whose signature holds under the first certificate in it, whoever that is. */
interface SignedRim {
  readonly document: RimDocument
  readonly certificates: readonly NvidiaCertificate[]
}

/** The documents of one fleet are few, and come again with every round. */
const signed = new Memo<Promise<SignedRim>>(64)

/**
 * Proves that reference values (an RIM, a signed software identity tag) are NVIDIA's.
 *
 * That a signer has expired is reported and not refused: drivers outlive the two years of their signers, so that
 * is for a policy. A certificate that is not valid yet, and an expired root, are always refused.
 *
 * @param document XML as served, at most 1 MiB.
 * @throws EvidenceError `rim_*`, `certificate_*`, with the step `rim`.
 */
export async function verifyRim(document: Uint8Array, input: RimInput): Promise<GenuineRim> {
  // A copy, so that what is remembered under a digest is what hashed to it.
  const bytes = Uint8Array.from(document)
  const digest = toHex(await sha256(bytes))
  // 1. The document is signed, all of it, and says what reference values must say.
  const { document: content, certificates } = await signed.get(digest, () => readSigned(bytes))
  // 2. The signer's certificate chains to the pinned root of reference values.
  const chain = await verifyNvidiaChain(certificates, input.roots.rim, 'rim')
  // 3. All of the chain has begun to be valid, and its root still is.
  const validity = validityAt(chain, input.now)
  return new GenuineRim({
    root: input.roots.kind,
    sha256: digest,
    document: content,
    chain,
    validity,
  })
}

/** What the bytes alone decide. */
async function readSigned(bytes: Uint8Array): Promise<SignedRim> {
  // 1. The bytes are XML in which all readers see the same.
  const root = parseXml(bytes)
  checkRoot(root)
  // 2. There is one signature, in one place, of one form.
  const signature = readSignature(root)
  // 3. Everything but the signature is what was signed, and the first certificate signed it.
  await checkDigest(root, signature)
  const certificates = await Promise.all(signature.certificates.map(readCertificate))
  await checkSignature(signature, certificates[0]?.p384 ?? null)
  // 4. The content is read from the tree that was verified.
  return { document: readDocument(root), certificates }
}

/** The code is shared with other chains; the step says which chain it was. */
async function readCertificate(der: Bytes): Promise<NvidiaCertificate> {
  try {
    return await parseNvidiaCertificate(der)
  } catch (error) {
    throw error instanceof EvidenceError ? new EvidenceError(error.code, 'rim') : error
  }
}

function validityAt({ certificates, root }: NvidiaChain, now: UnixSeconds): 'valid' | 'expired' {
  checkValidNow([root], now, 'rim')
  if (certificates.some(({ notBefore }) => now < notBefore)) {
    throw new EvidenceError('certificate_not_valid_now', 'rim')
  }
  return certificates.every(({ notAfter }) => now <= notAfter) ? 'valid' : 'expired'
}
