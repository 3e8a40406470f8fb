import { concatBytes, decodeUtf8, encodeUtf8, EvidenceError } from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { canonicalXml } from '../../attestation/nvidia/rim/c14n.ts'
import { parseXml, type XmlElement } from '../../attestation/nvidia/rim/xml.ts'
import { newRimVendor } from '../support/nvidia-rim.ts'

const parse = (text: string): XmlElement => parseXml(encodeUtf8(text))
const canonical = (text: string): string => decodeUtf8(canonicalXml(parse(text), null))

function codeOf(read: () => unknown): string {
  try {
    read()
    return 'read'
  } catch (error) {
    if (error instanceof EvidenceError) return `${error.step} ${error.code}`
    throw error
  }
}

const nested = (depth: number): string => '<a>'.repeat(depth) + '</a>'.repeat(depth)
const attributes = (count: number): string =>
  Array.from({ length: count }, (_, at) => ` a${at}=""`).join('')

describe('what could be read in two ways is refused', () => {
  test.for([
    // Markup outside of the subset, wherever it stands
    ['rim_xml_doctype', '<!DOCTYPE a><a/>'],
    ['rim_xml_doctype', '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'],
    ['rim_xml_doctype', '<a><!ELEMENT a ANY></a>'],
    ['rim_xml_comment', '<!-- --><a/>'],
    ['rim_xml_comment', '<a>x<!-- -->y</a>'],
    ['rim_xml_comment', '<a/><!-- -->'],
    ['rim_xml_instruction', '<?p x?><a/>'],
    ['rim_xml_instruction', '<a><?p x?></a>'],
    ['rim_xml_instruction', '<a/><?p x?>'],
    ['rim_xml_instruction', ' <?xml version="1.0"?><a/>'],
    ['rim_xml_instruction', '<?xml version="1.1"?><a/>'],
    ['rim_xml_instruction', '<?xml version="1.0" encoding="UTF-16"?><a/>'],
    ['rim_xml_instruction', '<?XML version="1.0"?><a/>'],
    ['rim_xml_cdata', '<a><![CDATA[x]]></a>'],
    ['rim_xml_entity', '<a>&e;</a>'],
    ['rim_xml_entity', '<a b="&e;"/>'],
    ['rim_xml_entity', '<a>&AMP;</a>'],
    ['rim_xml_entity', '<a>&;</a>'],
    // Names
    ['rim_xml_attribute_reserved', '<a xml:space="preserve"/>'],
    ['rim_xml_attribute_reserved', '<a xml:id="x"/>'],
    ['rim_xml_attribute_reserved', '<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>'],
    ['rim_xml_attribute_reserved', '<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>'],
    ['rim_xml_attribute_reserved', '<a xmlns="http://www.w3.org/2000/xmlns/"/>'],
    ['rim_xml_attribute_reserved', '<a xmlns:xmlns="urn:x"/>'],
    ['rim_xml_prefix_unbound', '<p:a/>'],
    ['rim_xml_prefix_unbound', '<a p:b=""/>'],
    ['rim_xml_prefix_unbound', '<xml:a/>'],
    ['rim_xml_prefix_unbound', '<xmlns:a/>'],
    ['rim_xml_prefix_unbound', '<a><b xmlns:p="urn:x"/><p:c/></a>'],
    ['rim_xml_attribute_duplicate', '<a b="1" b="1"/>'],
    ['rim_xml_attribute_duplicate', '<a xmlns="urn:x" xmlns="urn:x"/>'],
    ['rim_xml_attribute_duplicate', '<a xmlns:p="urn:x" xmlns:q="urn:x" p:b="1" q:b="2"/>'],
    // Not well-formed
    ['rim_xml_malformed', 'text'],
    ['rim_xml_malformed', '<a'],
    ['rim_xml_malformed', '<a>'],
    ['rim_xml_malformed', '<a></b>'],
    ['rim_xml_malformed', '<a></ab>'],
    ['rim_xml_malformed', '<a><b></a></b>'],
    ['rim_xml_malformed', '<a><b></a>'],
    ['rim_xml_malformed', '<a></a'],
    ['rim_xml_malformed', '<a b "c"/>'],
    ['rim_xml_malformed', '<a/><b/>'],
    ['rim_xml_malformed', '<a/>x'],
    ['rim_xml_malformed', 'x<a/>'],
    ['rim_xml_malformed', '<></>'],
    ['rim_xml_malformed', '< a/>'],
    ['rim_xml_malformed', '<a / >'],
    ['rim_xml_malformed', '<1/>'],
    ['rim_xml_malformed', '<p:q:a/>'],
    ['rim_xml_malformed', '<é/>'],
    ['rim_xml_malformed', '<a b/>'],
    ['rim_xml_malformed', '<a b=cxc/>'],
    ['rim_xml_malformed', '<a b="x/>'],
    ['rim_xml_malformed', '<a b="<"/>'],
    ['rim_xml_malformed', '<a b="1"c="2"/>'],
    ['rim_xml_malformed', '<a>]]></a>'],
    ['rim_xml_malformed', '<a>&amp</a>'],
    ['rim_xml_malformed', '<a>&</a>'],
    ['rim_xml_malformed', '<a>\u0001</a>'],
    ['rim_xml_malformed', '<a>\ufffe</a>'],
    ['rim_xml_malformed', '<a>\ufeff</a>\ufeff'],
    ['rim_xml_malformed', '\ufeff\ufeff<a/>'],
    ['rim_xml_malformed', '<a>&#0;</a>'],
    ['rim_xml_malformed', '<a>&#xD800;</a>'],
    ['rim_xml_malformed', '<a>&#x110000;</a>'],
    ['rim_xml_malformed', '<a>&#99999999999;</a>'],
    ['rim_xml_malformed', '<a>&#X41;</a>'],
    ['rim_xml_malformed', '<a>&#;</a>'],
    ['rim_xml_malformed', '<a>&#-5;</a>'],
    // Namespaces: a relative one has no canonical form, and none can be undeclared but the default
    ['rim_xml_malformed', '<a xmlns="relative"/>'],
    ['rim_xml_malformed', '<a xmlns=" urn:x"/>'],
    ['rim_xml_malformed', '<a xmlns:p=""/>'],
    ['rim_xml_malformed', '<a xmlns="urn:é"/>'],
    // Bounds
    ['rim_xml_limit', nested(17)],
    ['rim_xml_limit', `<a>${'<b/>'.repeat(5000)}</a>`],
    ['rim_xml_limit', `<a>${'<b>x</b>'.repeat(2500)}</a>`],
    ['rim_xml_limit', `<a${attributes(65)}/>`],
    ['rim_xml_limit', `<a${attributes(100_000)}/>`],
    ['rim_size', ''],
    ['rim_size', `<a>${'x'.repeat(1 << 20)}</a>`],
  ])('%s: %s', ([code, text]) => {
    expect(codeOf(() => parse(text ?? ''))).toBe(`rim ${code}`)
  })

  test('up to the bounds nothing is', () => {
    const most = `<a${attributes(64)}>${'<b/>'.repeat(4999)}</a>`
    expect(codeOf(() => parse(most))).toBe('read')
    const longest = `<a>${'x'.repeat((1 << 20) - '<a></a>'.length)}</a>`
    expect(codeOf(() => parse(longest))).toBe('read')
  })

  test('rim_encoding: bytes that are not UTF-8', () => {
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf8, 0x88]]) {
      const document = concatBytes(encodeUtf8('<a>'), Uint8Array.from(bytes), encodeUtf8('</a>'))
      expect(codeOf(() => parseXml(document))).toBe('rim rim_encoding')
    }
    expect(codeOf(() => parseXml(Uint8Array.from(Buffer.from('<a/>', 'utf16le'))))).toBe(
      'rim rim_xml_malformed',
    )
  })
})

/** Text, and the canonical form that XML 1.0 and Canonical XML 1.1 give it. */
const CANONICAL = [
  ['<a/>', '<a></a>'],
  ['<a  />', '<a></a>'],
  ['<a></a  >', '<a></a>'],
  [' \n<a/>\t\n', '<a></a>'],
  ['\ufeff<a/>', '<a></a>'],
  ['<?xml version="1.0"?>\r\n<a/>', '<a></a>'],
  [`<?xml version='1.0' encoding='utf-8' standalone='yes' ?><a/>`, '<a></a>'],
  ['<a>é\u{1f600}</a>', '<a>é\u{1f600}</a>'],
  // Quotes and order of attributes: by namespace, then by name
  [`<a c='1' b = "2"/>`, '<a b="2" c="1"></a>'],
  [`<a b='"'/>`, '<a b="&quot;"></a>'],
  ['<a b="&apos;"/>', `<a b="'"></a>`],
  [
    '<a xmlns:z="urn:a" xmlns:b="urn:b" b:x="1" z:y="2" y="3" x="4"/>',
    '<a xmlns:b="urn:b" xmlns:z="urn:a" x="4" y="3" z:y="2" b:x="1"></a>',
  ],
  ['<a b="1" B="2" b-="3" b.="4" b0="5" _="6"/>', '<a B="2" _="6" b="1" b-="3" b.="4" b0="5"></a>'],
  // Line ends and white space
  ['<a>x\r\ny\rz\n</a>', '<a>x\ny\nz\n</a>'],
  ['<a b="x\r\ny\tz\nw"/>', '<a b="x y z w"></a>'],
  ['<a b="&#13;&#10;&#9;&#32;"/>', '<a b="&#xD;&#xA;&#x9; "></a>'],
  ['<a>&#13;&#10;&#9;</a>', '<a>&#xD;\n\t</a>'],
  // References
  ['<a>&lt;&gt;&amp;&quot;&apos;</a>', `<a>&lt;&gt;&amp;"'</a>`],
  ['<a b="&lt;&gt;&amp;"/>', '<a b="&lt;>&amp;"></a>'],
  ['<a>&#x41;&#66;&#x1f600;&#x0000041;</a>', '<a>AB\u{1f600}A</a>'],
  ['<a>&amp;lt;</a>', '<a>&amp;lt;</a>'],
  ['<a>></a>', '<a>&gt;</a>'],
  ['<a>]]&gt;</a>', '<a>]]&gt;</a>'],
  // Namespaces: shown where they come into force, not where they are repeated
  ['<a xmlns="urn:x"><b xmlns="urn:x"/></a>', '<a xmlns="urn:x"><b></b></a>'],
  ['<a xmlns="urn:x"><b xmlns="urn:y"/></a>', '<a xmlns="urn:x"><b xmlns="urn:y"></b></a>'],
  ['<a xmlns="urn:x"><b xmlns=""/></a>', '<a xmlns="urn:x"><b xmlns=""></b></a>'],
  ['<a xmlns=""><b xmlns=""/></a>', '<a><b></b></a>'],
  ['<p:a xmlns:p="urn:x"><p:b/></p:a>', '<p:a xmlns:p="urn:x"><p:b></p:b></p:a>'],
  [
    '<p:a xmlns:p="urn:x"><p:b xmlns:p="urn:y"/></p:a>',
    '<p:a xmlns:p="urn:x"><p:b xmlns:p="urn:y"></p:b></p:a>',
  ],
  [
    '<a xmlns:z="urn:z" xmlns="urn:d" xmlns:b="urn:b" b="1"/>',
    '<a xmlns="urn:d" xmlns:b="urn:b" xmlns:z="urn:z" b="1"></a>',
  ],
  ['<a xmlns:unused="urn:x"/>', '<a xmlns:unused="urn:x"></a>'],
  [nested(16), nested(16)],
] as const

describe('canonical form', () => {
  test.for(CANONICAL)('%j is %j', ([text, want]) => {
    expect(canonical(text)).toBe(want)
  })

  test('of a canonical form is itself', () => {
    for (const [, want] of CANONICAL) expect(canonical(want)).toBe(want)
  })

  test('of a part shows the namespaces of what is around it', () => {
    const root = parse('<a xmlns="urn:d" xmlns:p="urn:p"><b xmlns:q="urn:q" xmlns="" c="1"/></a>')
    const [part] = root.children
    if (part === undefined || typeof part === 'string') throw new TypeError('an element')
    expect(decodeUtf8(canonicalXml(part, null))).toBe(
      '<b xmlns:p="urn:p" xmlns:q="urn:q" c="1"></b>',
    )
    expect(decodeUtf8(canonicalXml(root, part))).toBe('<a xmlns="urn:d" xmlns:p="urn:p"></a>')
  })
})

/** Documents of the subset, in every spelling that it has. */
const prefix = fc.constantFrom('', 'p:', 'q:')
const name = fc.constantFrom('a', 'b', 'B', 'c-1', '_', 'x.y')
const namespace = fc.constantFrom('urn:x', 'urn:y', 'http://example.org/#a')
const PIECES = [
  'x',
  'é',
  '\u{1f600}',
  ' ',
  '\n',
  '\r\n',
  '\r',
  '\t',
  '>',
  "'",
  '&amp;',
  '&lt;',
  '&gt;',
  '&quot;',
  '&apos;',
  '&#13;',
  '&#xA;',
  '&#9;',
  '&#x41;',
  ']]&gt;',
  '&amp;amp;',
]
const piece = fc.constantFrom(...PIECES)
const phrase = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(''))
const attribute = fc
  .tuple(prefix, name, phrase, fc.boolean())
  .map(([before, local, value, double]) => ({
    key: before + local,
    text: double
      ? `${before}${local}="${value}"`
      : `${before}${local} = '${value.replaceAll("'", '')}'`,
  }))
const declaration = fc
  .tuple(fc.constantFrom('xmlns', 'xmlns:p', 'xmlns:q'), namespace)
  .map(([key, value]) => ({ key, text: `${key}="${value}"` }))
const { tree } = fc.letrec<{ tree: string }>((tie) => ({
  tree: fc
    .record({
      before: prefix,
      local: name,
      declarations: fc.uniqueArray(declaration, { selector: ({ key }) => key, maxLength: 3 }),
      attributes: fc.uniqueArray(attribute, { selector: ({ key }) => key, maxLength: 4 }),
      children: fc.array(fc.oneof({ maxDepth: 4 }, phrase, tie('tree')), { maxLength: 3 }),
      gap: fc.constantFrom(' ', '\n', '\r\n  ', '\t'),
    })
    .map(({ before, local, declarations, attributes: own, children, gap }) => {
      const inside = [...own, ...declarations].map(({ text }) => gap + text).join('')
      const content = children.join('')
      return content === ''
        ? `<${before}${local}${inside}${gap}/>`
        : `<${before}${local}${inside}>${content}</${before}${local}${gap}>`
    }),
}))
/** Both prefixes are declared at the root, so that no use of them is unbound. */
const document = tree.map((inner) => `<r xmlns:p="urn:p" xmlns:q="urn:q">${inner}</r>`)

/** An independent implementation of Canonical XML 1.1. Not everybody has it, so that skipping shows. */
const JUDGE = 'xmllint'
const hasJudge = spawnSync(JUDGE, ['--version']).status === 0

describe('properties', () => {
  test('whatever is parsed has one canonical form, which is parsed to the same', () => {
    fc.assert(
      fc.property(document, (text) => {
        const code = codeOf(() => parse(text))
        fc.pre(code !== 'rim rim_xml_attribute_duplicate')
        expect(code).toBe('read')
        const once = canonical(text)
        expect(canonical(once)).toBe(once)
        expect(canonical(`\ufeff<?xml version="1.0" encoding="UTF-8"?>\r\n${text}\n`)).toBe(once)
      }),
    )
  })

  const rim = encodeUtf8(newRimVendor().rim())
  test('any change of a document is read or refused with a code', () => {
    const edit = fc.tuple(
      fc.nat(rim.length),
      fc.nat(8),
      fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc
          .constantFrom(
            '<',
            '>',
            '/>',
            '</',
            '<!--',
            '<![CDATA[',
            '<!DOCTYPE',
            '<?',
            '&',
            '&#x',
            '"',
          )
          .map(encodeUtf8),
        fc
          .constantFrom(' xmlns=""', ' xmlns:ns0="urn:x"', ' xml:base=""', '\r', ']]>')
          .map(encodeUtf8),
      ),
    )
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 4 }), (edits) => {
        let bytes = rim
        for (const [at, removed, inserted] of edits) {
          bytes = concatBytes(bytes.subarray(0, at), inserted, bytes.subarray(at + removed))
        }
        codeOf(() => canonicalXml(parseXml(bytes), null))
      }),
      { numRuns: 300 },
    )
  })

  test('any bytes and any text are read or refused with a code', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void codeOf(() => parseXml(bytes))))
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => void codeOf(() => parse(`<${text}`))),
    )
  })
})

describe.skipIf(!hasJudge)('xmllint agrees on the canonical form', () => {
  const judged = (text: string): string =>
    spawnSync(JUDGE, ['--c14n11', '-'], { input: text, encoding: 'utf8' }).stdout

  test('of the table', () => {
    for (const [text, want] of CANONICAL) expect(judged(text), text).toBe(want)
  })

  test('of documents in every spelling', () => {
    fc.assert(
      fc.property(document, (text) => {
        fc.pre(codeOf(() => parse(text)) === 'read')
        expect(canonical(text)).toBe(judged(text))
      }),
      { numRuns: 200 },
    )
  }, 60_000)
})

describe('a mebibyte costs no more than its length', () => {
  const size = (1 << 20) - 100
  const filled = (unit: string): string => unit.repeat(Math.floor(size / unit.length))
  test.for([
    ['attributes of one element', `<a${attributes(90_000)}/>`, 'rim_xml_limit'],
    ['attributes of many', `<a>${filled(`<b${attributes(60)}/>`)}</a>`, 'read'],
    ['one attribute', `<a b="${filled('x')}"/>`, 'read'],
    ['references', `<a>${filled('&amp;')}</a>`, 'read'],
    ['an unfinished reference', `<a>&${filled('x')}</a>`, 'rim_xml_malformed'],
    ['ampersands', `<a>${filled('&')}</a>`, 'rim_xml_malformed'],
    ['line ends', `<a>${filled('\r')}</a>`, 'read'],
    ['brackets', `<a>${filled(']')}</a>`, 'read'],
    ['start tags', filled('<a>'), 'rim_xml_limit'],
    ['spaces in a tag', `<a${filled(' ')}/>`, 'read'],
    [
      'spaces in the declaration',
      `<?xml version="1.0"${filled(' ')}x?><a/>`,
      'rim_xml_instruction',
    ],
    [
      'namespaces',
      `<a>${filled('<b xmlns:p="urn:x" xmlns:q="urn:y" p:a="" q:a=""/>')}</a>`,
      'rim_xml_limit',
    ],
    ['a name', `<${filled('a')}/>`, 'read'],
    ['quotes', `<a b=${filled('"')}/>`, 'rim_xml_malformed'],
  ])('%s', ([, text = '', want]) => {
    const start = performance.now()
    const code = codeOf(() => canonicalXml(parse(text), null))
    expect(code.replace('rim ', '')).toBe(want)
    expect(performance.now() - start).toBeLessThan(2000)
  })
})
