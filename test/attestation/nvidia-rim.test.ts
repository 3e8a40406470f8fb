import {
  encodeUtf8,
  isVerificationError,
  NVIDIA_ROOTS,
  parseRimAnswer,
  rimIds,
  sha256,
  toBase64,
  toHex,
  verifyRim,
  type GenuineRim,
  type NvidiaRoots,
  type RimIdInput,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { GenuineRim as RimClass } from '../../attestation/nvidia/rim/verdict.ts'
import { caExtensions, issueAuthority, newNvidiaPki, newP384Key } from '../support/nvidia-pki.ts'
import {
  ACTIVE,
  C14N11,
  DS,
  goldenValue,
  HASH,
  newRimVendor,
  resource,
  resources,
  RIMS,
  SWID,
  type ResourceFields,
  type RimChanges,
} from '../support/nvidia-rim.ts'

const vendor = newRimVendor()
const { now, pki } = vendor
const good = vendor.rim()
const DAY = 86_400
const YEAR = 365 * DAY

interface At {
  readonly now?: number
  readonly roots?: NvidiaRoots
}

const verify = (document: string | Uint8Array, at: At = {}): Promise<GenuineRim> =>
  verifyRim(typeof document === 'string' ? encodeUtf8(document) : document, {
    now,
    roots: pki.roots,
    ...at,
  })

async function reason(document: string | Uint8Array, at: At = {}): Promise<string> {
  try {
    await verify(document, at)
    return 'genuine'
  } catch (error) {
    if (isVerificationError(error)) return `${error.step} ${error.code}`
    throw error
  }
}

/** A replacement that must find what it replaces. */
function replaced(text: string, from: string | RegExp, to: string): string {
  const changed = text.replace(from, () => to)
  if (changed === text) throw new TypeError(`nothing to replace: ${String(from)}`)
  return changed
}

const signatureOf = (document: string): string =>
  /<ds:Signature .*<\/ds:Signature>/s.exec(document)?.[0] ?? ''
const payloadOf = (document: string): string =>
  /<ns0:Payload .*<\/ns0:Payload>/s.exec(document)?.[0] ?? ''
const insertedBefore = (document: string, mark: string, text: string): string =>
  replaced(document, mark, text + mark)

describe('signed reference values are genuine', () => {
  test('and say what was signed', async () => {
    const rim = await verify(good)
    expect(rim).toMatchObject({
      root: 'test-pki',
      product: 'GH100',
      edition: 'GPU',
      slot: 'driver',
      version: '580.95.05',
      tagId: 'a5'.repeat(48),
      validity: 'valid',
      expiresAt: now + YEAR,
      sha256: toHex(await sha256(encodeUtf8(good))),
      signer: {
        commonName: 'HCC RIM L4 Signer',
        notBefore: now - YEAR,
        notAfter: now + YEAR,
      },
    })
    expect([...rim.golden]).toEqual(
      ACTIVE.hopperDriver.map((index) => [index, [goldenValue(index)]]),
    )
    expect(rim.chain.certificates).toHaveLength(4)
    expect(rim.chain.leaf.commonName).toBe('HCC RIM L4 Signer')
  })

  test.for(Object.entries(RIMS))('%s', async ([name, fields]) => {
    const rim = await verify(vendor.rim({ fields }))
    const slot = /driver/i.test(name) ? 'driver' : 'vbios'
    expect(rim).toMatchObject({
      product: fields.product,
      edition: fields.edition,
      version: fields.version,
      slot: name === 'nvswitch' ? 'switch' : slot,
    })
  })

  test('with several alternatives, in any case', async () => {
    const hashes = { Hash0: 'AB'.repeat(48), Hash1: '00'.repeat(48), Hash2: 'cd'.repeat(48) }
    const fields = { resources: [resource(0, { alternatives: '3', hashes })] }
    const rim = await verify(vendor.rim({ fields }))
    expect(rim.golden.get(0)).toEqual(['ab'.repeat(48), '00'.repeat(48), 'cd'.repeat(48)])
  })

  test('and nothing else is', async () => {
    const rim = await verify(good)
    expect(RimClass.is(rim)).toBe(true)
    expect(RimClass.is({ ...rim })).toBe(false)
    expect(RimClass.is(Object.create(rim))).toBe(false)
    expect(RimClass.is(null)).toBe(false)
  })
})

describe('R31: another spelling of the same document is genuine', () => {
  test.for<[string, (text: string) => string]>([
    ['line ends of Windows', (text) => text.replaceAll('\n', '\r\n')],
    ['line ends of old', (text) => text.replaceAll('\n', '\r')],
    ['a byte order mark', (text) => `\ufeff${text}`],
    ['an XML declaration', (text) => `<?xml version="1.0" encoding="UTF-8"?>\n${text}\n`],
    ['single quotes', (text) => text.replaceAll('"', "'")],
    [
      'another order of attributes',
      (text) => text.replaceAll(/ (active="\w+")( alternatives.*?)>/g, '$2 $1>'),
    ],
    ['line ends between attributes', (text) => text.replaceAll(' index=', '\n\tindex=')],
    ['empty elements', (text) => text.replaceAll(/<(\S+)([^<>]*)><\/\1>/g, '<$1$2/>')],
    ['references for characters', (text) => text.replaceAll('GH100', '&#x47;H&#49;00')],
    [
      'a namespace declared again',
      (text) => replaced(text, '<ds:SignedInfo', `<ds:SignedInfo xmlns:ds="${DS}"`),
    ],
    ['base64 without line ends', (text) => text.replaceAll(/(?<=[A-Za-z0-9+/]{64})\n/g, '')],
    ['white space around base64', (text) => text.replaceAll(/(<ds:X509Certificate>)/g, '$1\n\t ')],
    [
      'white space between certificates',
      (text) => text.replaceAll('<ds:X509Certificate>', '\n  <ds:X509Certificate>'),
    ],
    ['white space in KeyInfo', (text) => replaced(text, '<ds:X509Data>', '\n<ds:X509Data>')],
  ])('%s', async ([, respelled]) => {
    const document = respelled(good)
    expect(document).not.toBe(good)
    expect(await reason(document)).toBe('genuine')
  })
})

describe('R10-R12: what readers could see differently, inside of signed content', () => {
  test.for<[string, string, string, string]>([
    ['a comment in a certificate', 'rim_xml_comment', '</ds:X509Certificate>', '<!-- x -->'],
    ['a comment in the digest', 'rim_xml_comment', '</ds:DigestValue>', '<!-- x -->'],
    ['a comment among attributes', 'rim_xml_malformed', ' index="0"', ' <!-- x -->'],
    ['a comment in the payload', 'rim_xml_comment', '<ns0:Resource', '<!-- x -->'],
    ['a comment before the root', 'rim_xml_comment', '<SoftwareIdentity', '<!-- x -->'],
    ['a document type', 'rim_xml_doctype', '<SoftwareIdentity', '<!DOCTYPE SoftwareIdentity>'],
    [
      'a document type with an entity',
      'rim_xml_doctype',
      '<SoftwareIdentity',
      '<!DOCTYPE x [<!ENTITY lol "lol"><!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
    ['an entity', 'rim_xml_entity', '</ns0:Payload>', '&lol;'],
    ['CDATA', 'rim_xml_cdata', '</ns0:Payload>', '<![CDATA[ ]]>'],
    ['CDATA in a certificate', 'rim_xml_cdata', '</ds:X509Certificate>', '<![CDATA[A]]>'],
    ['a processing instruction', 'rim_xml_instruction', '<ns0:Resource', '<?x y?>'],
    ['an inherited attribute', 'rim_xml_attribute_reserved', ' corpus=', ' xml:base="urn:x"'],
    ['an attribute twice', 'rim_xml_attribute_duplicate', ' index="0"', ' index="1"'],
    [
      'an attribute twice under two prefixes',
      'rim_xml_attribute_duplicate',
      ' ns2:Hash0=',
      ` xmlns:n="${HASH}" n:Hash0="${goldenValue(1)}"`,
    ],
  ])('%s', async ([, code, mark, text]) => {
    expect(await reason(insertedBefore(good, mark, text))).toBe(`rim ${code}`)
  })

  test('a megabyte of attributes', async () => {
    const many = Array.from({ length: 90_000 }, (_, at) => ` a${at}="1"`).join('')
    expect(await reason(insertedBefore(good, ' index="0"', many))).toBe('rim rim_xml_limit')
  })

  test('too much of it, and nothing', async () => {
    expect(await reason(`${good}${' '.repeat(1 << 20)}`)).toBe('rim rim_size')
    expect(await reason(new Uint8Array(0))).toBe('rim rim_size')
  })
})

const ROOT_END = '</SoftwareIdentity>'
const withoutSignature = replaced(good, signatureOf(good), '')
const forgedPayload = payloadOf(vendor.rim({ fields: { resources: [resource(0)] } }))
const object = `<ds:Object>${forgedPayload}</ds:Object>`
const signatureWithObject = replaced(
  signatureOf(good),
  '</ds:Signature>',
  `${object}</ds:Signature>`,
)
const FIRST = '\n    <ns0:Entity'

describe('R7-R9: wrapped and reordered signatures', () => {
  test.for<[string, string, string]>([
    ['no signature', withoutSignature, 'rim_signature_missing'],
    [
      'one that is first',
      insertedBefore(withoutSignature, FIRST, signatureOf(good)),
      'rim_signature_misplaced',
    ],
    [
      'one that is first with an object',
      insertedBefore(withoutSignature, FIRST, signatureWithObject),
      'rim_signature_misplaced',
    ],
    [
      'one with an object',
      insertedBefore(withoutSignature, ROOT_END, signatureWithObject),
      'rim_signature_malformed',
    ],
    ['two', insertedBefore(good, ROOT_END, signatureOf(good)), 'rim_signature_duplicate'],
    [
      'a second in the payload',
      insertedBefore(good, '<ns0:Resource', signatureOf(good)),
      'rim_signature_duplicate',
    ],
    [
      'one in the payload alone',
      insertedBefore(withoutSignature, '<ns0:Resource', signatureOf(good)),
      'rim_signature_misplaced',
    ],
    [
      'a second inside of the first',
      insertedBefore(good, '</ds:KeyInfo>', signatureOf(good)),
      'rim_signature_duplicate',
    ],
    ['the document in another', `<Wrapper>${good}</Wrapper>`, 'rim_root_unexpected'],
    [
      'the document in another of its kind',
      `<SoftwareIdentity xmlns="${SWID}" tagId="x">${good}</SoftwareIdentity>`,
      'rim_signature_misplaced',
    ],
    [
      'the document before a forged payload',
      `<SoftwareIdentity xmlns="${SWID}" xmlns:ns0="${SWID}" xmlns:ns2="${HASH}">${good}${forgedPayload}</SoftwareIdentity>`,
      'rim_signature_misplaced',
    ],
    [
      'another payload beside the signed one',
      insertedBefore(good, '<ns0:Payload', forgedPayload),
      'rim_digest_mismatch',
    ],
    [
      'an element after the signature',
      insertedBefore(good, ROOT_END, '<x/>'),
      'rim_signature_misplaced',
    ],
    ['text after the signature', insertedBefore(good, ROOT_END, 'x'), 'rim_document_malformed'],
    [
      'one of another namespace',
      good.replaceAll(DS, 'http://example.org/dsig#'),
      'rim_signature_missing',
    ],
  ])('%s', async ([, document, code]) => {
    expect(await reason(document)).toBe(`rim ${code}`)
  })
})

describe('parts of a signature', () => {
  test.for<[string, string, string]>([
    ['an id', replaced(good, '<ds:Signature ', '<ds:Signature Id="s" '), 'rim_signature_malformed'],
    [
      'key info before the value',
      replaced(
        good,
        /(<ds:SignatureValue>.*?<\/ds:SignatureValue>)(<ds:KeyInfo>.*<\/ds:KeyInfo>)/s,
        '',
      ).replace('</ds:SignedInfo>', () => {
        const [, value, info] =
          /(<ds:SignatureValue>.*)(<ds:KeyInfo>.*<\/ds:KeyInfo>)/s.exec(good) ?? []
        return `</ds:SignedInfo>${info}${value}`
      }),
      'rim_signature_malformed',
    ],
    ['text', replaced(good, '<ds:KeyInfo>', 'x<ds:KeyInfo>'), 'rim_signature_malformed'],
    [
      'key info of another namespace',
      good.replaceAll('ds:KeyInfo>', 'ns0:KeyInfo>'),
      'rim_signature_malformed',
    ],
    [
      'a value with an attribute',
      replaced(good, '<ds:SignatureValue>', '<ds:SignatureValue Id="v">'),
      'rim_signature_malformed',
    ],
    [
      'a value that is no base64',
      replaced(good, '<ds:SignatureValue>', '<ds:SignatureValue>-'),
      'rim_signature_malformed',
    ],
    [
      'a value with an element',
      replaced(good, '<ds:SignatureValue>', '<ds:SignatureValue><x/>'),
      'rim_signature_malformed',
    ],
    [
      'key info with an attribute',
      replaced(good, '<ds:KeyInfo>', '<ds:KeyInfo Id="k">'),
      'rim_signature_malformed',
    ],
    [
      'key info with a key',
      replaced(good, '<ds:KeyInfo>', '<ds:KeyInfo><ds:KeyName>k</ds:KeyName>'),
      'rim_signature_malformed',
    ],
    [
      'certificates with an attribute',
      replaced(good, '<ds:X509Data>', '<ds:X509Data Id="x">'),
      'rim_signature_malformed',
    ],
    [
      'a name among certificates',
      replaced(
        good,
        '</ds:X509Data>',
        '<ds:X509SubjectName>abcd</ds:X509SubjectName></ds:X509Data>',
      ),
      'rim_signature_malformed',
    ],
    [
      'text among certificates',
      replaced(good, '</ds:X509Data>', 'x</ds:X509Data>'),
      'rim_signature_malformed',
    ],
    [
      'a certificate that is none',
      replaced(
        good,
        '</ds:X509Data>',
        '<ds:X509Certificate>abcd</ds:X509Certificate></ds:X509Data>',
      ),
      'certificate_malformed',
    ],
    [
      'no certificate',
      replaced(good, /<ds:X509Data>.*<\/ds:X509Data>/s, '<ds:X509Data></ds:X509Data>'),
      'certificate_chain_length',
    ],
  ])('%s', async ([, document, code]) => {
    expect(await reason(document)).toBe(`rim ${code}`)
  })

  test('one certificate, and more than eight', async () => {
    const [leaf, intermediate, authority, root] = vendor.chain
    const nine = [leaf, intermediate, authority, root, root, root, root, root, root]
    const of = (certificates: typeof nine) =>
      vendor.rim({ certificates: certificates.filter((found) => found !== undefined) })
    expect(await reason(of([leaf]))).toBe('rim certificate_chain_length')
    expect(await reason(of(nine))).toBe('rim certificate_chain_length')
    expect(await reason(of(nine.slice(0, 8)))).toBe('genuine')
  })
})

const METHOD = 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384'
const DIGEST = 'http://www.w3.org/2001/04/xmldsig-more#sha384"'
const TRANSFORM = `<ds:Transform Algorithm="${C14N11}"></ds:Transform>`

/** Each is signed, so that nothing but the form of SignedInfo refuses it. */
describe('R13-R16: what is signed is of the one form', () => {
  const inner = (from: string | RegExp, to: string): RimChanges => ({
    signedInfo: (text) => replaced(text, from, to),
  })
  test.for<[string, RimChanges, string]>([
    // Algorithms
    ['RSA', inner(METHOD, 'http://www.w3.org/2000/09/xmldsig#rsa-sha1'), 'rim_signature_algorithm'],
    [
      'HMAC',
      inner(METHOD, 'http://www.w3.org/2001/04/xmldsig-more#hmac-sha384'),
      'rim_signature_algorithm',
    ],
    [
      'ECDSA with SHA-1',
      inner(METHOD, 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1'),
      'rim_signature_algorithm',
    ],
    ['SHA-1', inner(DIGEST, 'http://www.w3.org/2000/09/xmldsig#sha1"'), 'rim_signature_algorithm'],
    [
      'exclusive canonicalisation',
      inner(C14N11, 'http://www.w3.org/2001/10/xml-exc-c14n#'),
      'rim_signature_algorithm',
    ],
    [
      'canonicalisation with comments',
      inner(C14N11, `${C14N11}#WithComments`),
      'rim_signature_algorithm',
    ],
    [
      'a parameter of the method',
      inner(
        '</ds:SignatureMethod>',
        '<ds:HMACOutputLength>0</ds:HMACOutputLength></ds:SignatureMethod>',
      ),
      'rim_signature_algorithm',
    ],
    [
      'a second attribute of the method',
      inner(`${METHOD}"`, `${METHOD}" x=""`),
      'rim_signature_algorithm',
    ],
    [
      'white space in the method',
      inner('</ds:SignatureMethod>', ' </ds:SignatureMethod>'),
      'rim_signature_algorithm',
    ],
    [
      'a method in a namespace',
      inner(`<ds:SignatureMethod Algorithm`, `<ds:SignatureMethod ds:Algorithm`),
      'rim_signature_algorithm',
    ],
    // Transforms
    [
      'XPath',
      inner(
        '</ds:Transforms>',
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"></ds:Transform></ds:Transforms>',
      ),
      'rim_signature_transform',
    ],
    [
      'XPath for canonicalisation',
      inner(
        TRANSFORM,
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"></ds:Transform>',
      ),
      'rim_signature_transform',
    ],
    [
      'a transform with a parameter',
      inner(TRANSFORM, `<ds:Transform Algorithm="${C14N11}"><ds:XPath>1</ds:XPath></ds:Transform>`),
      'rim_signature_transform',
    ],
    ['one transform', inner(TRANSFORM, ''), 'rim_signature_transform'],
    [
      'the same transform twice',
      inner(/<ds:Transform Algorithm="[^"]*enveloped-signature"><\/ds:Transform>/, TRANSFORM),
      'rim_signature_transform',
    ],
    [
      'transforms with an attribute',
      inner('<ds:Transforms>', '<ds:Transforms x="">'),
      'rim_signature_transform',
    ],
    // The reference
    ['a part of the document', inner('URI=""', 'URI="#x"'), 'rim_signature_reference'],
    ['the document by XPointer', inner('URI=""', 'URI="#xpointer(/)"'), 'rim_signature_reference'],
    ['no URI', inner(' URI=""', ''), 'rim_signature_reference'],
    ['a typed reference', inner('URI=""', 'Type="x" URI=""'), 'rim_signature_reference'],
    ['another attribute', inner('URI=""', 'URI="" Zone="x"'), 'rim_signature_reference'],
    [
      'two references',
      { signedInfo: (text) => text + (/<ds:Reference.*/.exec(text)?.[0] ?? '') },
      'rim_signed_info_malformed',
    ],
    ['no reference', inner(/<ds:Reference.*/, ''), 'rim_signed_info_malformed'],
    ['no transforms', inner(/<ds:Transforms>.*<\/ds:Transforms>/, ''), 'rim_signed_info_malformed'],
    ['text', { signedInfo: (text) => `x${text}` }, 'rim_signed_info_malformed'],
    // The digest
    [
      'another digest',
      inner(/<ds:DigestValue>.{4}/, '<ds:DigestValue>AAAA'),
      'rim_digest_mismatch',
    ],
    [
      'a short digest',
      inner(/<ds:DigestValue>.*<\/ds:DigestValue>/, '<ds:DigestValue>AAAA</ds:DigestValue>'),
      'rim_digest_mismatch',
    ],
    [
      'a digest that is no base64',
      inner(/<ds:DigestValue>./, '<ds:DigestValue>-'),
      'rim_signature_malformed',
    ],
    [
      'a digest with an attribute',
      inner('<ds:DigestValue>', '<ds:DigestValue x="">'),
      'rim_signature_malformed',
    ],
  ])('%s', async ([, changes, code]) => {
    expect(await reason(vendor.rim(changes))).toBe(`rim ${code}`)
  })

  test('white space between its parts is signed like everything else', async () => {
    const between = vendor.rim({
      signedInfo: (text) => replaced(text, '<ds:Reference', '\n <ds:Reference'),
    })
    expect(await reason(between)).toBe('genuine')
    expect(await reason(replaced(between, '\n <ds:Reference', '<ds:Reference'))).toBe(
      'rim rim_signature_invalid',
    )
  })

  test('SignedInfo with an attribute', async () => {
    expect(await reason(replaced(good, '<ds:SignedInfo>', '<ds:SignedInfo Id="i">'))).toBe(
      'rim rim_signed_info_malformed',
    )
  })
})

describe('what was signed is what is there', () => {
  test('any change of the content is seen', async () => {
    for (const [from, to] of [
      [goldenValue(7), goldenValue(8)],
      ['active="False"', 'active="True"'],
      ['580.95.05', '580.95.06'],
      ['    <ns0:Payload', '   <ns0:Payload'],
      [' corpus=', ' xmlns:unused="urn:x" corpus='],
      ['ns0:Payload', 'n0:Payload'],
      ['tagVersion="0"', 'tagVersion="&#10;0"'],
    ] as const) {
      const changed = good.includes(`<${from}`)
        ? good.replaceAll(from, to).replace(' xmlns:ns0=', ` xmlns:n0="${SWID}" xmlns:ns0=`)
        : replaced(good, from, to)
      expect(await reason(changed)).toBe('rim rim_digest_mismatch')
    }
  })

  test('a namespace around the signature is signed too', async () => {
    // SignedInfo shows what it inherits, so a declaration moved to the root breaks both.
    const moved = good
      .replace(` xmlns:ds="${DS}"`, '')
      .replace(' corpus=', ` xmlns:ds="${DS}" corpus=`)
    expect(await reason(moved)).toBe('rim rim_digest_mismatch')
    const inherited = good.replace('<ds:Signature ', '<ds:Signature xmlns:x="urn:x" ')
    expect(await reason(inherited)).toBe('rim rim_signature_invalid')
  })

  test('another key, another signature, and none', async () => {
    const other = issueAuthority('HCC RIM L4 Signer', null)
    expect(await reason(vendor.rim({ signer: other }))).toBe('rim rim_signature_invalid')
    const changes: ((value: Uint8Array) => Uint8Array)[] = [
      (value) => value.with(5, (value[5] ?? 0) ^ 1),
      (value) => new Uint8Array(value.length),
      (value) => value.subarray(0, 95),
      (value) => Uint8Array.from([...value.subarray(48), ...value.subarray(0, 48)]),
      (value) =>
        Uint8Array.from([
          0x30,
          0x66,
          0x02,
          0x31,
          0,
          ...value.subarray(0, 48),
          0x02,
          0x31,
          0,
          ...value.subarray(48),
        ]),
      () => new Uint8Array(96).fill(0xff),
    ]
    for (const signature of changes)
      expect(await reason(vendor.rim({ signature }))).toBe('rim rim_signature_invalid')
  })

  test('a signer whose key is of another curve', async () => {
    const key = newP384Key('prime256v1')
    const p256 = newRimVendor(pki, { leaf: { key } })
    expect(await reason(p256.rim())).toBe('rim rim_signature_invalid')
  })
})

describe('R17, R18: who signed, and when', () => {
  test('reference values under the root of devices are refused', async () => {
    const device = newRimVendor({ ...pki, rimRoot: pki.deviceRoot })
    expect(await reason(device.rim())).toBe('rim certificate_root_untrusted')
  })

  test('and those of NVIDIA’s own root are something else', async () => {
    expect(await reason(good, { roots: NVIDIA_ROOTS })).toBe('rim certificate_root_untrusted')
    expect(await reason(good, { roots: newNvidiaPki().roots })).toBe(
      'rim certificate_root_untrusted',
    )
    expect(await reason(good)).toBe('genuine')
  })

  test('an authority does not sign reference values', async () => {
    const [, intermediate, authority, root] = vendor.chain
    if (intermediate === undefined || authority === undefined || root === undefined)
      throw new TypeError('a chain of four')
    const certificates = [intermediate, authority, root]
    expect(await reason(vendor.rim({ certificates, signer: intermediate }))).toBe(
      'rim certificate_role_invalid',
    )
  })

  test('a signer may not issue signers', async () => {
    const [leaf] = vendor.chain
    if (leaf === undefined) throw new TypeError('a chain of four')
    const certificates = [issueAuthority('X', leaf, { extensions: [] }), ...vendor.chain]
    const [signer] = certificates
    if (signer === undefined) throw new TypeError('a chain of four')
    expect(await reason(vendor.rim({ certificates, signer }))).toBe('rim certificate_role_invalid')
  })

  test('a chain with one certificate left out, and one out of order', async () => {
    const [leaf, intermediate, authority, root] = vendor.chain
    const of = (certificates: readonly (typeof leaf)[]) =>
      vendor.rim({ certificates: certificates.filter((found) => found !== undefined) })
    expect(await reason(of([leaf, authority, root]))).toBe('rim certificate_name_mismatch')
    expect(await reason(of([leaf, authority, intermediate, root]))).toBe(
      'rim certificate_name_mismatch',
    )
    expect(await reason(of([leaf, intermediate, authority]))).toBe('rim certificate_root_untrusted')
  })

  test.for<['leaf' | 'intermediate' | 'authority']>([['leaf'], ['intermediate'], ['authority']])(
    'an expired %s is reported',
    async ([which]) => {
      const notAfter = now + DAY
      const document = newRimVendor(pki, { [which]: { notAfter } }).rim()
      const before = await verify(document, { now: notAfter })
      expect(before).toMatchObject({ validity: 'valid', expiresAt: notAfter })
      const after = await verify(document, { now: notAfter + 1 })
      expect(after).toMatchObject({ validity: 'expired', expiresAt: notAfter })
    },
  )

  test.for<['leaf' | 'intermediate' | 'authority']>([['leaf'], ['intermediate'], ['authority']])(
    'a future %s is refused',
    async ([which]) => {
      const notBefore = now + DAY
      const document = newRimVendor(pki, { [which]: { notBefore } }).rim()
      expect(await reason(document)).toBe('rim certificate_not_valid_now')
      expect(await reason(document, { now: notBefore - 1 })).toBe('rim certificate_not_valid_now')
      expect(await reason(document, { now: notBefore })).toBe('genuine')
    },
  )

  test('an expired root is refused, and one that is not valid yet', async () => {
    const rimRoot = issueAuthority('NVIDIA CoRIM signing Root CA', null, {
      notBefore: now - DAY,
      notAfter: now + DAY,
    })
    const roots = { ...pki.roots, rim: toHex(await sha256(rimRoot.der)) }
    const document = newRimVendor({ ...pki, rimRoot }).rim()
    expect(await reason(document, { roots })).toBe('genuine')
    expect(await reason(document, { roots, now: now + DAY + 1 })).toBe(
      'rim certificate_not_valid_now',
    )
    expect(await reason(document, { roots, now: now - DAY - 1 })).toBe(
      'rim certificate_not_valid_now',
    )
  })

  test('what is remembered of a document says nothing of a time or a root', async () => {
    expect(await reason(good)).toBe('genuine')
    expect((await verify(good, { now: now + 2 * YEAR })).validity).toBe('expired')
    expect((await verify(good)).validity).toBe('valid')
    expect(await reason(good, { now: now - 2 * YEAR })).toBe('rim certificate_not_valid_now')
    expect(await reason(good, { roots: NVIDIA_ROOTS })).toBe('rim certificate_root_untrusted')
    expect(await reason(good)).toBe('genuine')
  })

  test('and is what hashed to its digest, whatever becomes of the bytes meanwhile', async () => {
    const bytes = encodeUtf8(vendor.rim({ fields: { tagId: '0a' } }))
    const other = encodeUtf8(vendor.rim({ fields: { tagId: '0b' } }))
    const verifying = verify(bytes)
    bytes.set(other.subarray(0, bytes.length))
    expect((await verifying).tagId).toBe('0a')
  })

  test('an intermediate that may not certify', async () => {
    const other = newRimVendor(pki, { intermediate: { extensions: [] } })
    expect(await reason(other.rim())).toBe('rim certificate_role_invalid')
    const deep = newRimVendor(pki, { authority: { extensions: caExtensions(0) } })
    expect(await reason(deep.rim())).toBe('rim certificate_role_invalid')
  })
})

/** Each is signed, so that nothing but what is said refuses it. */
describe('R19-R26: what reference values must say', () => {
  const content = (from: string | RegExp, to: string): RimChanges => ({
    content: (text) => replaced(text, from, to),
  })
  test.for<[string, RimChanges, string]>([
    [
      'another root',
      content(
        /^<SoftwareIdentity(.*)<\/SoftwareIdentity>$/s,
        `<x xmlns="${SWID}" xmlns:ns0="${SWID}" xmlns:ns2="${HASH}"></x>`,
      ),
      'rim_root_unexpected',
    ],
    [
      'a root of another namespace',
      content(`<SoftwareIdentity xmlns="${SWID}"`, '<SoftwareIdentity xmlns="urn:x"'),
      'rim_root_unexpected',
    ],
    ['another manufacturer', { fields: { manufacturerId: '5704' } }, 'rim_manufacturer_unknown'],
    [
      'no manufacturer',
      content(' ns1:FirmwareManufacturerId="5703"', ''),
      'rim_manufacturer_unknown',
    ],
    [
      'a manufacturer of no namespace',
      {
        content: (text) =>
          text
            .replace(' ns1:FirmwareManufacturerId="5703"', '')
            .replace(' PayloadType', ' FirmwareManufacturerId="5703" PayloadType'),
      },
      'rim_manufacturer_unknown',
    ],
    ['another edition', { fields: { edition: 'CPU' } }, 'rim_edition_unknown'],
    ['an edition in small letters', { fields: { edition: 'gpu' } }, 'rim_edition_unknown'],
    ['no edition', content(' edition="GPU"', ''), 'rim_document_malformed'],
    ['no product', content(' product="GH100"', ''), 'rim_document_malformed'],
    ['a product that is none', { fields: { product: 'GH 100' } }, 'rim_document_malformed'],
    ['no version', content(' colloquialVersion="580.95.05"', ''), 'rim_document_malformed'],
    ['a version that is none', { fields: { version: '580' } }, 'rim_version_unknown'],
    ['a version with more', { fields: { version: '580.95.05-rc1' } }, 'rim_version_unknown'],
    ['a short VBIOS version', { fields: { version: '96.00.9F.00' } }, 'rim_version_unknown'],
    ['a driver for a switch', { fields: { edition: 'SWITCH' } }, 'rim_version_unknown'],
    ['no tag id', content(/ tagId="[^"]*"/, ''), 'rim_document_malformed'],
    ['an empty tag id', { fields: { tagId: '' } }, 'rim_document_malformed'],
    ['no meta', content(/ {4}<ns0:Meta .*\n/, ''), 'rim_document_malformed'],
    ['no payload', content(/ {4}<ns0:Payload .*<\/ns0:Payload>\n/s, ''), 'rim_document_malformed'],
    [
      'two payloads',
      content('    <ns0:Payload', `${forgedPayload}    <ns0:Payload`),
      'rim_document_malformed',
    ],
    [
      'two metas',
      { content: (text) => text.replace(/ {4}<ns0:Meta .*\n/, '$&$&') },
      'rim_document_malformed',
    ],
    [
      'another order',
      {
        content: (text) =>
          text.replace(/( {4}<ns0:Meta .*\n)( {4}<ns0:Payload.*<\/ns0:Payload>\n)/s, '$2$1'),
      },
      'rim_document_malformed',
    ],
    ['text', content('<ns0:Payload', 'x<ns0:Payload'), 'rim_document_malformed'],
    ['text in the payload', content('<ns0:Resource', 'x<ns0:Resource'), 'rim_document_malformed'],
    ['an empty payload', { fields: { resources: [] } }, 'rim_nothing_active'],
    ['nothing active', { fields: { resources: resources([]) } }, 'rim_nothing_active'],
    ['a resource of another name', content(/ns0:Resource/g, 'ns0:File'), 'rim_resource_malformed'],
    [
      'a resource of another namespace',
      { fields: { resources: [resource(0).replaceAll('ns0:', 'ns2:')] } },
      'rim_resource_malformed',
    ],
    [
      'a resource that holds something',
      { fields: { resources: [replaced(resource(0), '></', `>${resource(1)}</`)] } },
      'rim_resource_malformed',
    ],
  ])('%s', async ([, changes, code]) => {
    expect(await reason(vendor.rim(changes))).toBe(`rim ${code}`)
  })

  const hash = goldenValue(3)
  test.for<[string, Partial<ResourceFields>, string]>([
    ['type', { type: 'Firmware' }, 'rim_resource_malformed'],
    ['R23: active in small letters', { active: 'true' }, 'rim_active_malformed'],
    ['R23: active as a number', { active: '1' }, 'rim_active_malformed'],
    ['R23: inactive in small letters', { active: 'false' }, 'rim_active_malformed'],
    ['active with white space', { active: 'True ' }, 'rim_active_malformed'],
    ['R22: an index twice', { index: '7' }, 'rim_index_duplicate'],
    ['an index as 03', { index: '03' }, 'rim_index_malformed'],
    ['an index below 0', { index: '-1' }, 'rim_index_malformed'],
    ['an index above 254', { index: '255' }, 'rim_index_malformed'],
    ['an index that is no number', { index: 'abc' }, 'rim_index_malformed'],
    ['another size', { size: '32', hashes: { Hash0: hash.slice(32) } }, 'rim_size_unsupported'],
    ['a size as 0x30', { size: '0x30' }, 'rim_size_unsupported'],
    ['R24: more alternatives than hashes', { alternatives: '2' }, 'rim_alternatives_mismatch'],
    [
      'R24: fewer alternatives than hashes',
      { hashes: { Hash0: hash, Hash1: hash } },
      'rim_alternatives_mismatch',
    ],
    ['R24: no hash', { alternatives: '0', hashes: {} }, 'rim_alternatives_mismatch'],
    ['alternatives as 01', { alternatives: '01' }, 'rim_alternatives_mismatch'],
    ['alternatives from 1', { hashes: { Hash1: hash } }, 'rim_alternatives_mismatch'],
    [
      'alternatives with a gap',
      { alternatives: '2', hashes: { Hash0: hash, Hash2: hash } },
      'rim_alternatives_mismatch',
    ],
    [
      'alternatives of other names',
      { alternatives: '2', hashes: { Hash0: hash, Other: hash } },
      'rim_alternatives_mismatch',
    ],
    ['R25: a short hash', { hashes: { Hash0: hash.slice(2) } }, 'rim_hash_malformed'],
    ['R25: a long hash', { hashes: { Hash0: `${hash}00` } }, 'rim_hash_malformed'],
    [
      'R25: a hash that is no hex',
      { hashes: { Hash0: hash.replace('0', 'g') } },
      'rim_hash_malformed',
    ],
    [
      'a second alternative that is no hash',
      { alternatives: '2', hashes: { Hash0: hash, Hash1: '' } },
      'rim_hash_malformed',
    ],
  ])('%s', async ([, fields, code]) => {
    const all = resources(ACTIVE.hopperDriver)
    expect(
      await reason(vendor.rim({ fields: { resources: all.with(3, resource(3, fields)) } })),
    ).toBe(`rim ${code}`)
  })

  test('missing attributes of a resource', async () => {
    for (const [attribute, code] of [
      ['type', 'rim_resource_malformed'],
      ['index', 'rim_index_malformed'],
      ['active', 'rim_active_malformed'],
      ['size', 'rim_size_unsupported'],
      ['alternatives', 'rim_alternatives_mismatch'],
    ] as const) {
      const without = resource(3).replace(new RegExp(` ${attribute}="[^"]*"`), '')
      expect(await reason(vendor.rim({ fields: { resources: [resource(0), without] } }))).toBe(
        `rim ${code}`,
      )
    }
  })

  test('a hash of no namespace is none', async () => {
    const [prefixed = ''] = / ns2:Hash0="\w+"/.exec(resource(3)) ?? []
    const bare = resource(3)
      .replace(prefixed, '')
      .replace(' active', `${prefixed.replace('ns2:', '')} active`)
    const code = 'rim_alternatives_mismatch'
    expect(await reason(vendor.rim({ fields: { resources: [bare] } }))).toBe(`rim ${code}`)
  })
})

const hopper: RimIdInput = {
  arch: 'HOPPER',
  kind: 'gpu',
  info: {
    driver: '550.90.07',
    vbios: '96.00.9f.00.01',
    project: 'g520',
    projectSku: '0200',
    chipSku: '882',
    chipInfo: null,
  },
}
const of = (changes: Partial<RimIdInput['info']>, rest: Partial<RimIdInput> = {}): RimIdInput => ({
  ...hopper,
  ...rest,
  info: { ...hopper.info, ...changes },
})

describe('names of reference values', () => {
  test('of each kind of device', () => {
    expect(rimIds(hopper)).toEqual([
      { slot: 'driver', id: 'NV_GPU_DRIVER_GH100_550.90.07' },
      { slot: 'vbios', id: 'NV_GPU_VBIOS_G520_0200_882_96009F0001' },
    ])
    expect(
      rimIds(of({ driver: '590.48.01', chipInfo: 'GB102' }, { arch: 'BLACKWELL' }))[0]?.id,
    ).toBe('NV_GPU_CC_DRIVER_GB102_590.48.01')
    expect(rimIds(of({ driver: '590.48.01' }, { arch: 'BLACKWELL' }))[0]?.id).toBe(
      'NV_GPU_CC_DRIVER_GB100_590.48.01',
    )
    const bios = { driver: null, vbios: '96.10.55.00.01', project: '', projectSku: '', chipSku: '' }
    expect(rimIds(of(bios, { arch: 'LS10', kind: 'switch' }))).toEqual([
      { slot: 'switch', id: 'NV_SWITCH_BIOS_5612_0002_890_9610550001' },
    ])
  })

  test.for<[string, RimIdInput]>([
    ['a path in the driver', of({ driver: '../../x' })],
    ['a query in the driver', of({ driver: '550?x' })],
    ['no driver', of({ driver: null })],
    ['a project of other letters', of({ project: 'G5 20' })],
    ['no project', of({ project: '' })],
    ['no project SKU', of({ projectSku: '' })],
    ['a chip SKU of other letters', of({ chipSku: '88%2f' })],
    ['a VBIOS of other letters', of({ vbios: '96/00' })],
    ['no VBIOS', of({ vbios: '...' })],
    ['a chip of other letters', of({ chipInfo: 'GB\n100' }, { arch: 'BLACKWELL' })],
    ['a long one', of({ driver: '5'.repeat(65) })],
    ['a BIOS of other letters', of({ vbios: '96 10' }, { arch: 'LS10', kind: 'switch' })],
  ])('%s is refused', ([, input]) => {
    expect(() => rimIds(input)).toThrow(
      expect.objectContaining({ code: 'rim_id_malformed', step: 'rim' }),
    )
  })
})

describe('R28: an answer of the RIM service', () => {
  const id = 'NV_GPU_DRIVER_GH100_580.95.05'
  const document = encodeUtf8(good)
  const answer = async (changes: object = {}): Promise<Uint8Array> =>
    encodeUtf8(
      JSON.stringify({
        id,
        rim: toBase64(document),
        sha256: toHex(await sha256(document)),
        last_updated: '2026-01-01T00:00:00Z',
        rim_format: 'TCG',
        request_id: 'x',
        ...changes,
      }),
    )

  test('holds the document', async () => {
    expect(toHex(await parseRimAnswer(await answer(), id))).toBe(toHex(document))
    const upper = await answer({ sha256: toHex(await sha256(document)).toUpperCase() })
    expect(await reason(await parseRimAnswer(upper, id))).toBe('genuine')
  })

  test.for<[string, object, string]>([
    ['another id', { id: 'NV_GPU_DRIVER_GH100_580.95.06' }, 'rim_answer_id_mismatch'],
    ['another digest', { sha256: '00'.repeat(32) }, 'rim_answer_digest_mismatch'],
    ['another document', { rim: toBase64(encodeUtf8('x')) }, 'rim_answer_digest_mismatch'],
    ['no document', { rim: undefined }, 'rim_answer_malformed'],
    ['no base64', { rim: '<xml/>' }, 'rim_answer_malformed'],
    ['no digest', { sha256: '' }, 'rim_answer_malformed'],
  ])('%s', async ([, changes, code]) => {
    await expect(parseRimAnswer(await answer(changes), id)).rejects.toMatchObject({
      code,
      step: 'rim',
    })
  })

  test('that is no JSON, and no text', async () => {
    for (const body of [encodeUtf8('<html>'), Uint8Array.of(0xff), encodeUtf8('[]')]) {
      await expect(parseRimAnswer(body, id)).rejects.toMatchObject({ code: 'rim_answer_malformed' })
    }
  })
})
