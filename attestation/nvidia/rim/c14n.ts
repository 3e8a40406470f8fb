import { encodeUtf8, type Bytes } from '../../bytes.ts'
import { lookup, type Scope, type XmlAttribute } from './xml-namespace.ts'
import type { XmlElement } from './xml.ts'

type Pair = readonly [name: string, value: string]

/**
 * Canonical XML 1.1 (§2.3) of an element and everything below it but `omitted`. It has no comments, processing
 * instructions or `xml:` attributes to treat, because the parser lets none in.
 */
export function canonicalXml(apex: XmlElement, omitted: XmlElement | null): Bytes {
  const parts: string[] = []
  write(apex, inScope(apex.scope), omitted, parts)
  return encodeUtf8(parts.join(''))
}

function write(
  element: XmlElement,
  namespaces: readonly Pair[],
  omitted: XmlElement | null,
  parts: string[],
): void {
  parts.push('<', element.name)
  const declarations = namespaces
    .toSorted(([left], [right]) => order(left, right))
    .map(([prefix, namespace]): Pair => [prefix === '' ? 'xmlns' : `xmlns:${prefix}`, namespace])
  const attributes = element.attributes
    .toSorted(byExpandedName)
    .map(({ name, value }): Pair => [name, value])
  for (const [name, value] of [...declarations, ...attributes]) {
    parts.push(' ', name, '="', escapedAttribute(value), '"')
  }
  parts.push('>')
  for (const child of element.children) {
    if (child === omitted) continue
    if (typeof child === 'string') parts.push(escapedText(child))
    else write(child, ownNamespaces(child.scope), omitted, parts)
  }
  parts.push('</', element.name, '>')
}

/** An apex has no parent in the output, so it shows every namespace that reaches it. */
function inScope(scope: Scope): readonly Pair[] {
  const prefixes = new Set<string>()
  for (let at: Scope | null = scope; at !== null; at = at.outer) {
    for (const prefix of at.declared.keys()) prefixes.add(prefix)
  }
  return [...prefixes]
    .map((prefix): Pair => [prefix, lookup(scope, prefix) ?? ''])
    .filter(([, namespace]) => namespace !== '')
}

/** Below the apex, what the parent shows already is not shown again. */
const ownNamespaces = ({ declared, outer }: Scope): readonly Pair[] =>
  [...declared].filter(([prefix, namespace]) => namespace !== (lookup(outer, prefix) ?? ''))

const order = (left: string, right: string): number => {
  if (left === right) return 0
  return left < right ? -1 : 1
}

const byExpandedName = (left: XmlAttribute, right: XmlAttribute): number =>
  order(left.namespace, right.namespace) || order(left.local, right.local)

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['<', '&lt;'],
  ['>', '&gt;'],
  ['"', '&quot;'],
  ['\t', '&#x9;'],
  ['\n', '&#xA;'],
  ['\r', '&#xD;'],
])
const escaped = (character: string): string => ESCAPES.get(character) ?? character
const escapedText = (text: string): string => text.replaceAll(/[&<>\r]/g, escaped)
const escapedAttribute = (value: string): string => value.replaceAll(/[&<"\t\n\r]/g, escaped)
