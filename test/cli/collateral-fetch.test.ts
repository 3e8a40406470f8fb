import { parseCollateral, type Collateral } from '@vouchgate/attestation'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { TEST_TIME } from '../support/clock.ts'
import { createTeeVendor, type PcsServer } from '../support/tee-vendor.ts'
import { jsonOf, vouchgate } from './console.ts'

const vendor = createTeeVendor()
const { fmspc, ca } = vendor.platform
const platform = `tdx/${fmspc}/${ca}`
let pcs: PcsServer
let folder: string
const path = (name: string): string => join(folder, name)

beforeAll(async () => {
  pcs = await vendor.pcsServer()
})
afterAll(() => pcs.close())
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'collateral-fetch-'))
  writeFileSync(path('root.pem'), vendor.rootPem)
  writeFileSync(path('quote'), await vendor.quote({ reportData: '00'.repeat(64) }))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
  Object.assign(pcs.control, { fail: {}, collateral: {} })
})

const PLATFORM = ['--fmspc', fmspc, '--ca', ca]
async function fetch(...options: string[]) {
  const argv = ['collateral', 'fetch', '--pcs', pcs.url, '--trusted-root', path('root.pem')]
  const outcome = await vouchgate([...argv, ...options, '--json'])
  return { exit: outcome.exit, answer: jsonOf(outcome) }
}

const refused = (code: string) =>
  expect.objectContaining({ ok: false, error: expect.objectContaining({ code }) })
const read = (name: string): unknown => JSON.parse(readFileSync(path(name), 'utf8'))
const bundled = (): Collateral => parseCollateral(Object(read('bundle.json'))[platform])

describe('collateral fetch', () => {
  test.each([
    ['a quote', () => ['--quote', path('quote')]],
    ['an FMSPC and a CA', () => ['--fmspc', fmspc.toUpperCase(), '--ca', ca]],
  ])('writes the document of the platform that %s names', async (_given, options) => {
    const { exit, answer } = await fetch(...options(), '--out', path('out.json'))
    expect([exit, answer]).toEqual([
      0,
      {
        ok: true,
        platform,
        expiresAt: '2026-12-19T00:00:00Z',
        tcbEvaluationDataNumber: 20,
        keptNewer: [],
        trustedRoot: { kind: 'test-pki', sha256: expect.any(String) },
      },
    ])
    const files = ['--quote', path('quote'), '--collateral', path('out.json')]
    const judging = ['--at', String(TEST_TIME), '--trusted-root', path('root.pem'), '--json']
    const judged = await vouchgate(['verify-quote', ...files, ...judging])
    expect(jsonOf(judged)).toMatchObject({ genuine: true, accepted: true })
    expect(readdirSync(folder).toSorted()).toEqual(['out.json', 'quote', 'root.pem'])
  })

  test('tells a person the same', async () => {
    const argv = ['collateral', 'fetch', '--pcs', pcs.url, '--trusted-root', path('root.pem')]
    const { exit, out } = await vouchgate([...argv, ...PLATFORM, '--out', path('out.json')])
    expect(exit).toBe(0)
    for (const part of [platform, '2026-12-19T00:00:00Z', 'test root']) expect(out).toContain(part)
  })

  test('asks for SGX where the platform runs that', async () => {
    pcs.control.collateral = {
      tcbInfo: { fields: { id: 'SGX' } },
      qeIdentity: { fields: { id: 'QE' } },
    }
    pcs.requests.length = 0
    const { exit, answer } = await fetch(...PLATFORM, '--tee', 'sgx', '--out', path('out.json'))
    expect([exit, answer]).toMatchObject([0, { platform: `sgx/${fmspc}/${ca}` }])
    expect(pcs.requests.filter((each) => each.startsWith('/tdx/'))).toEqual([])
  })

  test('adds to a bundle and keeps what is in it', async () => {
    const other = 'sgx/00906ed50000/processor'
    writeFileSync(path('bundle.json'), JSON.stringify({ [other]: vendor.collateral() }))
    expect((await fetch(...PLATFORM, '--bundle', path('bundle.json'))).exit).toBe(0)
    expect(Object.keys(Object(read('bundle.json')))).toEqual([other, platform])
  })

  test('starts a bundle, and writes both files where both are named', async () => {
    const files = ['--out', path('out.json'), '--bundle', path('bundle.json')]
    expect((await fetch(...PLATFORM, ...files)).exit).toBe(0)
    expect(bundled()).toEqual(read('out.json'))
  })

  const newerAt = (at: number): Collateral =>
    vendor.collateral({ at, tcbInfo: { fields: { tcbEvaluationDataNumber: 21 } } })

  test('does not replace a newer document of a bundle, and says so', async () => {
    const newer = newerAt(TEST_TIME)
    writeFileSync(path('bundle.json'), JSON.stringify({ [platform]: newer }))
    const { exit, answer } = await fetch(...PLATFORM, '--bundle', path('bundle.json'))
    expect([exit, answer]).toMatchObject([0, { keptNewer: ['tcb_info'] }])
    expect(bundled().tcb_info).toBe(newer.tcb_info)
  })

  test('does not replace a newer document either that has expired', async () => {
    const before = JSON.stringify({ [platform]: newerAt(TEST_TIME - 40 * 86_400) })
    writeFileSync(path('bundle.json'), before)
    expect(await fetch(...PLATFORM, '--bundle', path('bundle.json'))).toEqual({
      exit: 10,
      answer: refused('collateral_rolled_back'),
    })
    expect(readFileSync(path('bundle.json'), 'utf8')).toBe(before)
  })
})

describe('collateral fetch ends', () => {
  const USAGE: Record<string, [code: string, options: () => string[]]> = {
    'without a platform': ['platform_required', () => ['--out', path('x')]],
    'without a CA': ['platform_required', () => ['--fmspc', fmspc, '--out', path('x')]],
    'with two platforms': [
      'platform_required',
      () => ['--quote', path('quote'), '--ca', ca, '--out', path('x')],
    ],
    'without a file to write': ['output_required', () => PLATFORM],
    'with a URL that is none': [
      'url_malformed',
      () => [...PLATFORM, '--out', path('x'), '--pcs', 'pcs'],
    ],
    'with a broken FMSPC': ['usage', () => ['--fmspc', 'xyz', '--ca', ca, '--out', path('x')]],
    'with an unknown CA': ['usage', () => ['--fmspc', fmspc, '--ca', 'root', '--out', path('x')]],
  }
  test.for(Object.entries(USAGE))('%s with exit code 2', async ([, [code, options]]) => {
    expect(await fetch(...options())).toEqual({ exit: 2, answer: refused(code) })
    expect(existsSync(path('x'))).toBe(false)
  })

  const STATUSES: [number, string][] = [
    [400, 'collateral_platform_unknown'],
    [404, 'collateral_platform_unknown'],
    [410, 'collateral_withdrawn'],
    [429, 'collateral_rate_limited'],
    [500, 'collateral_service_failed'],
    [302, 'collateral_unavailable'],
  ]
  test.for(STATUSES)('with exit code 1 where the service answers %d', async ([status, code]) => {
    pcs.control.fail = { tcb: status }
    expect(await fetch(...PLATFORM, '--out', path('x'))).toEqual({ exit: 1, answer: refused(code) })
    expect(existsSync(path('x'))).toBe(false)
  })

  test('with exit code 10 where the service serves what does not hold', async () => {
    pcs.control.collateral = { tcbInfo: { signature: '00'.repeat(64) } }
    expect(await fetch(...PLATFORM, '--out', path('x'))).toEqual({
      exit: 10,
      answer: refused('tcb_info_signature_invalid'),
    })
    expect(existsSync(path('x'))).toBe(false)
  })

  test("with exit code 10 under Intel's root for a test PKI", async () => {
    const argv = ['collateral', 'fetch', '--pcs', pcs.url, ...PLATFORM, '--out', path('x')]
    const outcome = await vouchgate([...argv, '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toEqual([10, refused('certificate_root_untrusted')])
  })

  test.for(['{', '[]', '{"x":{}}'])('with exit code 30 where the bundle is %s', async (text) => {
    writeFileSync(path('bundle.json'), text)
    const { exit } = await fetch(...PLATFORM, '--bundle', path('bundle.json'))
    expect(exit).toBe(30)
    expect(readFileSync(path('bundle.json'), 'utf8')).toBe(text)
  })

  test('with exit code 10 where the bundle holds a forgery of the platform', async () => {
    const forged = vendor.collateral({ tcbInfo: { signature: '00'.repeat(64) } })
    writeFileSync(path('bundle.json'), JSON.stringify({ [platform]: forged }))
    expect(await fetch(...PLATFORM, '--bundle', path('bundle.json'))).toEqual({
      exit: 10,
      answer: refused('tcb_info_signature_invalid'),
    })
  })

  test('with exit code 1 where the file cannot be written, and leaves nothing behind', async () => {
    expect(await fetch(...PLATFORM, '--out', path('none/x'))).toEqual({
      exit: 1,
      answer: refused('file_not_written'),
    })
    expect(await fetch(...PLATFORM, '--out', folder)).toEqual({
      exit: 1,
      answer: refused('file_not_written'),
    })
    expect(readdirSync(folder).toSorted()).toEqual(['quote', 'root.pem'])
  })
})
