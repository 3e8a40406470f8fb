import { kdsRoutes } from '@vouchgate/attestation'
import { expect, test } from 'vitest'
import { createSnpVendor } from '../support/snp-vendor.ts'

const CHIP = '5a'.repeat(64)

test.each([
  ['Milan', CHIP, 'blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84'],
  ['Genoa', CHIP, 'blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84'],
  ['Turin', '5a'.repeat(8), 'blSPL=10&teeSPL=0&snpSPL=23&ucodeSPL=84&fmcSPL=1'],
] as const)(
  'AMD is asked about the chip, the product and the TCB of a report: %s',
  (product, id, query) => {
    expect(kdsRoutes(createSnpVendor(product).report())).toEqual({
      leaf: `/vcek/v1/${product}/${id}?${query}`,
      chain: `/vcek/v1/${product}/cert_chain`,
      crl: `/vcek/v1/${product}/crl`,
    })
  },
)

const genoa = createSnpVendor('Genoa')

test.each([
  ['signed by a VLEK', { keyInfo: '04000000' }],
  ['of an unknown processor', { cpuid: '170101' }],
  ['of version 2, which names no processor', { version: '02000000', cpuid: '000000' }],
])('a report %s is not asked about', (_name, fields) => {
  expect(() => kdsRoutes(genoa.report(fields))).toThrow(
    expect.objectContaining({ code: 'snp_product_unknown' }),
  )
})

test('nor one whose TCB has bits that mean nothing', () => {
  expect(() => kdsRoutes(genoa.report({ reportedTcb: '0a00ff0000001754' }))).toThrow(
    expect.objectContaining({ code: 'snp_tcb_mismatch' }),
  )
})

test('nor what is no report', () => {
  expect(() => kdsRoutes(genoa.report().subarray(1))).toThrow(
    expect.objectContaining({ code: 'snp_report_malformed' }),
  )
})
