import { equalBytes, fromBase64, sha384, type Bytes } from '../../bytes.ts'
import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import { verifyP384 } from '../../signature.ts'
import { canonicalXml } from './c14n.ts'
import { DS } from './namespaces.ts'
import { childElements, childrenNamed, textOnly } from './xml-select.ts'
import type { XmlElement } from './xml.ts'

/** An XML signature (XML-DSig 1.1) of the one form in which reference values are signed. Nothing in it is proven yet. */
export interface RimSignature {
  readonly element: XmlElement
  readonly signedInfo: XmlElement
  readonly digest: Bytes
  /** r ‖ s of P-384. */
  readonly value: Bytes
  /** DER, as they stand in the document: the signer first. */
  readonly certificates: readonly Bytes[]
}

const C14N11 = 'http://www.w3.org/2006/12/xml-c14n11'
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature'
const ECDSA_SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384'
const SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#sha384'
const MAX_CERTIFICATES = 8

/**
 * The only signature of the document, which is the last element of its root. There is one choice for every algorithm,
 * one reference, to the whole document, and no place for objects, so there is nothing that a reference could
 * be turned to.
 *
 * @throws EvidenceError `rim_signature_*`, `rim_signed_info_malformed`, `certificate_chain_length`
 */
export function readSignature(root: XmlElement): RimSignature {
  const element = onlySignature(root)
  const parts = childrenNamed(
    withoutAttributes(element, 'rim_signature_malformed'),
    DS,
    ['SignedInfo', 'SignatureValue', 'KeyInfo'],
    'rim_signature_malformed',
  )
  const [signedInfo = element, value = element, keyInfo = element] = parts
  return {
    element,
    signedInfo,
    digest: signedDigest(signedInfo),
    value: base64Of(value),
    certificates: certificatesOf(keyInfo),
  }
}

/** Throws `rim_digest_mismatch`: what stands in the document is not what was signed. */
export async function checkDigest(root: XmlElement, signature: RimSignature): Promise<void> {
  const digest = await sha384(canonicalXml(root, signature.element))
  if (!equalBytes(digest, signature.digest)) throw new EvidenceError('rim_digest_mismatch')
}

/** Throws `rim_signature_invalid`. */
export async function checkSignature(signature: RimSignature, p384: Bytes | null): Promise<void> {
  const message = canonicalXml(signature.signedInfo, null)
  const holds = p384 !== null && (await verifyP384(p384, signature.value, message))
  if (!holds) throw new EvidenceError('rim_signature_invalid')
}

const isSignature = ({ namespace, local }: XmlElement): boolean =>
  namespace === DS && local === 'Signature'

/** A second signature, or one that is elsewhere, would leave it to the reader which content is the signed one. */
function onlySignature(root: XmlElement): XmlElement {
  const [found, ...others] = signaturesIn(root)
  if (found === undefined) throw new EvidenceError('rim_signature_missing')
  if (others.length > 0) throw new EvidenceError('rim_signature_duplicate')
  if (childElements(root, 'rim_document_malformed').at(-1) !== found) {
    throw new EvidenceError('rim_signature_misplaced')
  }
  return found
}

const signaturesIn = (element: XmlElement): XmlElement[] => [
  ...(isSignature(element) ? [element] : []),
  ...element.children.flatMap((child) => (typeof child === 'string' ? [] : signaturesIn(child))),
]

function signedDigest(signedInfo: XmlElement): Bytes {
  const [c14n = signedInfo, method = signedInfo, reference = signedInfo] = childrenNamed(
    withoutAttributes(signedInfo, 'rim_signed_info_malformed'),
    DS,
    ['CanonicalizationMethod', 'SignatureMethod', 'Reference'],
    'rim_signed_info_malformed',
  )
  checkOnlyAttribute(c14n, 'Algorithm', C14N11, 'rim_signature_algorithm')
  checkOnlyAttribute(method, 'Algorithm', ECDSA_SHA384, 'rim_signature_algorithm')
  const [attribute, ...others] = reference.attributes
  const whole = attribute?.name === 'URI' && attribute.value === '' && others.length === 0
  if (!whole) throw new EvidenceError('rim_signature_reference')
  const [transforms = reference, digestMethod = reference, digest = reference] = childrenNamed(
    reference,
    DS,
    ['Transforms', 'DigestMethod', 'DigestValue'],
    'rim_signed_info_malformed',
  )
  checkTransforms(transforms)
  checkOnlyAttribute(digestMethod, 'Algorithm', SHA384, 'rim_signature_algorithm')
  return base64Of(digest)
}

function checkTransforms(transforms: XmlElement): void {
  const code = 'rim_signature_transform'
  const names = ['Transform', 'Transform']
  const [first = transforms, second = transforms] = childrenNamed(
    withoutAttributes(transforms, code),
    DS,
    names,
    code,
  )
  checkOnlyAttribute(first, 'Algorithm', ENVELOPED, code)
  checkOnlyAttribute(second, 'Algorithm', C14N11, code)
}

/** Exactly this attribute with exactly this value, and no content: a parameter could change what the name means. */
function checkOnlyAttribute(
  { attributes, children }: XmlElement,
  name: string,
  value: string,
  code: EvidenceErrorCode,
): void {
  const [attribute, ...others] = attributes
  const fits =
    attribute?.name === name &&
    attribute.value === value &&
    others.length === 0 &&
    children.length === 0
  if (!fits) throw new EvidenceError(code)
}

function withoutAttributes(element: XmlElement, code: EvidenceErrorCode): XmlElement {
  if (element.attributes.length > 0) throw new EvidenceError(code)
  return element
}

/** Which of them may sign is decided by the chain, so only their number is looked at here. */
function certificatesOf(keyInfo: XmlElement): Bytes[] {
  const code = 'rim_signature_malformed'
  const [data = keyInfo] = childrenNamed(withoutAttributes(keyInfo, code), DS, ['X509Data'], code)
  const found = childElements(withoutAttributes(data, code), code)
  const named = found.every(
    ({ namespace, local }) => namespace === DS && local === 'X509Certificate',
  )
  if (!named) throw new EvidenceError(code)
  if (found.length === 0 || found.length > MAX_CERTIFICATES) {
    throw new EvidenceError('certificate_chain_length', 'rim')
  }
  return found.map(base64Of)
}

/** Base64 with lines of any length. */
function base64Of(element: XmlElement): Bytes {
  const text = textOnly(element, 'rim_signature_malformed').replaceAll(/[ \t\r\n]/g, '')
  try {
    return fromBase64(text)
  } catch {
    throw new EvidenceError('rim_signature_malformed')
  }
}
