import { fromHex, type Bytes } from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { derElements } from '../../attestation/der.ts'
import { parseCrl } from '../../attestation/x509-crl.ts'
import { parseCertificate, parsePemChain } from '../../attestation/x509.ts'
import {
  bitString,
  concat,
  explicit,
  integer,
  octetString,
  sequence,
  utf8String,
} from '../support/der.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const { leaf } = vendor.certificates
const crl = fromHex(vendor.collateral().pck_crl)

/** The parts of a certificate or CRL, to be put together otherwise. */
function parts(der: Uint8Array): {
  tbs: Uint8Array[]
  algorithm: Uint8Array
  signature: Uint8Array
} {
  const [outer] = derElements(der, 'crl_malformed')
  const [tbs, algorithm, signature] = derElements(outer?.content ?? der, 'crl_malformed')
  const fields = derElements(tbs?.content ?? der, 'crl_malformed').map(({ bytes }) => bytes)
  return { tbs: fields, algorithm: algorithm?.bytes ?? der, signature: signature?.bytes ?? der }
}

const withFields = (der: Uint8Array, edit: (fields: Uint8Array[]) => Uint8Array[]): Bytes => {
  const { tbs, algorithm, signature } = parts(der)
  return sequence(sequence(...edit(tbs)), algorithm, signature)
}
const replaced =
  (index: number, ...by: Uint8Array[]) =>
  (fields: Uint8Array[]) =>
    fields.toSpliced(index, 1, ...by)
const withSignature = (value: Uint8Array): Bytes => {
  const { tbs, algorithm } = parts(leaf.der)
  return sequence(sequence(...tbs), algorithm, value)
}
const VALIDITY = 4
const SPKI = 6
const EXTENSIONS = 7
const list = (...extensions: Uint8Array[]) => explicit(3, sequence(...extensions))
const OID_1_2_3 = fromHex('06022a03')

const MALFORMED: Record<string, Uint8Array> = {
  'with bytes after it': concat(leaf.der, Uint8Array.of(0x05, 0x00)),
  'with a fourth part': sequence(
    ...derElements(
      derElements(leaf.der, 'crl_malformed')[0]?.content ?? leaf.der,
      'crl_malformed',
    ).map(({ bytes }) => bytes),
    integer(1),
  ),
  'of version 1': withFields(leaf.der, replaced(0, explicit(0, integer(0)))),
  'with a further field': withFields(leaf.der, (fields) => [...fields, integer(1)]),
  'without a key': withFields(leaf.der, (fields) => fields.slice(0, SPKI)),
  'with dates that are no times': withFields(
    leaf.der,
    replaced(VALIDITY, sequence(utf8String('20261120000000Z'), utf8String('20361120000000Z'))),
  ),
  'with dates that do not exist': withFields(
    leaf.der,
    replaced(VALIDITY, fromHex('301e170d3236313333303030303030305a170d3336313132303030303030305a')),
  ),
  'with a signature of spare bits': withSignature(bitString(sequence(integer(1), integer(1)), 1)),
  'with a signature of three integers': withSignature(
    bitString(sequence(integer(1), integer(1), integer(1))),
  ),
  'with a signature whose r is too long': withSignature(
    bitString(sequence(integer(new Uint8Array(33).fill(1)), integer(1))),
  ),
  'with a signature whose s is empty': withSignature(
    bitString(sequence(integer(1), fromHex('0200'))),
  ),
  'with an extension of four parts': withFields(
    leaf.der,
    replaced(
      EXTENSIONS,
      list(sequence(OID_1_2_3, fromHex('0101ff'), octetString(OID_1_2_3), OID_1_2_3)),
    ),
  ),
  'with an extension twice': vendor.issue('leaf', {
    extensions: [{ oid: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(0x06), 1) }],
  }).der,
  'with two lists of extensions': withFields(
    leaf.der,
    replaced(EXTENSIONS, explicit(3, concat(sequence(), sequence()))),
  ),
}

describe('a certificate is malformed', () => {
  test.for(Object.entries(MALFORMED))('%s', async ([, der]) => {
    expect(() => parseCertificate(der)).toThrow(
      expect.objectContaining({ name: 'EvidenceError', kind: 'malformed' }),
    )
  })
})

test('taken apart and put together, a certificate reads the same', async () => {
  const same = withFields(leaf.der, (fields) => fields)
  const { fingerprint, commonName } = parseCertificate(same)
  expect(commonName).toBe('Intel SGX PCK Certificate')
  expect(await fingerprint()).toBe(await parseCertificate(leaf.der).fingerprint())
})

test('a name with two common names has none', async () => {
  const name = derElements(leaf.subject, 'crl_malformed')[0]?.content ?? leaf.subject
  const [first = new Uint8Array()] = derElements(name, 'crl_malformed').map(({ bytes }) => bytes)
  const { der } = vendor.issue('leaf', { subject: sequence(first, name) })
  expect(parseCertificate(der).commonName).toBeNull()
})

test('a chain of nine is malformed', async () => {
  expect(parsePemChain(leaf.pem.repeat(8))).toHaveLength(8)
  expect(() => parsePemChain(leaf.pem.repeat(9))).toThrow(
    expect.objectContaining({ code: 'certificate_malformed' }),
  )
})

describe('a CRL is malformed', () => {
  const BAD: Record<string, Uint8Array> = {
    'with a further field': withFields(crl, (fields) => [...fields, integer(1)]),
    'without an issuer': withFields(crl, (fields) => fields.slice(0, 2)),
    'with bytes after it': concat(crl, Uint8Array.of(0x05, 0x00)),
  }

  test.for(Object.entries(BAD))('%s', ([, der]) => {
    expect(() => parseCrl(der)).toThrow(expect.objectContaining({ code: 'crl_malformed' }))
  })
})
