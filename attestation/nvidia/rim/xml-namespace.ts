import { EvidenceError } from '../../errors.ts'

/** Namespaces that an element declares, and those around it. */
export interface Scope {
  /** Prefix to namespace; the empty prefix is the default, the empty namespace none. */
  readonly declared: ReadonlyMap<string, string>
  readonly outer: Scope | null
}

export interface XmlAttribute {
  /** As written, with its prefix. */
  readonly name: string
  readonly local: string
  /** Empty for none: the default namespace is not that of attributes. */
  readonly namespace: string
  readonly value: string
}

const DECLARES = 'xmlns'
const RESERVED_PREFIXES: ReadonlySet<string> = new Set(['xml', DECLARES])
const RESERVED_NAMESPACES: ReadonlySet<string> = new Set([
  'http://www.w3.org/XML/1998/namespace',
  'http://www.w3.org/2000/xmlns/',
])
/** Canonical XML fails for relative namespaces (Canonical XML 1.1 §1.3); ASCII makes sorting one thing. */
const ABSOLUTE = /^[A-Za-z][A-Za-z0-9+.-]*:[!-~]*$/

const prefixOf = (name: string): string => name.slice(0, Math.max(name.indexOf(':'), 0))
const localOf = (name: string): string => name.slice(name.indexOf(':') + 1)
const isDeclaration = (name: string): boolean => name === DECLARES || prefixOf(name) === DECLARES

/** The namespace a prefix stands for here, or undefined. */
export function lookup(scope: Scope | null, prefix: string): string | undefined {
  for (let at = scope; at !== null; at = at.outer) {
    const found = at.declared.get(prefix)
    if (found !== undefined) return found
  }
  return undefined
}

/** Throws `rim_xml_attribute_reserved`, `rim_xml_malformed`. */
export function declare(attributes: ReadonlyMap<string, string>, outer: Scope | null): Scope {
  const declared = new Map<string, string>()
  for (const [name, namespace] of attributes) {
    if (!isDeclaration(name)) continue
    const prefix = name === DECLARES ? '' : localOf(name)
    if (RESERVED_PREFIXES.has(prefix) || RESERVED_NAMESPACES.has(namespace)) {
      throw new EvidenceError('rim_xml_attribute_reserved')
    }
    const undeclares = prefix === '' && namespace === ''
    if (!undeclares && !ABSOLUTE.test(namespace)) throw new EvidenceError('rim_xml_malformed')
    declared.set(prefix, namespace)
  }
  return { declared, outer }
}

/** Of an element. Throws `rim_xml_prefix_unbound`. */
export function namespaceOf(name: string, scope: Scope): string {
  const prefix = prefixOf(name)
  const namespace = lookup(scope, prefix)
  if (namespace !== undefined) return namespace
  if (prefix !== '') throw new EvidenceError('rim_xml_prefix_unbound')
  return ''
}

/**
 * The attributes that are no declarations, each name in its namespace once: two spellings of one name are the
 * same name. Throws `rim_xml_attribute_reserved`, `rim_xml_attribute_duplicate`, `rim_xml_prefix_unbound`.
 */
export function attributeNames(
  written: ReadonlyMap<string, string>,
  scope: Scope,
): readonly XmlAttribute[] {
  const attributes = [...written]
    .filter(([name]) => !isDeclaration(name))
    .map(([name, value]) => attribute(name, value, scope))
  const names = new Set(attributes.map(({ namespace, local }) => `${namespace} ${local}`))
  if (names.size !== attributes.length) throw new EvidenceError('rim_xml_attribute_duplicate')
  return attributes
}

/** `xml:` attributes are inherited by what is canonicalised alone, so that readers could differ on them. */
function attribute(name: string, value: string, scope: Scope): XmlAttribute {
  const prefix = prefixOf(name)
  if (prefix === 'xml') throw new EvidenceError('rim_xml_attribute_reserved')
  const namespace = prefix === '' ? '' : namespaceOf(name, scope)
  return { name, local: localOf(name), namespace, value }
}
