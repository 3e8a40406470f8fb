import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { TEST_TIME } from '../support/clock.ts'
import { createTeeVendor, type QuoteFields } from '../support/tee-vendor.ts'
import { hasVectors, vectorBytes, vectorCases, vectorJson, vectorPath } from '../support/vectors.ts'
import { jsonOf, spawned, vouchgate } from './console.ts'

const FILES = ['quote.bin', 'collateral.json', 'expected.json']

const expectedFile = z.object({
  verification_time: z.number(),
  expected: z.object({
    chain_accepted: z.boolean(),
    tcb_status: z.string(),
    advisories: z.array(z.string()),
    tcb_date: z.string().nullable(),
  }),
  quote: z.object({
    quote_version: z.number(),
    fmspc: z.string(),
    report_data: z.string(),
    debug: z.boolean(),
  }),
})

const answerFile = z.object({
  genuine: z.boolean(),
  accepted: z.boolean(),
  tcbStatus: z.string().nullable(),
  advisoryIds: z.array(z.string()),
})

const real = ['tdx4-', 'tdx5-', 'sgx3-'].flatMap((prefix) => vectorCases('tdx', prefix, FILES))
/** Their TCB info is of the retired version 2: genuine, and not wanted by default. */
const isRetired = (name: string): boolean => name.includes('-tcbv2-')

const argvOf = (name: string, time: number | string): string[] => [
  'verify-quote',
  '--quote',
  vectorPath('tdx', name, 'quote.bin'),
  '--collateral',
  vectorPath('tdx', name, 'collateral.json'),
  '--at',
  String(time),
  '--json',
]

describe.skipIf(!hasVectors)('real quotes get the answer of their expected.json', () => {
  test.for(real)('%s', async (name) => {
    const want = expectedFile.parse(vectorJson('tdx', name, 'expected.json'))
    const outcome = await vouchgate(argvOf(name, want.verification_time))
    const answer = answerFile.parse(jsonOf(outcome))
    expect(answer).toMatchObject({
      genuine: want.expected.chain_accepted,
      tcbStatus: want.expected.tcb_status,
    })
    expect(new Set(answer.advisoryIds)).toEqual(new Set(want.expected.advisories))
    expect(jsonOf(outcome)).toMatchObject({
      teeType: name.startsWith('sgx') ? 'sgx' : 'tdx',
      quoteVersion: want.quote.quote_version,
      tcbDate: want.expected.tcb_date && `${want.expected.tcb_date}T00:00:00Z`,
      fmspc: want.quote.fmspc,
      debug: want.quote.debug,
      reportData: want.quote.report_data,
    })
    expect(outcome.exit).toBe(answer.accepted ? 0 : 10)
  })

  test.for(real.filter(isRetired))('%s is not accepted by default', async (name) => {
    const want = expectedFile.parse(vectorJson('tdx', name, 'expected.json'))
    const outcome = await vouchgate(argvOf(name, want.verification_time))
    expect(jsonOf(outcome)).toMatchObject({
      genuine: true,
      accepted: false,
      error: { code: 'tcb_info_retired', step: 'policy' },
    })
    expect(outcome.exit).toBe(10)
  })

  test('every case was found', () => {
    expect(real).toHaveLength(65 + 5 + 24)
  })
})

test.skipIf(!hasVectors)('the executable gives the same answer as the process', async () => {
  for (const name of [real[0] ?? '', real.at(-1) ?? '']) {
    const want = expectedFile.parse(vectorJson('tdx', name, 'expected.json'))
    const argv = argvOf(name, want.verification_time)
    expect(await spawned(argv)).toEqual(await vouchgate(argv))
  }
})

const vendor = createTeeVendor()
const folder = mkdtempSync(join(tmpdir(), 'verify-quote-'))
const path = (name: string): string => join(folder, name)

beforeAll(() => {
  writeFileSync(path('root.pem'), vendor.rootPem)
  writeFileSync(path('collateral.json'), JSON.stringify(vendor.collateral()))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function judge(
  fields: Partial<QuoteFields> = {},
  options: readonly string[] = ['--trusted-root', path('root.pem')],
  encode: (quote: Buffer) => string | Buffer = (quote) => quote,
) {
  const quote = await vendor.quote({ reportData: '0a'.repeat(64), ...fields })
  writeFileSync(path('quote'), encode(Buffer.from(quote)))
  const files = ['--quote', path('quote'), '--collateral', path('collateral.json')]
  const argv = ['verify-quote', ...files, '--at', String(TEST_TIME), ...options, '--json']
  const outcome = await vouchgate(argv)
  return { exit: outcome.exit, answer: jsonOf(outcome) }
}

test('a good quote is genuine and accepted, with every member of the interface', async () => {
  const { exit, answer } = await judge({ mrtd: 'ab'.repeat(48) })
  expect(exit).toBe(0)
  expect(answer).toEqual({
    genuine: true,
    accepted: true,
    teeType: 'tdx',
    quoteVersion: 4,
    tcbStatus: 'UpToDate',
    advisoryIds: [],
    tcbDate: '2026-08-12T00:00:00Z',
    fmspc: vendor.platform.fmspc,
    debug: false,
    reportData: '0a'.repeat(64),
    measurements: expect.objectContaining({ mrtd: 'ab'.repeat(48), rtmr0: expect.any(String) }),
    error: null,
    trustedRoot: { kind: 'test-pki', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  })
})

test.for([
  ['hex', (quote: Buffer) => quote.toString('hex')],
  [
    'upper-case hex with a prefix and an end of line',
    (quote: Buffer) => `0x${quote.toString('hex').toUpperCase()}\n`,
  ],
  ['base64', (quote: Buffer) => quote.toString('base64')],
  ['base64 in lines', (quote: Buffer) => quote.toString('base64').replaceAll(/(.{64})/g, '$1\r\n')],
] as const)('a quote in %s is read', async ([, encode]) => {
  const { exit } = await judge({}, ['--trusted-root', path('root.pem')], encode)
  expect(exit).toBe(0)
})

test("under Intel's root a simulated quote is not genuine, and nothing of it is stated", async () => {
  const { exit, answer } = await judge({}, [])
  expect(exit).toBe(10)
  expect(answer).toEqual({
    genuine: false,
    accepted: false,
    teeType: 'tdx',
    quoteVersion: 4,
    tcbStatus: null,
    advisoryIds: [],
    tcbDate: null,
    fmspc: null,
    debug: null,
    reportData: null,
    measurements: {},
    error: { code: 'certificate_root_untrusted', step: 'pck_chain' },
  })
})

test('a debug quote is genuine and not accepted', async () => {
  const { exit, answer } = await judge({ tdAttributes: '0100001000000000' })
  expect(exit).toBe(10)
  expect(answer).toMatchObject({
    genuine: true,
    accepted: false,
    debug: true,
    error: { code: 'debug_enabled', step: 'policy' },
  })
})

test('a policy decides what is accepted, and need not name a workload here', async () => {
  writeFileSync(path('policy.yaml'), 'tee: {debug: allow}\n')
  const options = ['--trusted-root', path('root.pem'), '--policy', path('policy.yaml')]
  expect((await judge({ tdAttributes: '0100001000000000' }, options)).exit).toBe(0)
  writeFileSync(path('policy.yaml'), `workload: [{mrtd: "${'00'.repeat(48)}"}]\n`)
  const { exit, answer } = await judge({}, options)
  expect([exit, answer]).toMatchObject([30, { error: { code: 'policy_malformed' } }])
})

test.for([
  [
    'a truncated quote',
    { afterSigning: (quote: Uint8Array) => quote.subarray(0, 600) },
    30,
    'quote_malformed',
  ],
  ['an unknown version', { version: 9 }, 20, 'quote_version_unsupported'],
  ['a changed body', { afterSigning: flipped(300) }, 10, 'quote_signature_invalid'],
] as const)('%s is refused with its code', async ([, fields, exit, code]) => {
  expect(await judge(fields)).toMatchObject({ exit, answer: { genuine: false, error: { code } } })
})

function flipped(at: number): (quote: Uint8Array) => Uint8Array {
  return (quote) => quote.map((byte, index) => (index === at ? byte ^ 1 : byte))
}

test.for([
  ['no text of any encoding', 'canary not a quote!', 30, 'encoding_malformed'],
  ['nothing', '', 30, 'quote_malformed'],
  ['too much', 'ab'.repeat(1 << 18), 30, 'file_too_large'],
] as const)('a quote file with %s is refused, and not quoted', async ([, text, exit, code]) => {
  const outcome = await judge({}, [], () => text)
  expect(outcome).toMatchObject({ exit, answer: { error: { code } } })
  expect(JSON.stringify(outcome)).not.toContain('canary')
})

test('collateral that is not a collateral document is malformed', async () => {
  writeFileSync(path('broken.json'), '{"tcb_info":"canary"}')
  const files = ['--quote', path('quote'), '--collateral', path('broken.json')]
  await judge()
  const outcome = await vouchgate(['verify-quote', ...files, '--at', String(TEST_TIME), '--json'])
  expect(outcome.exit).toBe(30)
  expect(jsonOf(outcome)).toMatchObject({ error: { code: 'collateral_malformed' } })
})

test('a person reads the same, the test root included', async () => {
  await judge()
  const files = ['--quote', path('quote'), '--collateral', path('collateral.json')]
  const argv = ['verify-quote', ...files, '--at', '2026-11-20T00:00:00Z']
  const { out } = await vouchgate([...argv, '--trusted-root', path('root.pem')])
  expect(out).toContain('genuine and accepted')
  expect(out).toContain('test root')
  expect((await vouchgate(argv)).err).toContain('not genuine')
})

test.for([
  ['a missing option', ['--at', '0']],
  ['a time that is none', ['--quote', 'q', '--collateral', 'c', '--at', 'yesterday']],
  ['an unknown option', ['--quote', 'q', '--collateral', 'c', '--at', '0', '--lenient']],
] as const)('%s is wrong usage', async ([, options]) => {
  expect((await vouchgate(['verify-quote', ...options])).exit).toBe(2)
})

test.skipIf(!hasVectors)('padding after a quote does not matter', async () => {
  const [name = ''] = real
  const want = expectedFile.parse(vectorJson('tdx', name, 'expected.json'))
  writeFileSync(
    path('padded'),
    Buffer.concat([vectorBytes('tdx', name, 'quote.bin'), Buffer.alloc(9)]),
  )
  const argv = argvOf(name, want.verification_time).with(2, path('padded'))
  expect(jsonOf(await vouchgate(argv))).toMatchObject({ genuine: true })
})
