import { decodeUtf8 } from '../../bytes.ts'
import { EvidenceError } from '../../errors.ts'
import {
  attributeNames,
  declare,
  namespaceOf,
  type Scope,
  type XmlAttribute,
} from './xml-namespace.ts'

/** An element with everything canonicalisation and reading need; both see the same tree. */
export interface XmlElement {
  /** As written, with its prefix. */
  readonly name: string
  readonly local: string
  /** Empty for none. */
  readonly namespace: string
  readonly scope: Scope
  /** Without namespace declarations, in document order. */
  readonly attributes: readonly XmlAttribute[]
  readonly children: readonly XmlNode[]
}

/** Text is what it means: references resolved, line ends normalised. */
type XmlNode = XmlElement | string

const MAX_BYTES = 1 << 20
const MAX_DEPTH = 16
const MAX_NODES = 5000
const MAX_ATTRIBUTES = 64

const SPACE = /[ \t\n]*/y
const DECLARATION =
  /<\?xml[ \t\n]+version[ \t\n]*=[ \t\n]*(?:"1\.0"|'1\.0')(?:[ \t\n]+encoding[ \t\n]*=[ \t\n]*(?:"[Uu][Tt][Ff]-8"|'[Uu][Tt][Ff]-8'))?(?:[ \t\n]+standalone[ \t\n]*=[ \t\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?[ \t\n]*\?>/y
/** ASCII alone: sorting by code point and by UTF-16 unit is then the same. */
const NAME = /[A-Za-z_][A-Za-z0-9._-]*(?::[A-Za-z_][A-Za-z0-9._-]*)?/y
const TEXT = /[^<]+/y
const REFERENCE = /&([^;]*);?/g
/** What is no `Char` (XML 1.0 §2.2). */
const NO_CHAR = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/u
const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
])
/** Markup that could hide content from one reader and not from another, or cost more than its length. */
const REFUSED = [
  ['<!--', 'rim_xml_comment'],
  ['<![CDATA[', 'rim_xml_cdata'],
  ['<!', 'rim_xml_doctype'],
  ['<?', 'rim_xml_instruction'],
] as const

/**
 * Reads the subset of XML 1.0 with namespaces in which reference values are written: elements, attributes, text,
 * character references and the five entities. Time and memory are linear in the length.
 *
 * @param bytes UTF-8 with or without byte order mark, 1 to 1,048,576 bytes.
 * @throws EvidenceError `rim_size`, `rim_encoding`, `rim_xml_*`
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length === 0 || bytes.length > MAX_BYTES) throw new EvidenceError('rim_size')
  const text = decoded(bytes)
  if (NO_CHAR.test(text)) throw new EvidenceError('rim_xml_malformed')
  // Line ends are one character before anything else is done (XML 1.0 §2.11).
  return new XmlReader(text.replaceAll(/\r\n?/g, '\n')).document()
}

function decoded(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes).replace(/^\ufeff/, '')
  } catch {
    throw new EvidenceError('rim_encoding')
  }
}

class XmlReader {
  readonly #text: string
  #at = 0
  #nodes = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): XmlElement {
    this.#match(DECLARATION)
    this.#match(SPACE)
    const root = this.#element(1, null)
    this.#match(SPACE)
    this.#refuseMarkup()
    if (this.#at !== this.#text.length) throw new EvidenceError('rim_xml_malformed')
    return root
  }

  #element(depth: number, outer: Scope | null): XmlElement {
    this.#refuseMarkup()
    this.#countNode()
    if (depth > MAX_DEPTH) throw new EvidenceError('rim_xml_limit')
    this.#expect('<')
    const name = this.#name()
    const written = this.#attributes()
    const scope = declare(written, outer)
    const attributes = attributeNames(written, scope)
    const empty = this.#skip('/>')
    if (!empty) this.#expect('>')
    const children = empty ? [] : this.#content(depth, scope)
    if (!empty) this.#endTag(name)
    const local = name.slice(name.indexOf(':') + 1)
    return { name, local, namespace: namespaceOf(name, scope), scope, attributes, children }
  }

  #endTag(name: string): void {
    this.#expect(`</${name}`)
    this.#match(SPACE)
    this.#expect('>')
  }

  #content(depth: number, scope: Scope): XmlNode[] {
    const children: XmlNode[] = []
    while (!this.#text.startsWith('</', this.#at)) {
      const text = this.#match(TEXT)
      children.push(text === '' ? this.#element(depth + 1, scope) : this.#characters(text))
    }
    return children
  }

  #characters(text: string): string {
    this.#countNode()
    if (text.includes(']]>')) throw new EvidenceError('rim_xml_malformed')
    return resolved(text)
  }

  /** Names as written to values as they mean, in document order. */
  #attributes(): ReadonlyMap<string, string> {
    const attributes = new Map<string, string>()
    for (;;) {
      const spaced = this.#match(SPACE) !== ''
      const next = this.#text[this.#at]
      if (next === '>' || next === '/') return attributes
      if (!spaced) throw new EvidenceError('rim_xml_malformed')
      if (attributes.size === MAX_ATTRIBUTES) throw new EvidenceError('rim_xml_limit')
      const name = this.#name()
      this.#match(SPACE)
      this.#expect('=')
      this.#match(SPACE)
      if (attributes.has(name)) throw new EvidenceError('rim_xml_attribute_duplicate')
      attributes.set(name, this.#attributeValue())
    }
  }

  /** White space becomes a space unless it is written as a reference (XML 1.0 §3.3.3). */
  #attributeValue(): string {
    const quote = this.#text[this.#at]
    if (quote !== '"' && quote !== "'") throw new EvidenceError('rim_xml_malformed')
    const end = this.#text.indexOf(quote, this.#at + 1)
    const value = this.#text.slice(this.#at + 1, Math.max(end, 0))
    if (end < 0 || value.includes('<')) throw new EvidenceError('rim_xml_malformed')
    this.#at = end + 1
    return resolved(value.replaceAll(/[\t\n]/g, ' '))
  }

  #refuseMarkup(): void {
    for (const [start, code] of REFUSED) {
      if (this.#text.startsWith(start, this.#at)) throw new EvidenceError(code)
    }
  }

  #countNode(): void {
    if (++this.#nodes > MAX_NODES) throw new EvidenceError('rim_xml_limit')
  }

  #name(): string {
    const name = this.#match(NAME)
    if (name === '') throw new EvidenceError('rim_xml_malformed')
    return name
  }

  /** What the pattern matches here, or nothing. */
  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0] ?? ''
    this.#at += found.length
    return found
  }

  #skip(token: string): boolean {
    if (!this.#text.startsWith(token, this.#at)) return false
    this.#at += token.length
    return true
  }

  #expect(token: string): void {
    if (!this.#skip(token)) throw new EvidenceError('rim_xml_malformed')
  }
}

const resolved = (text: string): string =>
  text.replaceAll(REFERENCE, (whole, name: string) => referenced(whole, name))

function referenced(whole: string, name: string): string {
  if (!whole.endsWith(';')) throw new EvidenceError('rim_xml_malformed')
  if (name.startsWith('#')) return characterOf(name.slice(1))
  const character = ENTITIES.get(name)
  if (character === undefined) throw new EvidenceError('rim_xml_entity')
  return character
}

/** `10` or `xA`. */
function characterOf(number: string): string {
  const digits = /^(?:x(?<hex>[0-9A-Fa-f]{1,8})|(?<decimal>[0-9]{1,8}))$/.exec(number)?.groups
  const hex = digits?.['hex']
  const code =
    hex === undefined ? Number.parseInt(digits?.['decimal'] ?? '', 10) : Number.parseInt(hex, 16)
  const character = code <= 0x10ffff ? String.fromCodePoint(code) : '\0'
  if (NO_CHAR.test(character)) throw new EvidenceError('rim_xml_malformed')
  return character
}
