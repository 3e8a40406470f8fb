import {
  parseGpuEvidence,
  parseNrasPolicy,
  toHex,
  verifyGpuEvidence,
  verifyNrasResponse,
  type GenuineGpuEvidence,
  type GpuEvidence,
} from '@vouchgate/attestation'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { NVIDIA_NRAS_URL, nrasService, type NrasOptions } from '../../src/nvidia/nras.ts'
import { NvidiaAnswerRefused } from '../../src/nvidia/fetch.ts'
import { NrasKeySet } from '../../src/nvidia/nras-keys.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import {
  evidenceList,
  newChassis,
  newGpu,
  newNvidiaVendor,
  type SimulatedDevice,
} from '../support/nvidia-gpu.ts'
import { startNras, type FakeNras } from '../support/nvidia-nras-service.ts'
import { signNrasToken } from '../support/nvidia-nras.ts'
import type { ServiceFault } from '../support/nvidia-services.ts'

const MINUTE = 60
const vendor = newNvidiaVendor()
const nonce = new Uint8Array(32).fill(0xa7)
const { roots } = vendor.pki

interface Shown {
  readonly evidence: GpuEvidence
  readonly genuine: GenuineGpuEvidence
}

async function shown(devices: readonly SimulatedDevice[], asked = nonce): Promise<Shown> {
  const evidence = parseGpuEvidence(evidenceList(devices, asked))
  const genuine = await verifyGpuEvidence({ evidence, nonce: asked, now: fakeClock().now(), roots })
  return { evidence, genuine }
}

let chassis: Shown
let single: Shown
beforeAll(async () => {
  chassis = await shown(newChassis(vendor, 2, 1))
  single = await shown([newGpu(vendor)])
})

let nras: FakeNras
let clock: FakeClock
beforeEach(async () => {
  clock = fakeClock()
  nras = await startNras(clock, roots)
})
afterEach(() => nras.close())

const policy = () =>
  parseNrasPolicy({ jwks_pin: 'enforce', jwks_authorities: [nras.authority.spkiSha256] })
const source = (changes: Partial<NrasOptions> = {}) =>
  nrasService({
    service: { url: nras.url, timeoutMs: 5000 },
    api: 'v4',
    clock,
    policy: policy(),
    ...changes,
  })
const lines = (): string[] => nras.requests.map(({ line }) => line)
const JWKS = 'GET /.well-known/jwks.json'
const ATTEST = 'POST /v4/attest/gpu'
const sentBody = (): unknown => JSON.parse(nras.requests[0]?.body ?? '')
const gpu = () => ({ ...single, kind: 'gpu' as const })

test('the service is that of NVIDIA', () => {
  expect(NVIDIA_NRAS_URL).toBe('https://nras.attestation.nvidia.com')
})

describe('a verdict', () => {
  test('is asked for with claims 3.0, and the keys after it', async () => {
    const verdict = await source()({ ...chassis, kind: 'gpu' })
    expect(verdict).toMatchObject({ kind: 'gpu', claimsVersion: '3.0', pinned: 'pinned' })
    expect(lines()).toEqual([ATTEST, JWKS])
  })

  test('is asked for with exactly the evidence that was verified', async () => {
    await source()({ ...chassis, kind: 'gpu' })
    const [first, second] = chassis.evidence.items
    const item = (of: typeof first) => ({
      evidence: Buffer.from(of?.report ?? '').toString('base64'),
      certificate: Buffer.from(of?.certificates ?? '').toString('base64'),
    })
    expect(sentBody()).toEqual({
      nonce: toHex(nonce),
      arch: 'HOPPER',
      evidence_list: [item(first), item(second)],
      claims_version: '3.0',
    })
  })

  test('comes with claims 2.0 from v3', async () => {
    expect((await source({ api: 'v3' })(gpu())).claimsVersion).toBe('2.0')
    expect(lines()).toEqual(['POST /v3/attest/gpu', JWKS])
    expect(sentBody()).not.toHaveProperty('claims_version')
  })

  test('on switches is one of its own', async () => {
    const verdict = await source()({ ...chassis, kind: 'switch' })
    expect(verdict.devices.map(({ name }) => name)).toEqual(['SWITCH-0'])
    expect(lines()).toEqual(['POST /v4/attest/switch', JWKS])
    expect(sentBody()).toMatchObject({ arch: 'LS10' })
  })

  test('is asked for anew each time, without a cookie', async () => {
    const ask = source({ service: { url: `${nras.url}//`, timeoutMs: 5000 } })
    await ask(gpu())
    await ask(gpu())
    expect(lines()).toEqual([ATTEST, JWKS, ATTEST])
    expect(nras.requests.some(({ headers }) => 'cookie' in headers)).toBe(false)
  })

  test('can be judged again from what is kept, when the keys are long gone', async () => {
    const { archive, devices } = await source()(gpu())
    const again = await verifyNrasResponse({
      ...archive,
      evidence: single.genuine,
      kind: 'gpu',
      now: archive.judgedAt,
      policy: { ...policy(), max_token_age_seconds: 'recorded' },
    })
    expect(again.devices).toEqual(devices)
  })
})

describe('what NRAS says against a device', () => {
  test('of the whole', async () => {
    nras.control.changes = { overall: { 'x-nvidia-overall-att-result': false } }
    await expect(source()(gpu())).rejects.toMatchObject({
      name: 'EvidenceError',
      code: 'nras_attestation_failed',
      findings: [],
    })
  })

  test('of its evidence', async () => {
    const strangers = await startNras(clock, newNvidiaVendor().pki.roots)
    const ask = source({
      service: { url: strangers.url, timeoutMs: 5000 },
      policy: parseNrasPolicy({}),
    })
    await expect(ask(gpu())).rejects.toMatchObject({
      code: 'nras_attestation_failed',
      findings: [{ device: 'GPU-0', errorCode: 4014, checks: [] }],
    })
    await strangers.close()
  })

  test('of one check', async () => {
    nras.control.changes = { device: () => ({ 'x-nvidia-gpu-arch-check': false }) }
    await expect(source()(gpu())).rejects.toMatchObject({ code: 'nras_check_failed' })
  })
})

describe('no verdict', () => {
  const unavailable = (code: string) => expect.objectContaining({ code, kind: 'unavailable' })

  test.each([
    [{ overall: { eat_nonce: '00'.repeat(32) } }, 'nras_nonce_mismatch'],
    [{ overall: { iss: 'https://other.example' } }, 'nras_issuer_mismatch'],
    [{ device: () => ({ ueid: '1' }) }, 'nras_device_mismatch'],
    [{ header: { typ: 'JWT' } }, 'nras_header_unexpected'],
    [{ submods: () => ({}) }, 'nras_submods_mismatch'],
  ])('where the answer does not hold: %j', async (changes, reason) => {
    nras.control.changes = changes
    const refused = source()(gpu())
    await expect(refused).rejects.toBeInstanceOf(NvidiaAnswerRefused)
    await expect(refused).rejects.toMatchObject({ code: 'nras_answer_refused', reason })
  })

  test('where a key is not certified', async () => {
    const strict = source({ policy: parseNrasPolicy({ jwks_pin: 'enforce' }) })
    await expect(strict(gpu())).rejects.toMatchObject({ reason: 'nras_key_unpinned' })
  })

  test('T16: where the answer is HTML', async () => {
    nras.control.fault = 'html'
    await expect(source()(gpu())).rejects.toMatchObject({ reason: 'nras_response_malformed' })
  })

  const faults: readonly (readonly [ServiceFault, string])[] = [
    ['oversized', 'nvidia_too_large'],
    ['redirect', 'nvidia_status'],
    ['error', 'nvidia_status'],
    ['limited', 'nvidia_rate_limited'],
    ['slow', 'nvidia_timeout'],
  ]
  test.each(faults)('T16: where the service is %s', async (fault, code) => {
    nras.control.fault = fault
    const service = { url: nras.url, timeoutMs: fault === 'slow' ? 100 : 5000 }
    await expect(source({ service })(gpu())).rejects.toEqual(unavailable(code))
  })

  test.each(faults)('where the key set is %s, which is then not held', async (fault, code) => {
    nras.control.jwksFault = fault
    const service = { url: nras.url, timeoutMs: fault === 'slow' ? 300 : 5000 }
    const ask = source({ service })
    await expect(ask(gpu())).rejects.toEqual(unavailable(code))
    nras.control.jwksFault = null
    await ask(gpu())
  })

  test('where the key set cannot be read, which is then not held', async () => {
    nras.control.jwksFault = 'html'
    const ask = source()
    await expect(ask(gpu())).rejects.toMatchObject({ reason: 'nras_jwks_malformed' })
    nras.control.jwksFault = null
    await ask(gpu())
  })

  test('where there is no service', async () => {
    const ask = source({ service: { url: 'http://127.0.0.1:1', timeoutMs: 5000 } })
    await expect(ask(gpu())).rejects.toEqual(unavailable('nvidia_unreachable'))
  })

  test('on evidence that is not what was verified', async () => {
    const again = await shown([newGpu(vendor)])
    const more = { ...chassis, evidence: single.evidence, kind: 'gpu' as const }
    const other = { ...single, evidence: again.evidence, kind: 'gpu' as const }
    const { items } = chassis.evidence
    const part = { ...chassis.evidence, items: items.slice(0, 2) }
    await expect(source()(more)).rejects.toThrow(TypeError)
    await expect(source()({ ...chassis, evidence: part, kind: 'gpu' })).rejects.toThrow(TypeError)
    await expect(source()(other)).rejects.toThrow(TypeError)
    expect(nras.requests).toEqual([])
  })

  test('on a kind of device that is not there', async () => {
    await expect(source()({ ...single, kind: 'switch' })).rejects.toThrow(TypeError)
    expect(nras.requests).toEqual([])
  })

  test('on two architectures in one request', async () => {
    const mixed = await shown([newGpu(vendor), newGpu(vendor, 'BLACKWELL')])
    await expect(source()({ ...mixed, kind: 'gpu' })).rejects.toMatchObject({
      code: 'gpu_platform_mixed',
    })
    expect(nras.requests).toEqual([])
  })
})

describe('the key set', () => {
  const fetches = (): number => lines().filter((line) => line === JWKS).length

  test('is held for fifteen minutes', async () => {
    const ask = source()
    await ask(gpu())
    clock.advance(15 * MINUTE - 1)
    await ask(gpu())
    expect(fetches()).toBe(1)
    clock.advance(1)
    await ask(gpu())
    expect(fetches()).toBe(2)
  })

  test('is fetched once more for a key that it does not have', async () => {
    const ask = source()
    await ask(gpu())
    nras.rotate()
    clock.advance(MINUTE)
    await ask(gpu())
    expect(lines()).toEqual([ATTEST, JWKS, ATTEST, JWKS])
  })

  test('but not within thirty seconds, whatever keys are named', async () => {
    const ask = source()
    await ask(gpu())
    nras.control.hidden = nras.authority.newKey(clock.now())
    const unknown = { code: 'nras_answer_refused', reason: 'nras_key_unknown' }
    clock.advance(29)
    await expect(ask(gpu())).rejects.toMatchObject(unknown)
    expect(fetches()).toBe(1)
    clock.advance(1)
    await expect(ask(gpu())).rejects.toMatchObject(unknown)
    expect(fetches()).toBe(2)
    await expect(ask(gpu())).rejects.toMatchObject(unknown)
    expect(fetches()).toBe(2)
  })

  test('nor again at once after it could not be fetched', async () => {
    const ask = source()
    await ask(gpu())
    nras.rotate()
    nras.control.jwksFault = 'error'
    clock.advance(MINUTE)
    await expect(ask(gpu())).rejects.toMatchObject({ code: 'nvidia_status' })
    await expect(ask(gpu())).rejects.toMatchObject({ reason: 'nras_key_unknown' })
    expect(fetches()).toBe(2)
  })

  test('T3: is replaced as a whole, so that a withdrawn key is no longer believed', async () => {
    const ask = source()
    const withdrawn = nras.rotate()
    await ask(gpu())
    nras.rotate()
    nras.withdraw()
    clock.advance(MINUTE)
    await ask(gpu())
    nras.control.hidden = withdrawn
    await expect(ask(gpu())).rejects.toMatchObject({ reason: 'nras_key_unknown' })
  })

  test('is fetched once for callers at the same time', async () => {
    const ask = source()
    await Promise.all([ask(gpu()), ask(gpu()), ask(gpu())])
    expect(fetches()).toBe(1)
    nras.rotate()
    clock.advance(MINUTE)
    await Promise.all([ask(gpu()), ask(gpu()), ask(gpu())])
    expect(fetches()).toBe(2)
  })

  test('that is being fetched serves all that miss a key at that moment', async () => {
    const service = { url: `${nras.url}/.well-known/jwks.json`, timeoutMs: 5000 }
    const keys = new NrasKeySet(service, clock)
    const first = await keys.current()
    clock.advance(MINUTE)
    const [one, other] = await Promise.all([keys.newerThan(first), keys.newerThan(first)])
    expect(one).not.toBe(first)
    expect(other).toBe(one)
    expect(fetches()).toBe(2)
  })

  test.each(['http://nras.example', 'http://127.0.0.1.example', 'http://localhost.example'])(
    'comes over https, unless its authority is pinned: %s',
    (url) => {
      const service = { url, timeoutMs: 1 }
      expect(() => source({ service, policy: parseNrasPolicy({}) })).toThrow(TypeError)
      expect(() => source({ service, policy: parseNrasPolicy({ jwks_pin: 'off' }) })).toThrow(
        TypeError,
      )
      source({ service })
      source({ service: { ...service, url: NVIDIA_NRAS_URL }, policy: parseNrasPolicy({}) })
    },
  )

  test('that another caller has fetched since serves without a further fetch', async () => {
    const service = { url: `${nras.url}/.well-known/jwks.json`, timeoutMs: 5000 }
    const keys = new NrasKeySet(service, clock)
    const first = await keys.current()
    clock.advance(MINUTE)
    const second = await keys.newerThan(first)
    expect(second).not.toBe(first)
    clock.advance(MINUTE)
    expect(await keys.newerThan(first)).toBe(second)
    expect(fetches()).toBe(2)
  })

  test('forged tokens do not pass for a missing key', async () => {
    const key = nras.rotate()
    const stranger = nras.authority.newKey(clock.now())
    nras.control.changes = {
      tokens: (tokens) => ({
        ...tokens,
        'GPU-0': signNrasToken({ kid: key.kid, key: stranger.key }, {}),
      }),
    }
    await expect(source()(gpu())).rejects.toMatchObject({ reason: 'nras_signature_invalid' })
    expect(fetches()).toBe(1)
  })
})
