import { EvidenceError, type EvidenceErrorCode } from '../../errors.ts'
import type { XmlElement } from './xml.ts'

/**
 * The child elements, which must be exactly these, in this order, with nothing but white space between them. What
 * is read is named step by step from the root; nothing is ever searched for, so nothing can be found elsewhere.
 */
export function childrenNamed(
  element: XmlElement,
  namespace: string,
  names: readonly string[],
  code: EvidenceErrorCode,
): XmlElement[] {
  const children = childElements(element, code)
  const fits =
    children.length === names.length &&
    children.every((child, at) => child.namespace === namespace && child.local === names[at])
  if (!fits) throw new EvidenceError(code)
  return children
}

/** The child elements; text between them may be white space alone. */
export function childElements(element: XmlElement, code: EvidenceErrorCode): XmlElement[] {
  return element.children.flatMap((child) => {
    if (typeof child !== 'string') return [child]
    if (/[^ \t\r\n]/.test(child)) throw new EvidenceError(code)
    return []
  })
}

/** The text of an element that holds nothing else and has no attributes. */
export function textOnly(element: XmlElement, code: EvidenceErrorCode): string {
  const [text, ...rest] = element.children
  const fits = element.attributes.length === 0 && typeof text === 'string' && rest.length === 0
  if (!fits) throw new EvidenceError(code)
  return text
}

export const attributeOf = (
  element: XmlElement,
  namespace: string,
  local: string,
): string | undefined =>
  element.attributes.find((found) => found.namespace === namespace && found.local === local)?.value
