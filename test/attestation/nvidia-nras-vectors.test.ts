import {
  fromHex,
  isVerificationError,
  NVIDIA_ROOTS,
  parseGpuEvidence,
  parseNrasPolicy,
  parseTime,
  verifyGpuEvidence,
  verifyNrasResponse,
  type GenuineGpuEvidence,
  type GpuEvidence,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { hasVectors, vectorBytes, vectorJson, vectorText } from '../support/vectors.ts'

const HOUR = 3600
const DAY = 24 * HOUR

interface Recorded {
  readonly evidence: GpuEvidence
  readonly nonce: Uint8Array
  readonly kind: 'gpu' | 'switch'
  readonly response: Uint8Array
  readonly jwks: Uint8Array
  /** When the response was received. */
  readonly at: UnixSeconds
}

const clockOf = (value: unknown): UnixSeconds =>
  parseTime(z.object({ clock: z.string() }).parse(value).clock.replace('.000Z', 'Z'))

/** A request to NRAS v3, and what it was answered with. */
function exchange(set: string): Recorded {
  const evidence = parseGpuEvidence(vectorText('nvidia', set, 'request.json'))
  return {
    evidence,
    nonce: evidence.statedNonce ?? new Uint8Array(0),
    kind: 'gpu',
    response: vectorBytes('nvidia', set, 'response.json'),
    jwks: vectorBytes('nvidia', set, 'jwks.json'),
    at: clockOf(vectorJson('nvidia', set, 'expected.json')),
  }
}

const NVAT = '17-nras-v4-claims3-detached-eat'
const NVAT_NONCE = '931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb'

/** A sample of NVIDIA's SDK, about the device of another set. */
const sample = (name: 'hopper' | 'switch', set: string): Recorded => {
  const certificates = vectorText('nvidia', set, 'chain.pem')
  const report = Uint8Array.from(vectorBytes('nvidia', set, 'report.bin'))
  const file = name === 'hopper' ? 'hopperClaimsv3_detached_eat' : 'switch_detached_eat'
  const expected = z
    .record(z.string(), z.unknown())
    .parse(vectorJson('nvidia', NVAT, 'expected.json'))
  return {
    evidence: { items: [{ statedArch: null, report, certificates }], statedNonce: null },
    nonce: fromHex(NVAT_NONCE),
    kind: name === 'hopper' ? 'gpu' : 'switch',
    response: vectorBytes('nvidia', NVAT, `${file}.json`),
    jwks: vectorBytes('nvidia', NVAT, 'recovered-jwks.json'),
    at: clockOf(expected[name]),
  }
}

const hopper = () => sample('hopper', '01-h100-550.90.07-complete-with-ocsp')
const nvswitch = () => sample('switch', '03-ls10-switch-96.10.55.00.01-complete')
const one = () => exchange('12-nras-v3-h200-1gpu-pass')
const eight = () => exchange('14-nras-v3-near-8gpu-pass-shared-nonce')

const genuine = async ({ evidence, nonce, at }: Recorded): Promise<GenuineGpuEvidence> =>
  verifyGpuEvidence({ evidence, nonce: Uint8Array.from(nonce), now: at, roots: NVIDIA_ROOTS })

interface Changes {
  readonly policy?: object
  readonly now?: UnixSeconds
  readonly evidence?: GenuineGpuEvidence
  readonly jwks?: Uint8Array
}

async function judge(recorded: Recorded, { policy, ...changes }: Changes = {}) {
  const { response, jwks, kind, at } = recorded
  const evidence = changes.evidence ?? (await genuine(recorded))
  return verifyNrasResponse({
    response,
    jwks,
    kind,
    now: at,
    ...changes,
    evidence,
    policy: parseNrasPolicy(policy ?? {}),
  })
}

async function outcome(recorded: Recorded, changes: Changes = {}): Promise<string> {
  try {
    await judge(recorded, changes)
    return 'genuine'
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return error.code
  }
}

describe.skipIf(!hasVectors)('recorded responses of NRAS', () => {
  test('one H200', async () => {
    const verdict = await judge(one(), { policy: { jwks_pin: 'enforce' } })
    expect(verdict).toMatchObject({ claimsVersion: '2.0', pinned: 'pinned', kind: 'gpu' })
    expect(verdict.devices.map(({ name }) => name)).toEqual(['GPU-0'])
  })

  test('eight H200, whose names stand in no order', async () => {
    const recorded = eight()
    const evidence = await genuine(recorded)
    const verdict = await judge(recorded, { evidence, policy: { jwks_pin: 'enforce' } })
    expect(verdict.devices.map(({ ueid }) => ueid)).toEqual(
      evidence.devices.map(({ ueid }) => ueid),
    )
    expect(verdict.devices).toHaveLength(8)
    expect(evidence.devices.every((device) => verdict.covers(device))).toBe(true)
  })

  test('one H100 with claims 3.0, whose key came without certificates', async () => {
    const verdict = await judge(hopper())
    expect(verdict).toMatchObject({ claimsVersion: '3.0', pinned: 'unpinned' })
    expect(await outcome(hopper(), { policy: { jwks_pin: 'enforce' } })).toBe('nras_key_unpinned')
  })

  test('T10: a switch, judged by the staging service', async () => {
    expect(await outcome(nvswitch())).toBe('nras_kid_not_accepted')
    const verdict = await judge(nvswitch(), { policy: { environment: 'staging' } })
    expect(verdict).toMatchObject({ environment: 'staging', kind: 'switch', claimsVersion: '3.0' })
  })

  test.each([
    ['one H200', one],
    ['eight H200', eight],
    ['one H100', hopper],
  ])('%s: outside of its time', async (_name, load) => {
    const recorded = load()
    const evidence = await genuine(recorded)
    const at = async (seconds: number, policy = {}) =>
      outcome(recorded, { evidence, now: recorded.at + seconds, policy })
    expect(await at(10 * 60)).toBe('genuine')
    expect(await at(12 * 60)).toBe('nras_token_too_old')
    const policy = { max_token_age_seconds: 'recorded' }
    expect(await at(59 * 60, policy)).toBe('genuine')
    expect(await at(62 * 60, policy)).toBe('nras_token_not_valid_now')
    expect(await at(-120, policy)).toBe('nras_token_not_valid_now')
    expect(await at(365 * DAY, policy)).toBe('nras_token_not_valid_now')
  })

  test('are kept with the keys that signed them', async () => {
    const recorded = eight()
    const evidence = await genuine(recorded)
    const { archive, devices } = await judge(recorded, { evidence })
    expect(archive.jwks.length).toBeLessThan(4096)
    const policy = { max_token_age_seconds: 'recorded', jwks_pin: 'enforce' }
    const again = await judge(recorded, { evidence, jwks: archive.jwks, policy })
    expect(again.devices).toEqual(devices)
  })

  test('T2: the keys of another day', async () => {
    expect(await outcome(one(), { jwks: hopper().jwks })).toBe('nras_key_unknown')
  })

  test('evidence of another exchange', async () => {
    expect(await outcome(one(), { evidence: await genuine(hopper()) })).toBe('nras_nonce_mismatch')
  })
})
