import {
  acceptGpuEvidence,
  gpuClaims,
  isVerificationError,
  measureGpu,
  parseGpuEvidence,
  parseGpuPolicy,
  parseNrasPolicy,
  verifyGpuEvidence,
  verifyNrasResponse,
  verifyRim,
  type AcceptedGpuEvidence,
  type Bytes,
  type GenuineGpuDevice,
  type GenuineGpuEvidence,
  type GenuineNrasVerdict,
  type GenuineRim,
  type GpuBinding,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { GpuBinding as RealBinding } from '../../attestation/nvidia/binding.ts'
import { TEST_TIME } from '../support/clock.ts'
import {
  evidenceList,
  measured,
  newChassis,
  newGpu,
  newNvidiaVendor,
  type SimulatedDevice,
} from '../support/nvidia-gpu.ts'
import {
  CERTIFICATE_HOLD,
  OCSP_STATUS,
  certIdOf,
  issueResponder,
  ocspResponse,
  ocspResponses,
  pairs384,
} from '../support/nvidia-ocsp.ts'
import { newNrasAuthority, nrasJwks, nrasResponse } from '../support/nvidia-nras.ts'
import { newRimVendor, RIMS } from '../support/nvidia-rim.ts'

const vendor = newNvidiaVendor()
const { roots } = vendor.pki
const rimVendor = newRimVendor(vendor.pki)
const YEAR = 365 * 86_400
const nonce = new Uint8Array(32).fill(7)
const gpu = newGpu(vendor)

const genuine = async (devices: readonly SimulatedDevice[]): Promise<GenuineGpuEvidence> =>
  verifyGpuEvidence({
    evidence: parseGpuEvidence(evidenceList(devices, nonce)),
    nonce,
    now: TEST_TIME,
    roots,
  })

const rimsOf = async (from = rimVendor, now = TEST_TIME): Promise<GenuineRim[]> =>
  Promise.all(
    Object.values(RIMS).map(async (fields) =>
      verifyRim(new TextEncoder().encode(from.rim({ fields })), { now, roots }),
    ),
  )
const rims = await rimsOf()
const stapled = (devices: readonly SimulatedDevice[], at = TEST_TIME): Bytes[] => [
  ...devices.flatMap(({ chain }) => ocspResponses(chain.certificates, at)),
  ...ocspResponses(rimVendor.chain, at),
]

interface Given {
  readonly devices?: readonly SimulatedDevice[]
  readonly rims?: readonly GenuineRim[]
  readonly ocsp?: readonly Bytes[]
  readonly policy?: object
  readonly now?: number
}

const accept = async (given: Given): Promise<AcceptedGpuEvidence> => {
  const devices = given.devices ?? [gpu]
  return acceptGpuEvidence({
    evidence: await genuine(devices),
    rims: given.rims ?? rims,
    ocsp: given.ocsp ?? stapled(devices, given.now),
    nras: [],
    now: given.now ?? TEST_TIME,
    policy: parseGpuPolicy(given.policy ?? {}),
  })
}
const outcome = async (given: Given): Promise<string> => {
  try {
    await accept(given)
    return 'accepted'
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return error.code
  }
}

test('a GPU with the firmware that was published, nothing revoked', async () => {
  const accepted = await accept({})
  expect(accepted).toMatchObject({ measurements: 'match', revocation: 'checked' })
  expect(accepted.platform).toMatchObject({ gpus: 1, mode: 'spt' })
  expect(accepted.expiresAt).toBeGreaterThan(TEST_TIME)
})

describe('rules', () => {
  test.each([
    ['more GPUs', { gpu_count: 2 }, 'gpu_count_not_expected'],
    ['as many GPUs', { gpu_count: 1 }, 'accepted'],
    ['another architecture', { architectures: ['BLACKWELL'] }, 'gpu_arch_not_accepted'],
    ['a newer driver', { min_driver: { HOPPER: '580.95.6' } }, 'gpu_driver_too_old'],
    ['an older driver', { min_driver: { HOPPER: '580.9' } }, 'accepted'],
    ['newer firmware', { min_vbios: { HOPPER: '96.00.A0.00.00' } }, 'gpu_vbios_too_old'],
    ['this firmware', { min_vbios: { HOPPER: '96.00.9f.00.01' } }, 'accepted'],
  ])('%s', async (_name, policy, code) => {
    expect(await outcome({ policy })).toBe(code)
  })

  test('a firmware id that is not reported', async () => {
    const old = newGpu(vendor, 'HOPPER', { fwid: null })
    expect(await outcome({ devices: [old] })).toBe('gpu_firmware_id_not_reported')
    expect(await outcome({ devices: [old], policy: { firmware_id: 'if-reported' } })).toBe(
      'accepted',
    )
  })

  test('switches that are not shown', async () => {
    const devices = newChassis(vendor, 1, 1).slice(0, 1)
    expect(await outcome({ devices })).toBe('gpu_switch_evidence_absent')
    expect(await outcome({ devices, policy: { switch_evidence: 'optional' } })).toBe('accepted')
  })

  test('no reference values', async () => {
    expect(await outcome({ rims: [] })).toBe('gpu_rim_unavailable')
    expect(await outcome({ rims: [], policy: { measurements: 'unchecked' } })).toBe('accepted')
  })

  test('a measurement that differs', async () => {
    const other = newGpu(vendor)
    for (const at of other.values.keys()) other.values[at] = measured(200)
    expect(await outcome({ devices: [other] })).toBe('gpu_measurement_mismatch')
  })

  test('no word about revocation', async () => {
    expect(await outcome({ ocsp: [] })).toBe('ocsp_missing')
    expect(await outcome({ ocsp: [], policy: { revocation: 'unchecked' } })).toBe('accepted')
  })

  test('a signer of reference values that has expired', async () => {
    const now = TEST_TIME + 2 * YEAR
    const late = { now, rims: await rimsOf(rimVendor, now) }
    expect(await outcome(late)).toBe('gpu_rim_signer_expired')
    expect(await outcome({ ...late, policy: { rim_signer_expiry: 'allow' } })).toBe('accepted')
    const vouched = { rim_signer_expiry: 'allow-if-ocsp-good' }
    expect(await outcome({ ...late, policy: vouched })).toBe('accepted')
    expect(
      await outcome({ ...late, ocsp: [], policy: { ...vouched, revocation: 'unchecked' } }),
    ).toBe('gpu_rim_signer_expired')
  })

  test('a signer of reference values that is on hold', async () => {
    const [pair] = pairs384(rimVendor.chain)
    if (pair === undefined) throw new TypeError('no chain')
    const question = { ...pair, responder: issueResponder(pair.issuer), at: TEST_TIME }
    const status = OCSP_STATUS.revoked(TEST_TIME, CERTIFICATE_HOLD)
    const held = ocspResponse(question, { answers: [{ certId: certIdOf(pair), status }] })
    const ocsp = [...stapled([gpu]).slice(0, -3), held, ...stapled([gpu]).slice(-2)]
    expect(await outcome({ ocsp })).toBe('gpu_certificate_on_hold')
    expect(await outcome({ ocsp, policy: { rim_signer_hold: 'allow' } })).toBe('accepted')
  })

  test('two revisions of one time', async () => {
    const twice = [...rims, ...(await rimsOf())]
    expect(await outcome({ rims: twice })).toBe('rim_revision_ambiguous')
  })

  test('values of the same version for another chip are passed over', async () => {
    const fields = { ...RIMS.blackwellDriver, version: '580.95.05' }
    const document = new TextEncoder().encode(rimVendor.rim({ fields }))
    const other = await verifyRim(document, { now: TEST_TIME, roots })
    expect(await outcome({ rims: [...rims, other] })).toBe('accepted')
  })

  test('a switch alone is no GPU', async () => {
    const devices = newChassis(vendor, 1, 1).slice(1)
    expect(await outcome({ devices })).toBe('gpu_count_not_expected')
  })
})

describe('a policy document', () => {
  test.each([
    ['an unknown rule', { gpus: 1 }],
    ['no GPU', { gpu_count: 0 }],
    ['a weakening that is none', { revocation: 'if-answered' }],
    ['a version that is none', { min_driver: { HOPPER: '580;1' } }],
    ['no document', null],
  ])('with %s', (_name, document) => {
    expect(() => parseGpuPolicy(document)).toThrow(
      expect.objectContaining({ code: 'policy_malformed' }),
    )
  })

  test('is strict where it says nothing', () => {
    expect(parseGpuPolicy({})).toMatchObject({
      judge: 'local',
      measurements: 'require',
      revocation: 'require',
      firmware_id: 'require',
      rim_signer_expiry: 'reject',
      rim_signer_hold: 'reject',
      switch_evidence: 'require',
    })
  })
})

test('look-alikes are refused', async () => {
  const evidence: GenuineGpuEvidence = JSON.parse('{"devices":[]}')
  const given = {
    evidence,
    rims: [],
    ocsp: [],
    nras: [],
    now: TEST_TIME,
    policy: parseGpuPolicy({}),
  }
  await expect(acceptGpuEvidence(given)).rejects.toThrow(TypeError)
  const device: GenuineGpuDevice = JSON.parse('{"kind":"gpu"}')
  expect(() => measureGpu(device, [])).toThrow(TypeError)
  const [real] = (await genuine([gpu])).devices
  const rim: GenuineRim = JSON.parse('{"slot":"driver","root":"test-pki"}')
  if (real === undefined) throw new TypeError('no device')
  expect(() => measureGpu(real, [rim])).toThrow(TypeError)
  const binding: GpuBinding = JSON.parse('{"kind":"evidence-hash"}')
  const accepted = await accept({})
  expect(() => gpuClaims(accepted, binding)).toThrow(TypeError)
})

test('reference values of a test PKI say nothing of a device under other roots', async () => {
  const named = { ...roots, kind: 'nvidia' } as const
  const text = evidenceList([gpu], nonce)
  const given = { evidence: parseGpuEvidence(text), nonce, now: TEST_TIME, roots: named }
  const evidence = await verifyGpuEvidence(given)
  const asked = { evidence, rims, ocsp: stapled([gpu]), nras: [], now: TEST_TIME }
  await expect(acceptGpuEvidence({ ...asked, policy: parseGpuPolicy({}) })).rejects.toThrow(
    TypeError,
  )
})

test('what is claimed says what was not proven', async () => {
  const accepted = await accept({
    ocsp: [],
    rims: [],
    policy: { revocation: 'unchecked', measurements: 'unchecked' },
  })
  const claims = gpuClaims(accepted, new RealBinding('shared-nonce'))
  expect(claims.gpu_attested.reason).toContain('not compared, revocation not checked')
  expect(claims.gpu_bound_to_cpu.status).toBe('unknown')
})

describe('by the word of NRAS', async () => {
  const authority = newNrasAuthority()
  const key = authority.newKey(TEST_TIME - 3600)
  const chassis = newChassis(vendor, 2, 1)
  const evidence = await genuine(chassis)
  const staging = authority.newKey(TEST_TIME - 3600, { environment: 'stg' })
  const verdictOn = async (of: GenuineGpuEvidence, kind: 'gpu' | 'switch', by = key) =>
    verifyNrasResponse({
      response: nrasResponse({
        key: by,
        kind,
        at: TEST_TIME,
        claims: '3.0',
        nonce: of.nonce,
        devices: of.devices.filter((device) => device.kind === kind),
      }),
      jwks: nrasJwks(by.jwk),
      evidence: of,
      kind,
      now: TEST_TIME,
      policy: parseNrasPolicy({
        jwks_pin: 'off',
        environment: by === key ? 'production' : 'staging',
      }),
    })
  const [gpus, switches] = [await verdictOn(evidence, 'gpu'), await verdictOn(evidence, 'switch')]
  const acceptBy = async (
    nras: readonly GenuineNrasVerdict[],
    now = TEST_TIME,
    judge = 'nras',
  ): Promise<string> => {
    const policy = parseGpuPolicy({ judge })
    try {
      const accepted = await acceptGpuEvidence({ evidence, rims: [], ocsp: [], nras, now, policy })
      return gpuClaims(accepted, new RealBinding('none')).gpu_attested.reason ?? ''
    } catch (error) {
      if (!isVerificationError(error)) throw error
      return error.code
    }
  }

  test('on every device', async () => {
    expect(await acceptBy([gpus, switches])).toContain("by NVIDIA's service")
  })

  test('on some of the devices, on others, or no more', async () => {
    const missing = 'gpu_nras_verdict_missing'
    expect(await acceptBy([])).toBe(missing)
    expect(await acceptBy([gpus])).toBe(missing)
    const again = await genuine(chassis)
    expect(await acceptBy([await verdictOn(again, 'gpu'), switches])).toBe(missing)
    expect(await acceptBy([gpus, switches], gpus.expiresAt)).toBe(missing)
  })

  test('of the staging service', async () => {
    const said = [
      await verdictOn(evidence, 'gpu', staging),
      await verdictOn(evidence, 'switch', staging),
    ]
    expect(await acceptBy(said)).toBe('gpu_nras_verdict_missing')
  })

  test('where the policy does not take it', async () => {
    expect(await acceptBy([gpus, switches], TEST_TIME, 'local')).toBe('gpu_rim_unavailable')
  })

  test('that nobody verified', async () => {
    const lookAlike: GenuineNrasVerdict = JSON.parse('{"environment":"production"}')
    await expect(acceptBy([lookAlike])).rejects.toThrow(TypeError)
  })
})
