import { toHex } from '@vouchgate/attestation'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { TEST_TIME } from '../support/clock.ts'
import { evidenceList, newChassis, newGpu, newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { ocspResponses } from '../support/nvidia-ocsp.ts'
import { newRimVendor, RIMS } from '../support/nvidia-rim.ts'
import { hasVectors, vectorBytes, vectorCases, vectorJson, vectorPath } from '../support/vectors.ts'
import { jsonOf, spawned, vouchgate } from './console.ts'

const folder = mkdtempSync(join(tmpdir(), 'verify-gpu-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

const answerFile = z.object({
  genuine: z.boolean(),
  accepted: z.boolean(),
  nonceMatches: z.boolean(),
  devices: z.array(
    z.object({
      arch: z.string().nullable(),
      kind: z.string().nullable(),
      ueid: z.string().nullable(),
      serial: z.string().nullable(),
      driver: z.string().nullable(),
      vbios: z.string().nullable(),
      signatureValid: z.boolean(),
      measurements: z.enum(['match', 'mismatch', 'unavailable']),
      mismatches: z.array(z.object({ goldenIndex: z.number(), spdmBlock: z.number() })),
    }),
  ),
  error: z.object({ code: z.string(), step: z.string() }).nullable(),
})

interface Question {
  readonly evidence: string
  readonly nonce: string
  readonly at: string
  readonly rims?: string
  readonly ocsp?: string
  readonly policy?: string
}

const argvOf = ({ evidence, nonce, at, ...folders }: Question): string[] => [
  'verify-gpu',
  '--evidence',
  evidence,
  '--nonce',
  nonce,
  '--at',
  at,
  '--json',
  ...Object.entries(folders).flatMap(([name, path]) => [`--${name}`, path]),
]

async function ask(question: Question) {
  const outcome = await vouchgate(argvOf(question))
  return { exit: outcome.exit, ...answerFile.parse(jsonOf(outcome)) }
}

const vendor = newNvidiaVendor()
const rimVendor = newRimVendor(vendor.pki)
const gpu = newGpu(vendor)
const nonce = new Uint8Array(32).fill(7)
const policy = file(
  'policy.yaml',
  JSON.stringify({
    trusted_root: {
      test_pki: { device_pem: vendor.pki.deviceRoot.pem, rim_pem: vendor.pki.rimRoot.pem },
    },
  }),
)
const [rims, ocsp] = [join(folder, 'rims'), join(folder, 'ocsp')]
mkdirSync(rims)
mkdirSync(ocsp)
for (const [name, fields] of Object.entries(RIMS))
  file(`rims/${name}.xml`, rimVendor.rim({ fields }))
file('rims/README.md', 'no reference values')
const responses = [gpu.chain.certificates, rimVendor.chain].flatMap((chain) =>
  ocspResponses(chain, TEST_TIME),
)
for (const [at, response] of responses.entries()) {
  if (at % 2 === 0) file(`ocsp/${at}.der`, response)
  else file(`ocsp/${at}.resp.b64`, `${Buffer.from(response).toString('base64')}\n`)
}
const question = {
  evidence: file('evidence.json', evidenceList([gpu], nonce)),
  nonce: toHex(nonce),
  at: '2026-11-20T00:00:00.000Z',
  policy,
}

describe('under test roots', () => {
  test('accepted where everything is at hand, and said to be of a test', async () => {
    const outcome = await vouchgate(argvOf({ ...question, rims, ocsp }))
    expect(outcome.exit).toBe(0)
    expect(jsonOf(outcome)).toMatchObject({
      genuine: true,
      accepted: true,
      nonceMatches: true,
      boundToCpu: 'none',
      devices: [
        {
          arch: 'HOPPER',
          kind: 'gpu',
          driver: '580.95.05',
          vbios: '96.00.9f.00.01',
          signatureValid: true,
          measurements: 'match',
          mismatches: [],
        },
      ],
      error: null,
      trustedRoot: { kind: 'test-pki' },
    })
  })

  test('for a person, with what it does not prove', async () => {
    const argv = argvOf({ ...question, rims, ocsp }).filter((word) => word !== '--json')
    const { out } = await vouchgate(argv)
    expect(out).toContain('genuine and accepted')
    expect(out).toContain('Bound to no CPU TEE')
    expect(out).toContain('Judged under test roots')
  })

  test('what a policy let pass is said', async () => {
    const weak = JSON.stringify({
      trusted_root: {
        test_pki: { device_pem: vendor.pki.deviceRoot.pem, rim_pem: vendor.pki.rimRoot.pem },
      },
      measurements: 'unchecked',
      revocation: 'unchecked',
      switch_evidence: 'optional',
    })
    const devices = newChassis(vendor, 1, 1).slice(0, 1)
    const evidence = file('chassis.json', evidenceList(devices, nonce))
    const argv = argvOf({ ...question, evidence, policy: file('weak.yaml', weak) })
    const { exit, out } = await vouchgate(argv.filter((word) => word !== '--json'))
    expect(exit).toBe(0)
    expect(out).toContain('Firmware was not compared')
    expect(out).toContain('Revocation was not checked')
    expect(out).toContain('switches between the GPUs did not prove themselves')
  })

  test('another nonce is told from a forged report', async () => {
    const other = { ...question, nonce: '00'.repeat(32) }
    expect(await ask(other)).toMatchObject({
      exit: 10,
      genuine: false,
      nonceMatches: false,
      devices: [{ signatureValid: true }],
      error: { code: 'nonce_mismatch', step: 'freshness' },
    })
  })

  test('a device that proved nothing is shown as nothing', async () => {
    const stranger = newGpu(newNvidiaVendor())
    const evidence = file('stranger.json', evidenceList([gpu, stranger], nonce))
    const answer = await ask({ ...question, evidence })
    expect(answer).toMatchObject({
      exit: 10,
      genuine: false,
      error: { code: 'certificate_root_untrusted' },
    })
    expect(answer.devices.map(({ signatureValid }) => signatureValid)).toEqual([true, false])
    expect(answer.devices[1]).toMatchObject({
      arch: null,
      serial: null,
      measurements: 'unavailable',
    })
  })

  test('reference values that are not genuine count where they are needed', async () => {
    const spoiled = join(folder, 'spoiled')
    mkdirSync(spoiled)
    const { hopperDriver, hopperVbios } = RIMS
    file('spoiled/driver.xml', rimVendor.rim({ fields: hopperDriver }))
    file(
      'spoiled/vbios.xml',
      rimVendor.rim({ fields: hopperVbios }).replace('active="True"', 'active="False"'),
    )
    expect(await ask({ ...question, rims: spoiled, ocsp })).toMatchObject({
      exit: 10,
      genuine: true,
      accepted: false,
      error: { code: 'rim_digest_mismatch', step: 'rim' },
    })
    file('spoiled/genuine.xml', rimVendor.rim({ fields: hopperVbios }))
    expect(await ask({ ...question, rims: spoiled, ocsp })).toMatchObject({ accepted: true })
  })

  test('reference values of two revisions that cannot be told apart', async () => {
    const twice = join(folder, 'twice')
    mkdirSync(twice)
    for (const name of ['a', 'b'])
      file(`twice/${name}.xml`, rimVendor.rim({ fields: RIMS.hopperDriver }))
    file('twice/vbios.xml', rimVendor.rim({ fields: RIMS.hopperVbios }))
    expect(await ask({ ...question, rims: twice, ocsp })).toMatchObject({
      genuine: true,
      devices: [{ measurements: 'unavailable' }],
      error: { code: 'rim_revision_ambiguous' },
    })
  })

  test.each([
    ['evidence that is no JSON', { evidence: file('bad.json', '{') }, 30, 'json_malformed'],
    ['a short nonce', { nonce: 'abcd' }, 30, 'gpu_nonce_malformed'],
    ['a folder that is none', { rims: join(folder, 'nowhere') }, 30, 'file_unreadable'],
    ['an unknown rule', { policy: file('unknown.yaml', 'gpus: 3') }, 30, 'policy_malformed'],
  ])('%s', async (_name, change, exit, code) => {
    const outcome = await vouchgate(argvOf({ ...question, ...change }))
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([exit, { error: { code } }])
  })

  test('a folder with too many files', async () => {
    const many = join(folder, 'many')
    mkdirSync(many)
    for (let at = 0; at < 513; at++) file(`many/${at}.der`, '')
    const outcome = await vouchgate(argvOf({ ...question, ocsp: many }))
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      30,
      { error: { code: 'folder_too_large' } },
    ])
  })

  test('through the executable', async () => {
    const { exit, out } = await spawned(argvOf({ ...question, rims, ocsp }))
    expect(exit).toBe(0)
    expect(answerFile.parse(JSON.parse(out)).accepted).toBe(true)
  })
})

const spdmRow = z.object({
  requestNonce: z.string(),
  kind: z.string(),
  spdmSignatureValid: z.boolean(),
  vbiosOrBios: z.string(),
  driver: z.string().optional(),
  ueidDecimal: z.string(),
  bromSerial: z.string(),
})
type SpdmRow = z.output<typeof spdmRow>
const expectedOf = (set: string): Record<string, unknown> =>
  z.record(z.string(), z.unknown()).parse(vectorJson('nvidia', set, 'expected.json'))
const rowsOf = (value: unknown): SpdmRow[] => z.array(spdmRow).parse(value)

/** File of evidence, and the rows of its expected.json. */
function evidenceSets(): (readonly [set: string, name: string, rows: SpdmRow[]])[] {
  if (!hasVectors) return []
  const hgx = '06-hgx-h200-8gpu-4switch-ppcie-570.124.06'
  const blackwell = '05-blackwell-gb100-8gpu-mpt-590.48.01'
  const nvat = '08-nvat-serialized-evidence'
  const samples = '19-nvidia-payload-samples'
  const devices = z.object({ devices: z.unknown() })
  return [
    [blackwell, 'evidence_list.json', rowsOf(expectedOf(blackwell)['spdm'])],
    [hgx, 'gpu_evidence_list.json', rowsOf(expectedOf(hgx)['gpu'])],
    [hgx, 'switch_evidence_list.json', rowsOf(expectedOf(hgx)['switch'])],
    ...Object.entries(expectedOf(nvat)).map(([name, rows]) => [nvat, name, rowsOf(rows)] as const),
    ...Object.entries(expectedOf(samples)).map(
      ([name, sample]) => [samples, name, rowsOf(devices.parse(sample).devices)] as const,
    ),
    ...['12-nras-v3-h200-1gpu-pass', '14-nras-v3-near-8gpu-pass-shared-nonce'].map(
      (set) => [set, 'request.json', rowsOf(expectedOf(set)['spdm'])] as const,
    ),
  ]
}

describe.skipIf(!hasVectors)('real evidence gets the answer of its expected.json', () => {
  test.for(evidenceSets())('%s %s', async ([set, name, rows]) => {
    const answer = await ask({
      evidence: vectorPath('nvidia', set, name),
      nonce: rows[0]?.requestNonce ?? '',
      at: '2026-11-20T00:00:00Z',
    })
    // One switch shown four times: every signature holds, and it is one switch.
    const isRepeated = name === 'multi_switch_ls10.json'
    expect(answer.genuine).toBe(!isRepeated)
    expect(answer.error?.code === 'gpu_device_duplicate').toBe(isRepeated)
    expect(answer.nonceMatches).toBe(true)
    expect(answer.devices).toEqual(
      rows.map((row) =>
        expect.objectContaining({
          kind: row.kind === 'gpu' ? 'gpu' : 'switch',
          driver: row.driver ?? null,
          vbios: row.vbiosOrBios.toLowerCase(),
          ueid: row.ueidDecimal,
          serial: row.bromSerial,
          signatureValid: row.spdmSignatureValid,
        }),
      ),
    )
  })

  const single = (set: string, arch: string, chain = 'chain.pem', report = 'report.bin'): string =>
    file(
      `${set}-${chain}.json`,
      JSON.stringify([
        {
          arch,
          evidence: Buffer.from(vectorBytes('nvidia', set, report)).toString('base64'),
          certificate: Buffer.from(vectorBytes('nvidia', set, chain)).toString('base64'),
        },
      ]),
    )
  const nonceOf = (set: string): string =>
    toHex(vectorBytes('nvidia', set, 'report.bin').subarray(4, 36))

  test.for([
    ['01-h100-550.90.07-complete-with-ocsp', 'HOPPER', '2025-10-24T18:00:00Z'],
    ['03-ls10-switch-96.10.55.00.01-complete', 'LS10', '2026-06-01T00:00:00Z'],
  ])('%s measures what NVIDIA published', async ([set = '', arch = '', at = '']) => {
    const answer = await ask({
      evidence: single(set, arch),
      nonce: nonceOf(set),
      at,
      rims: vectorPath('nvidia', set),
    })
    expect(answer.devices).toMatchObject([{ signatureValid: true, measurements: 'match' }])
    expect(answer).toMatchObject({ genuine: true, accepted: false })
  })

  test('02: the values of another revision differ in four places', async () => {
    const set = '02-h100-545.00-engineering-rims'
    const prod = join(folder, 'prod')
    mkdirSync(prod)
    for (const name of [
      '1010_0200_882_96005E0001_PROD.swidtag',
      'Driver_RIM_test_no_gpu.swidtag',
    ]) {
      file(`prod/${name}`, vectorBytes('nvidia', set, name))
    }
    const asked = {
      evidence: single(set, 'HOPPER'),
      nonce: nonceOf(set),
      at: '2024-06-01T00:00:00Z',
    }
    const newest = await ask({ ...asked, rims: vectorPath('nvidia', set) })
    expect(newest.devices).toMatchObject([{ measurements: 'match' }])
    const old = await ask({ ...asked, rims: prod })
    expect(old.devices).toMatchObject([{ measurements: 'mismatch' }])
    expect(old.devices[0]?.mismatches.map(({ goldenIndex }) => goldenIndex)).toEqual([1, 2, 3, 9])
  })

  test('06: the report of one switch under the chain of another', async () => {
    const set = '06-hgx-h200-8gpu-4switch-ppcie-570.124.06'
    const report = 'switch-report-of-switch1.bin'
    const answer = await ask({
      evidence: single(set, 'LS10', 'switch-chain-of-switch0.pem', report),
      nonce: toHex(vectorBytes('nvidia', set, report).subarray(4, 36)),
      at: '2026-11-20T00:00:00Z',
    })
    expect(answer).toMatchObject({ genuine: false, error: { code: 'gpu_signature_invalid' } })
  })

  test.for([
    ['hopper_cert_chain_case1.txt', null],
    ['hopper_cert_chain_case2.txt', 'certificate_chain_length'],
    ['hopper_cert_chain_case3.txt', 'certificate_chain_length'],
    ['hopper_cert_chain_case4.txt', 'certificate_chain_length'],
  ] as const)('18: %s', async ([name, code]) => {
    const first = '01-h100-550.90.07-complete-with-ocsp'
    const evidence = file(
      `chain-${name}.json`,
      JSON.stringify([
        {
          evidence: Buffer.from(vectorBytes('nvidia', first, 'report.bin')).toString('base64'),
          certificate: Buffer.from(
            vectorBytes('nvidia', '18-device-chain-negatives', name),
          ).toString('base64'),
        },
      ]),
    )
    const answer = await ask({ evidence, nonce: nonceOf(first), at: '2026-11-20T00:00:00Z' })
    expect(answer.genuine).toBe(code === null)
    const refused = code === null ? 'gpu_rim_unavailable' : code
    expect(answer.error?.code).toBe(refused)
  })

  test('every case without an answer gets a verdict', async () => {
    for (const name of vectorCases('blind/nvidia', 'g', ['case.json', 'evidence.json'])) {
      const { nonce: asked, at } = z
        .object({ nonce: z.string(), at: z.string() })
        .parse(vectorJson('blind', 'nvidia', name, 'case.json'))
      const evidence = vectorPath('blind', 'nvidia', name, 'evidence.json')
      const { exit } = await ask({ evidence, nonce: asked, at })
      expect([0, 10, 20, 30], name).toContain(exit)
    }
  })
})
