import {
  concatBytes,
  equalBytes,
  EvidenceError,
  formatTime,
  fromBase64,
  fromHex,
  jcs,
  memberSpans,
  parseJson,
  parseQuote,
  parseReport,
  parseTime,
  testPkiRoot,
  toBase64,
  toHex,
  verifyQuote,
  type JsonValue,
} from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DER, derContent, derElements, derOid, derUnsigned } from '../../attestation/der.ts'
import { parseCrl } from '../../attestation/x509-crl.ts'
import { parseCertificate } from '../../attestation/x509.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const coded = (code?: string) =>
  expect.objectContaining({ name: 'EvidenceError', ...(code === undefined ? {} : { code }) })

/** Runs a parser on hostile bytes: it may refuse with a code, and may do nothing else but succeed. */
async function refusesOrReads(parse: () => unknown): Promise<void> {
  try {
    await parse()
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error
  }
}

describe('hex and base64', () => {
  test('round-trip', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(equalBytes(fromHex(toHex(bytes)), bytes)).toBe(true)
        expect(equalBytes(fromBase64(toBase64(bytes)), bytes)).toBe(true)
      }),
    )
  })

  test.for(['a', 'zz', '0x00', '00 ', 'é0'])('hex %j is refused', (text) => {
    expect(() => fromHex(text)).toThrow(coded('encoding_malformed'))
  })

  test.for(['a', 'ab=', 'a===', 'ab==\n', 'a-b_', '=abc'])('base64 %j is refused', (text) => {
    expect(() => fromBase64(text)).toThrow(coded('encoding_malformed'))
  })
})

describe('JSON', () => {
  test('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value)
        expect(parseJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  test('member spans are the members as written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (object) => {
        const text = JSON.stringify(object, null, 1)
        for (const [name, [start, end]] of memberSpans(text)) {
          const value: unknown = JSON.parse(text.slice(start, end))
          expect(value).toEqual(JSON.parse(JSON.stringify(object[name])))
        }
        expect(memberSpans(text).size).toBe(Object.keys(object).length)
      }),
    )
  })

  const BAD: Record<string, string> = {
    'a duplicate member': '{"a":1,"a":2}',
    'a duplicate member, spelled otherwise': String.raw`{"a":1,"\u0061":2}`,
    'a nested duplicate member': '{"b":[{"a":1,"a":2}]}',
    'depth beyond 16': '['.repeat(18) + ']'.repeat(18),
    'depth beyond the stack': '['.repeat(100_000),
    'text after the value': '{} {}',
    'an unterminated string': '{"a":"b',
    'a string that ends in a backslash': String.raw`"a\\`.slice(0, -1),
    'a bare word': 'NaN',
    'a leading zero': '01',
    'a trailing comma': '[1,]',
    'a member without a colon': '{"a" 1}',
    'a member without quotes': '{a:1}',
    'an object that does not end': '{"a":1',
    'an array that does not end': '[1',
    'a control character': '"\u0001"',
    nothing: '',
  }

  test.for(Object.entries(BAD))('%s is refused', ([, text]) => {
    expect(() => parseJson(text)).toThrow(coded('json_malformed'))
  })

  // `memberSpans` leaves values to the parser, but not the structure around them.
  const LEFT_TO_THE_PARSER = new Set(['a control character'])

  test.for(Object.entries(BAD).filter(([name]) => !LEFT_TO_THE_PARSER.has(name)))(
    '%s has no members',
    ([, text]) => {
      expect(() => memberSpans(text)).toThrow(coded('json_malformed'))
      expect(() => memberSpans(`{"a":${text}`)).toThrow(coded('json_malformed'))
    },
  )

  test.for(['[]', '"a"', '1'])('%s is no object', (text) => {
    expect(() => memberSpans(text)).toThrow(coded('json_malformed'))
  })

  test('more than 8 MiB are refused', () => {
    expect(() => parseJson(`"${' '.repeat(1 << 23)}"`)).toThrow(coded('json_malformed'))
  })

  test('and no error quotes what was read', () => {
    expect(() => parseJson('{"prompt": canary-8c1e}')).not.toThrow(/canary/)
  })

  test('JCS sorts members and refuses what has no canonical form', () => {
    expect(jcs({ b: [1, null, true], a: 'é"\n', '\u{1f600}': 0, '\ufb33': 0 })).toBe(
      '{"a":"é\\"\\n","b":[1,null,true],"\u{1f600}":0,"\ufb33":0}',
    )
    const BAD_VALUES: JsonValue[] = [1.5, 2 ** 53, Number.NaN, '\ud800', { '\ud800': 1 }]
    for (const value of BAD_VALUES) expect(() => jcs(value)).toThrow(coded('json_malformed'))
  })
})

describe('DER', () => {
  const der = (hex: string) => derElements(fromHex(hex), 'crl_malformed')
  const BAD_ELEMENTS: Record<string, string> = {
    'a tag without a length': '30',
    'a tag of several bytes': '1f8101',
    'an indefinite length': '30800000',
    'a length of four bytes': '308400000001ff',
    'a length that is not minimal': '30810100',
    'a long length with a leading zero': '3082008100',
    'content beyond the end': '300201',
  }

  test.for(Object.entries(BAD_ELEMENTS))('%s is refused', ([, hex]) => {
    expect(() => der(hex)).toThrow(coded('crl_malformed'))
  })

  test('elements are read in order, with their bytes', () => {
    const [first, second, ...rest] = der('0201053000')
    expect(toHex(first?.bytes ?? fromHex(''))).toBe('020105')
    expect([first?.tag, second?.tag, rest]).toEqual([0x02, 0x30, []])
  })

  test('a content of another tag is refused', () => {
    expect(() => derContent(der('020105')[0], DER.sequence, 'crl_malformed')).toThrow(
      coded('crl_malformed'),
    )
  })

  test.for(['', '80', '0001', '0100', '010000000000'])('integer %j is refused', (hex) => {
    expect(() => derUnsigned(fromHex(hex), 0xff, 'crl_malformed')).toThrow(coded('crl_malformed'))
  })

  test.for(['', '80', '2a86', `2a${'ff'.repeat(9)}7f`])(
    'object identifier %j is refused',
    (hex) => {
      expect(() => derOid(fromHex(hex), 'crl_malformed')).toThrow(coded('crl_malformed'))
    },
  )

  test('an object identifier reads as its arcs', () => {
    expect(derOid(fromHex('2a864886f84d010d01'), 'crl_malformed')).toBe('1.2.840.113741.1.13.1')
  })
})

describe('times', () => {
  test('round-trip between 1970 and 9999', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799 }), (time) => {
        expect(parseTime(formatTime(time))).toBe(time)
      }),
    )
  })

  test.for([
    'never',
    '',
    '2026-02-30T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00+00:00',
    '2026-01-01T00:00:00.000Z',
    '2026-01-01',
    '+10000-01-01T00:00:00Z',
  ])('%j is refused', (text) => {
    expect(() => parseTime(text)).toThrow(coded('time_malformed'))
  })
})

const mutated = (bytes: Uint8Array) =>
  fc
    .tuple(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length))
    .map(([at, value, end]) => bytes.with(at, value).slice(0, Math.max(end, at + 1)))

describe('hostile bytes are refused with a code, never a crash:', () => {
  const vendor = createTeeVendor()
  const { der } = vendor.certificates.leaf
  const crl = fromHex(vendor.collateral().pck_crl)

  test('certificates', async () => {
    await fc.assert(
      fc.asyncProperty(mutated(der), async (bytes) =>
        refusesOrReads(() => parseCertificate(bytes)),
      ),
      { numRuns: 500 },
    )
  })

  test('CRLs', async () => {
    await fc.assert(
      fc.asyncProperty(mutated(crl), async (bytes) => refusesOrReads(() => parseCrl(bytes))),
      { numRuns: 500 },
    )
  })

  test('quotes', async () => {
    const quote = await vendor.quote({ reportData: new Uint8Array(64) })
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(mutated(quote), fc.uint8Array({ maxLength: 2000 })),
        async (bytes) => refusesOrReads(() => parseQuote(bytes)),
      ),
      { numRuns: 500 },
    )
  })

  test('reports', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) =>
        refusesOrReads(() => parseReport(bytes)),
      ),
    )
  })
})

test('no byte of a quote before its certificates can change', async () => {
  const vendor = createTeeVendor()
  const quote = await vendor.quote({ reportData: new Uint8Array(64) })
  const trustedRoot = await testPkiRoot(vendor.rootPem)
  const collateral = vendor.collateral()
  const input = { collateral, now: vendor.now, trustedRoot }
  const certificates = Buffer.from(quote).indexOf('-----BEGIN')
  // Every seventh byte: all fields of header, body, QE report and signatures are met.
  for (let at = 0; at < certificates; at += 7) {
    const changed = quote.with(at, (quote[at] ?? 0) ^ 0x40)
    await expect(verifyQuote({ ...input, quote: changed }), `byte ${at}`).rejects.toThrow(
      EvidenceError,
    )
  }
})

test('no byte of a certificate or CRL can change', async () => {
  const vendor = createTeeVendor()
  const quote = await vendor.quote({ reportData: new Uint8Array(64) })
  const trustedRoot = await testPkiRoot(vendor.rootPem)
  const collateral = vendor.collateral()
  const start = Buffer.from(quote).indexOf('-----BEGIN')
  const crl = fromHex(collateral.pck_crl)
  for (let at = start; at < quote.length; at += 61) {
    const changed = concatBytes(quote).with(at, (quote[at] ?? 0) ^ 0x02)
    await expect(
      verifyQuote({ quote: changed, collateral, now: vendor.now, trustedRoot }),
      `byte ${at} of the quote`,
    ).rejects.toThrow(EvidenceError)
  }
  for (let at = 0; at < crl.length; at += 11) {
    const changed = { ...collateral, pck_crl: toHex(crl.with(at, (crl[at] ?? 0) ^ 0x02)) }
    await expect(
      verifyQuote({ quote, collateral: changed, now: vendor.now, trustedRoot }),
      `byte ${at} of the CRL`,
    ).rejects.toThrow(EvidenceError)
  }
})
