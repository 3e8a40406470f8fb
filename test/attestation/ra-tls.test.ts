import * as fc from 'fast-check'
import { gzipSync as gzip } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { EvidenceError, fromHex, toHex } from '../../attestation/index.ts'
import { parseDstackLog } from '../../attestation/eventlog/dstack.ts'
import { readEvidenceCertificate } from '../../attestation/ra-tls/certificate.ts'
import { readDstackAttestation } from '../../attestation/ra-tls/dstack.ts'
import { checkClaims } from '../../attestation/ra-tls/interoperable.ts'
import { decodeCbor, decodeMessagePack } from '../../attestation/ra-tls/packed.ts'
import { parseQuote } from '../../attestation/tdx/quote.ts'
import { concat, octetString } from '../support/der.ts'
import { runtimeEntry } from '../support/eventlog.ts'
import { newSigningKey } from '../support/pki.ts'
import {
  cbor,
  claimsOf,
  documentAttestation,
  flatClaimsOf,
  messagePack,
  newRaTlsIdentity,
  scaleAttestation,
  Tagged,
  type Plain,
  type RaTlsFields,
  type RaTlsForm,
} from '../support/ra-tls.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { hasVectors, vectorBytes } from '../support/vectors.ts'

const vendor = createTeeVendor()
const FORMS: RaTlsForm[] = [
  'dstack-legacy',
  'dstack-scale',
  'dstack-cbor',
  'dstack-msgpack',
  'interoperable',
]
const log = [
  runtimeEntry('system-preparing', new Uint8Array(0)),
  runtimeEntry('compose-hash', new Uint8Array(32).fill(7)),
  runtimeEntry('system-ready', new Uint8Array(0)),
]

const codeOf = async (reading: Promise<unknown> | (() => unknown)): Promise<string> => {
  try {
    await (typeof reading === 'function' ? reading() : reading)
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
  return 'none'
}

async function read(fields: RaTlsFields) {
  const identity = await newRaTlsIdentity(vendor, { log, ...fields })
  return { identity, evidence: await readEvidenceCertificate(identity.der) }
}

describe('a certificate with evidence', () => {
  test.each(FORMS)('in the form %s gives its quote, and the quote names its key', async (form) => {
    const { identity, evidence } = await read({ form })
    expect(toHex(evidence.quote)).toBe(toHex(identity.quote))
    const { reportData } = parseQuote(evidence.quote).body.report
    expect(await codeOf(evidence.checkBinding(reportData))).toBe('none')
  })

  test.each(FORMS)('in the form %s with a quote over another key is not bound', async (form) => {
    const { evidence } = await read({ form, boundKey: newSigningKey() })
    const { reportData } = parseQuote(evidence.quote).body.report
    expect(await codeOf(evidence.checkBinding(reportData))).toBe('ra_tls_key_not_bound')
  })

  test.each(FORMS)(
    'in the form %s with one other bit of report data is not bound',
    async (form) => {
      for (const at of [0, 31, 32, 63]) {
        const reportData = (value: Uint8Array) => value.with(at, (value[at] ?? 0) ^ 1)
        const { evidence } = await read({ form, reportData })
        const quoted = parseQuote(evidence.quote).body.report.reportData
        expect(await codeOf(evidence.checkBinding(quoted))).toBe('ra_tls_key_not_bound')
      }
    },
  )

  test.each(FORMS.slice(0, 4))('in the form %s brings the log of its guest', async (form) => {
    const { evidence } = await read({ form })
    const { events } = await parseDstackLog(evidence.eventLog ?? '')
    expect(events.map((event) => (event.kind === 'runtime' ? event.name : ''))).toEqual([
      'system-preparing',
      'compose-hash',
      'system-ready',
    ])
  })

  test('without evidence says so', async () => {
    const { der } = await newRaTlsIdentity(vendor, { certificate: { extensions: [] } })
    expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_absent')
  })

  test.each(FORMS)('in the form %s cut short is malformed', async (form) => {
    const { der } = await newRaTlsIdentity(vendor, {
      form,
      log,
      edit: (value) => value.subarray(0, -1),
    })
    expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_malformed')
  })

  test.each(['dstack-scale', 'dstack-cbor', 'dstack-msgpack', 'interoperable'] as const)(
    'in the form %s with a byte behind it is malformed',
    async (form) => {
      const { der } = await newRaTlsIdentity(vendor, {
        form,
        edit: (value) => concat(value, Uint8Array.of(0)),
      })
      expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_malformed')
    },
  )

  test('a log that unpacks to more than a mebibyte is given up', async () => {
    const text = 'x'.repeat((1 << 20) + 1)
    const { der } = await newRaTlsIdentity(vendor, {
      form: 'dstack-legacy',
      edit: () => Uint8Array.from(gzip(text)),
    })
    expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_malformed')
  })

  test('a log in plain text is read as well', async () => {
    const { evidence } = await read({
      form: 'dstack-legacy',
      edit: () => Uint8Array.from(Buffer.from('[]')),
    })
    expect(evidence.eventLog).toBe('[]')
  })

  test('with two values in one extension is malformed', async () => {
    const value = concat(octetString(Uint8Array.of(1)), octetString(Uint8Array.of(2)))
    const extensions = [{ oid: '1.3.6.1.4.1.62397.1.1', critical: false, value }]
    const { der } = await newRaTlsIdentity(vendor, { certificate: { extensions } })
    expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_malformed')
  })

  test('a certificate of a quarter mebibyte is not read', async () => {
    expect(await codeOf(readEvidenceCertificate(new Uint8Array((1 << 18) + 1)))).toBe(
      'ra_tls_malformed',
    )
  })
})

describe('an attestation of dstack', () => {
  const quote = Uint8Array.of(1, 2, 3)
  const expected = {
    quote,
    events: log.map(({ imr, event_type, digest, event, event_payload }) => ({
      imr,
      event_type,
      digest,
      event,
      event_payload,
    })),
  }

  test('says the same in each of its encodings', () => {
    const document = documentAttestation(quote, log)
    expect(readDstackAttestation(scaleAttestation(quote, log))).toEqual(expected)
    expect(readDstackAttestation(cbor(document))).toEqual(expected)
    expect(readDstackAttestation(messagePack(document))).toEqual(expected)
  })

  test('of another TEE is told apart', async () => {
    const other = scaleAttestation(quote, log).with(1, 1)
    expect(await codeOf(() => readDstackAttestation(other))).toBe('ra_tls_tee_unsupported')
    const document = { version: 1, platform: { kind: 'sev-snp', data: {} } }
    expect(await codeOf(() => readDstackAttestation(cbor(document)))).toBe('ra_tls_tee_unsupported')
  })

  test.each<[string, Plain]>([
    ['of another version', { ...documentAttestation(quote, log), version: 2 }],
    ['without a version', { platform: { kind: 'tdx', data: {} } }],
    ['without a quote', { version: 1, platform: { kind: 'tdx', data: { event_log: [] } } }],
    [
      'with a log that is no list',
      { version: 1, platform: { kind: 'tdx', data: { quote, event_log: 7 } } },
    ],
    [
      'with a quote of more than bytes',
      { version: 1, platform: { kind: 'tdx', data: { quote: [256], event_log: [] } } },
    ],
    [
      'with an event in a register by name',
      {
        version: 1,
        platform: {
          kind: 'tdx',
          data: {
            quote,
            event_log: [
              { imr: 'x', event_type: 1, digest: quote, event: '', event_payload: quote },
            ],
          },
        },
      },
    ],
    ['with a platform of numbers', { version: 1, platform: { kind: 7, data: {} } }],
    ['that is a list', [1]],
  ])('%s is malformed', async (_, document) => {
    expect(await codeOf(() => readDstackAttestation(messagePack(document)))).toBe(
      'ra_tls_malformed',
    )
  })

  test('with more than 10 000 events is malformed', async () => {
    const many = Array.from({ length: 10_001 }, () => log[0]).filter((entry) => entry !== undefined)
    expect(await codeOf(() => readDstackAttestation(scaleAttestation(quote, many)))).toBe(
      'ra_tls_malformed',
    )
    expect(await codeOf(() => readDstackAttestation(cbor(documentAttestation(quote, many))))).toBe(
      'ra_tls_malformed',
    )
  })

  test('a count that no document could hold is refused before anything is allocated', async () => {
    const huge = concat(Uint8Array.of(0, 0), Uint8Array.of(0xfe, 0xff, 0xff, 0xff))
    expect(await codeOf(() => readDstackAttestation(huge))).toBe('ra_tls_malformed')
    expect(await codeOf(() => readDstackAttestation(Uint8Array.of(0, 0, 3)))).toBe(
      'ra_tls_malformed',
    )
    // A number of the form for large ones, which would read as zero.
    const empty = concat(Uint8Array.of(0, 0, 3, 0, 0, 0, 0, 0), new Uint8Array(65))
    expect(await codeOf(() => readDstackAttestation(empty))).toBe('ra_tls_malformed')
    expect(await codeOf(() => readDstackAttestation(empty.with(2, 2)))).toBe('none')
    expect(await codeOf(() => readDstackAttestation(Uint8Array.of(1)))).toBe('ra_tls_malformed')
  })

  test.skipIf(!hasVectors)('as captured is read to its last byte', async () => {
    const { quote: captured, events } = readDstackAttestation(
      vectorBytes('providers', 'dstack-fixtures', 'attestation.bin'),
    )
    expect(parseQuote(captured).body.tee).toBe('tdx')
    expect(events).toHaveLength(33)
    const { events: parsed } = await parseDstackLog(JSON.stringify(events))
    expect(parsed.filter(({ rtmr }) => rtmr === 3)).toHaveLength(9)
  })
})

describe('claims of interoperable RA-TLS', () => {
  const { spki } = newSigningKey()

  test.each([
    ['nested', claimsOf],
    ['flat', flatClaimsOf],
  ] as const)('name a key, %s', async (_, claims) => {
    const digest = await crypto.subtle.digest('SHA-256', spki)
    expect(await codeOf(checkClaims(claims(new Uint8Array(digest)), spki))).toBe('none')
    const other = newSigningKey().spki
    expect(await codeOf(checkClaims(claims(new Uint8Array(digest)), other))).toBe(
      'ra_tls_key_not_bound',
    )
  })

  test.each([
    ['SHA-384', 7],
    ['SHA-512', 8],
  ] as const)('may hash with %s', async (name, id) => {
    const digest = new Uint8Array(await crypto.subtle.digest(name, spki))
    expect(await codeOf(checkClaims(cbor({ 'pubkey-hash': [id, digest] }), spki))).toBe('none')
  })

  test('may not hash with what is too short', async () => {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', spki)).slice(0, 16)
    expect(await codeOf(checkClaims(cbor({ 'pubkey-hash': [2, digest] }), spki))).toBe(
      'ra_tls_key_not_bound',
    )
    expect(await codeOf(checkClaims(cbor({ 'pubkey-hash': [1, digest] }), spki))).toBe(
      'ra_tls_key_not_bound',
    )
  })

  test.each<[string, Plain]>([
    ['without a key', {}],
    ['that are no map', [1]],
    ['with a hash that is text', { 'pubkey-hash': [1, 'aa'] }],
    ['with an algorithm by name', { 'pubkey-hash': ['sha-256', new Uint8Array(32)] }],
  ])('%s are malformed', async (_, claims) => {
    expect(await codeOf(checkClaims(cbor(claims), spki))).toBe('ra_tls_malformed')
  })

  test.each<[string, Plain]>([
    ['without its tag', [new Uint8Array(3), new Uint8Array(3)]],
    ['with another tag', new Tagged(60_001, [new Uint8Array(3), new Uint8Array(3)])],
    ['with one part', new Tagged(60_000, [new Uint8Array(3)])],
    ['with three parts', new Tagged(60_000, [new Uint8Array(3), new Uint8Array(3), 1])],
    ['with text', new Tagged(60_000, ['a', 'b'])],
  ])('evidence %s is malformed', async (_, evidence) => {
    const { der } = await newRaTlsIdentity(vendor, {
      form: 'interoperable',
      edit: () => cbor(evidence),
    })
    expect(await codeOf(readEvidenceCertificate(der))).toBe('ra_tls_malformed')
  })
})

describe('packed documents', () => {
  const value = {
    a: 1,
    b: [300, 70_000, 2 ** 40],
    c: new Uint8Array(300),
    d: 'x'.repeat(70_000),
    e: null,
  }

  test('come back as they were written', () => {
    for (const decoded of [decodeCbor(cbor(value)), decodeMessagePack(messagePack(value))]) {
      expect(decoded).toMatchObject({ kind: 'map' })
      const members = decoded.kind === 'map' ? decoded.members : new Map()
      expect(members.get('b')).toEqual({
        kind: 'list',
        items: [300, 70_000, 2 ** 40].map((each) => ({ kind: 'integer', value: each })),
      })
      expect(members.get('e')).toEqual({ kind: 'empty' })
      expect(members.get('d')).toMatchObject({ value: 'x'.repeat(70_000) })
    }
  })

  test('nested too deep, or with a name that occurs twice, or that is no text, are malformed', async () => {
    let deep: Plain = 1
    for (let depth = 0; depth < 17; depth++) deep = [deep]
    expect(await codeOf(() => decodeCbor(cbor(deep)))).toBe('ra_tls_malformed')
    expect(await codeOf(() => decodeCbor(fromHex('a2616101616102')))).toBe('ra_tls_malformed')
    expect(await codeOf(() => decodeCbor(fromHex('a10101')))).toBe('ra_tls_malformed')
  })

  test.each([
    '9f01ff',
    '20',
    'f97e00',
    '1bffffffffffffffff',
    '1c',
    `1c${'00'.repeat(16)}`,
    'fe',
    '9bffffffffffffff00',
    '5a7fffffff00',
    '',
  ])('CBOR %s is malformed', async (hex) => {
    expect(await codeOf(() => decodeCbor(fromHex(hex)))).toBe('ra_tls_malformed')
  })

  test.each(['c1', 'ca00000000', 'd0ff', 'ff', 'ddffffffff', 'c6ffffffff', ''])(
    'MessagePack %s is malformed',
    async (hex) => {
      expect(await codeOf(() => decodeMessagePack(fromHex(hex)))).toBe('ra_tls_malformed')
    },
  )

  test('of any bytes are read or refused with a code', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        for (const decode of [decodeCbor, decodeMessagePack, readDstackAttestation]) {
          expect(await codeOf(() => decode(bytes))).toMatch(/^(?:none|ra_tls_|encoding_malformed)/)
        }
      }),
    )
  })
})
