import { concatBytes, encodeUtf8, type Bytes } from '@vouchgate/attestation'
import * as fc from 'fast-check'

type Edit = (bytes: Uint8Array) => Uint8Array

interface Splice {
  /** Which input of the corpus the end is taken from. */
  readonly from: number
  readonly at: number
  readonly otherAt: number
}

/** How one input of the corpus becomes another; numbers are taken modulo what there is. */
export interface Mutation {
  readonly parent: number
  readonly splice: Splice | null
  readonly edits: readonly Edit[]
}

/** Lengths that lie, structure that nests or does not end, names and numbers that parsers treat apart. */
const TOKENS: readonly Bytes[] = [
  ...[
    'null',
    'true',
    '-1',
    '0',
    '1e999',
    '0.5',
    '9007199254740993',
    '{}',
    '[]',
    '""',
    '"__proto__":',
    '"__proto__"',
    '"constructor"',
    String.raw`"\u0000"`,
    String.raw`"\ud800"`,
    '{"a":1,"a":2}',
    '['.repeat(20),
    '"\u00e9\ufeff"',
    ',',
    '-----BEGIN CERTIFICATE-----\n',
    '-----END CERTIFICATE-----\n',
    '%00',
    '%e9',
    '=',
    '<a xmlns="urn:x" b="">',
    '</a>',
    '<!--',
    '<![CDATA[',
    '&#x',
    '&amp;',
  ].map(encodeUtf8),
  ...[
    [0x30, 0x80],
    [0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    [0x02, 0x01, 0xff],
    [0x05, 0x00],
    [0x1f, 0x81, 0x01],
    [0xa0, 0x00],
    [0xff, 0xff, 0xff, 0xff],
    [0x00, 0x00, 0x00, 0x80],
    [0x00, 0x00, 0x00, 0x00],
    [0x01, 0x00],
    [0xc3, 0x28],
  ].map((bytes) => Uint8Array.from(bytes)),
]

const END = -1
const place = fc.oneof(
  { weight: 15, arbitrary: fc.nat(0xffff) },
  { weight: 1, arbitrary: fc.constant(END) },
)
const length = fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 2048 }))
const token = fc.constantFrom(...TOKENS)

const replaced = (bytes: Uint8Array, from: number, to: number, by: Uint8Array): Uint8Array =>
  concatBytes(bytes.subarray(0, from), by, bytes.subarray(to))

const within = (at: number, bytes: Uint8Array): number =>
  at === END ? bytes.length : at % (bytes.length + 1)

const overwritten: fc.Arbitrary<Edit> = fc
  .tuple(place, fc.oneof(token, fc.uint8Array({ minLength: 1, maxLength: 4 })))
  .map(([at, by]) => (bytes) => {
    const from = within(at, bytes)
    return replaced(bytes, from, from + by.length, by)
  })

const flipped: fc.Arbitrary<Edit> = fc.tuple(place, fc.nat(7)).map(([at, bit]) => (bytes) => {
  if (bytes.length === 0) return bytes
  const from = within(at, bytes) % bytes.length
  return bytes.with(from, (bytes[from] ?? 0) ^ (1 << bit))
})

const cut: fc.Arbitrary<Edit> = fc.tuple(place, length).map(([at, count]) => (bytes) => {
  const from = within(at, bytes)
  return replaced(bytes, from, from + count, Uint8Array.of())
})

const inserted: fc.Arbitrary<Edit> = fc.tuple(place, token).map(([at, by]) => (bytes) => {
  const from = within(at, bytes)
  return replaced(bytes, from, from, by)
})

const repeated: fc.Arbitrary<Edit> = fc
  .tuple(place, length, fc.integer({ min: 1, max: 40 }))
  .map(([at, count, times]) => (bytes) => {
    const from = within(at, bytes)
    const part = bytes.subarray(from, from + count)
    return replaced(bytes, from, from, concatBytes(...Array.from({ length: times }, () => part)))
  })

const ended: fc.Arbitrary<Edit> = place.map((at) => (bytes) => bytes.subarray(0, within(at, bytes)))

/** Gives one character for each byte. */
const ONE_BYTE = new TextDecoder('latin1')

/** One token of JSON, put in place of another. */
const JSON_TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[[\]{},:]/g

const retokened: fc.Arbitrary<Edit> = fc.tuple(place, token).map(([at, by]) => (bytes) => {
  const text = ONE_BYTE.decode(bytes)
  JSON_TOKEN.lastIndex = within(at, bytes)
  const found = JSON_TOKEN.exec(text)
  if (found === null) return bytes
  return replaced(bytes, found.index, found.index + found[0].length, by)
})

const spliced: fc.Arbitrary<Splice | null> = fc.oneof(
  { weight: 7, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.record({ from: fc.nat(), at: place, otherAt: place }) },
)

const mutation: fc.Arbitrary<Mutation> = fc.record({
  parent: fc.nat(),
  splice: spliced,
  edits: fc.array(
    fc.oneof(flipped, overwritten, cut, inserted, repeated, ended, retokened, retokened),
    { minLength: 1, maxLength: 4 },
  ),
})

/** The same mutations for the same seed. */
export const mutations = (seed: number, count: number): Mutation[] =>
  fc.sample(mutation, { seed, numRuns: count })

/** A new input out of those of the corpus. */
export function mutate(
  { parent, splice, edits }: Mutation,
  corpus: readonly Uint8Array[],
): Uint8Array {
  const pick = (at: number): Uint8Array => corpus[at % corpus.length] ?? Uint8Array.of()
  const first = pick(parent)
  const base =
    splice === null
      ? first
      : concatBytes(
          first.subarray(0, within(splice.at, first)),
          pick(splice.from).subarray(within(splice.otherAt, pick(splice.from))),
        )
  return edits.reduce((bytes, edit) => edit(bytes), base)
}
