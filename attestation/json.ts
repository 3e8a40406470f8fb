import { EvidenceError } from './errors.ts'

export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [member: string]: JsonValue }

const MAX_DEPTH = 16
const MAX_LENGTH = 1 << 23

const SCALAR = /(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)/y

const SPACES: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d])

/** Start and end of each member's value in the text. */
export type MemberSpans = ReadonlyMap<string, readonly [number, number]>

const QUOTE = 0x22
const BACKSLASH = 0x5c
const FIRST_PRINTABLE = 0x20

/** V8's own error quotes the input, so it is dropped, not chained. */
function nativeParse(text: string): JsonValue {
  try {
    const value: JsonValue = JSON.parse(text)
    return value
  } catch {
    throw new EvidenceError('json_malformed')
  }
}

/** The value of a string: two spellings of one name are the same name. */
function unquote(text: string): string {
  const value = nativeParse(text)
  if (typeof value !== 'string') throw new EvidenceError('json_malformed')
  return value
}

/**
 * Walks a JSON text and refuses what two parsers could read differently: duplicate member names
 * (`JSON.parse` keeps the last one, others the first), excessive depth and trailing text.
 */
class Scanner {
  readonly #text: string
  readonly #maxDepth: number
  #at = 0

  constructor(text: string, maxDepth: number) {
    this.#text = text
    this.#maxDepth = maxDepth
  }

  document(): MemberSpans | null {
    this.#space()
    const members = this.#value(0)
    this.#space()
    if (this.#at !== this.#text.length) throw new EvidenceError('json_malformed')
    return members
  }

  #space(): void {
    while (SPACES.has(this.#text.charCodeAt(this.#at))) this.#at++
  }

  #scalar(): void {
    SCALAR.lastIndex = this.#at
    if (!SCALAR.test(this.#text)) throw new EvidenceError('json_malformed')
    this.#at = SCALAR.lastIndex
  }

  #takes(char: string): boolean {
    this.#space()
    if (this.#text[this.#at] !== char) return false
    this.#at++
    return true
  }

  #expect(char: string): void {
    if (!this.#takes(char)) throw new EvidenceError('json_malformed')
  }

  #value(depth: number): MemberSpans | null {
    if (depth > this.#maxDepth) throw new EvidenceError('json_malformed')
    const first = this.#text[this.#at]
    if (first === '{') return this.#object(depth)
    if (first === '[') this.#array(depth)
    else if (first === '"') this.#string()
    else this.#scalar()
    return null
  }

  /** Moves past a string. Its first quote and its escapes are left to `JSON.parse`; gives whether it has none. */
  #string(): boolean {
    let plain = this.#text.charCodeAt(this.#at) === QUOTE
    let at = this.#at + 1
    for (let code = this.#text.charCodeAt(at); code !== QUOTE; code = this.#text.charCodeAt(at)) {
      if (Number.isNaN(code)) throw new EvidenceError('json_malformed')
      if (code === BACKSLASH || code < FIRST_PRINTABLE) plain = false
      at += code === BACKSLASH ? 2 : 1
    }
    this.#at = at + 1
    return plain
  }

  #name(): string {
    const start = this.#at
    const plain = this.#string()
    return plain
      ? this.#text.slice(start + 1, this.#at - 1)
      : unquote(this.#text.slice(start, this.#at))
  }

  #object(depth: number): MemberSpans {
    const members = new Map<string, readonly [number, number]>()
    this.#expect('{')
    if (this.#takes('}')) return members
    do {
      this.#space()
      const name = this.#name()
      if (members.has(name)) throw new EvidenceError('json_malformed')
      this.#expect(':')
      this.#space()
      const start = this.#at
      this.#value(depth + 1)
      members.set(name, [start, this.#at])
    } while (this.#takes(','))
    this.#expect('}')
    return members
  }

  #array(depth: number): void {
    this.#expect('[')
    if (this.#takes(']')) return
    do {
      this.#space()
      this.#value(depth + 1)
    } while (this.#takes(','))
    this.#expect(']')
  }
}

/** Strict JSON: no duplicate members, depth at most 16, at most 8 MiB of text. Throws `json_malformed`. */
export function parseJson(text: string): JsonValue {
  if (text.length > MAX_LENGTH) throw new EvidenceError('json_malformed')
  new Scanner(text, MAX_DEPTH).document()
  return nativeParse(text)
}

/**
 * Where the value of each top-level member of a JSON object starts and ends. Nested duplicates and a depth
 * beyond `maxDepth` throw `json_malformed`; whether the values are valid JSON is left to the parser.
 */
export function memberSpans(text: string, maxDepth = MAX_DEPTH): MemberSpans {
  const members = new Scanner(text, maxDepth).document()
  if (members === null) throw new EvidenceError('json_malformed')
  return members
}

/**
 * The exact text of each top-level member of a JSON object. Signatures of Intel's collateral cover the
 * bytes of one member as served, so it may never be re-serialised.
 */
export function memberTexts(text: string): ReadonlyMap<string, string> {
  return new Map(
    [...memberSpans(text)].map(([name, [start, end]]) => [name, text.slice(start, end)]),
  )
}
