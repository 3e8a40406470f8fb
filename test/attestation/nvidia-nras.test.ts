import {
  DEFAULT_NRAS_POLICY,
  isVerificationError,
  NrasFailure,
  parseGpuEvidence,
  parseNrasJwks,
  parseNrasPolicy,
  toHex,
  verifyGpuEvidence,
  verifyNrasResponse,
  type GenuineGpuEvidence,
  type NrasInput,
} from '@vouchgate/attestation'
import { assert, asyncProperty, nat } from 'fast-check'
import { createHash, createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { GenuineNrasVerdict } from '../../attestation/nvidia/nras/verdict.ts'
import { TEST_TIME } from '../support/clock.ts'
import { evidenceList, newChassis, newGpu, newNvidiaVendor } from '../support/nvidia-gpu.ts'
import {
  newNrasAuthority,
  nrasJwks,
  nrasResponse,
  SHA384_WITH_RSA,
  signNrasToken,
  type NrasChanges,
  type NrasQuestion,
} from '../support/nvidia-nras.ts'
import { newP384Key } from '../support/nvidia-pki.ts'
import { newSigningKey, signRaw } from '../support/pki.ts'

const vendor = newNvidiaVendor()
const nonce = new Uint8Array(32).fill(0xa7)
const hex = toHex(nonce)
const genuine = async (devices: Parameters<typeof evidenceList>[0], asked = nonce) =>
  verifyGpuEvidence({
    evidence: parseGpuEvidence(evidenceList(devices, asked)),
    nonce: asked,
    now: TEST_TIME,
    roots: vendor.pki.roots,
  })

const chassis = newChassis(vendor, 2, 2)
const evidence = await genuine(chassis)
const blackwell = await genuine([newGpu(vendor, 'BLACKWELL')])
const gpus = evidence.devices.filter(({ kind }) => kind === 'gpu')
const switches = evidence.devices.filter(({ kind }) => kind === 'switch')

const authority = newNrasAuthority()
const key = authority.newKey(TEST_TIME - 3600)
const otherKey = authority.newKey(TEST_TIME - 3600)
const jwks = nrasJwks(otherKey.jwk, key.jwk)
const pinned = { jwks_authorities: [authority.spkiSha256] }

const question: NrasQuestion = {
  key,
  at: TEST_TIME,
  kind: 'gpu',
  claims: '3.0',
  nonce: hex,
  devices: gpus,
}
const old: NrasQuestion = { ...question, claims: '2.0' }
const switchQuestion: NrasQuestion = { ...question, kind: 'switch', devices: switches }

type Changes = Omit<Partial<NrasInput>, 'policy'> & { readonly policy?: object }

const judge = async (response: Uint8Array, changes: Changes = {}) =>
  verifyNrasResponse({
    response,
    jwks,
    evidence,
    kind: 'gpu',
    now: TEST_TIME,
    ...changes,
    policy: parseNrasPolicy({ ...pinned, ...changes.policy }),
  })

const outcome = async (response: Uint8Array, changes: Changes = {}): Promise<string> => {
  try {
    await judge(response, changes)
    return 'genuine'
  } catch (error) {
    if (!isVerificationError(error)) throw error
    expect(error.step).toBe('nras')
    return error.code
  }
}

const failure = async (response: Uint8Array, changes: Changes = {}): Promise<unknown> => {
  const error: unknown = await judge(response, changes).catch((thrown: unknown) => thrown)
  if (!(error instanceof NrasFailure)) throw error
  return { code: error.code, findings: error.findings }
}

/** What is said of `GPU-1` alone. */
const second = (claims: object): NrasChanges => ({
  device: (name) => (name === 'GPU-1' ? claims : {}),
})
const body = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const good = nrasResponse(question)
const [[, goodOverall], goodDevices]: [[string, string], Record<string, string>] = JSON.parse(
  Buffer.from(good).toString(),
)

describe('a good response', () => {
  test('claims 3.0 about two GPUs', async () => {
    const verdict = await judge(good)
    expect(verdict).toMatchObject({
      environment: 'production',
      kind: 'gpu',
      claimsVersion: '3.0',
      pinned: 'pinned',
      nonce: hex,
      issuedAt: TEST_TIME,
      expiresAt: TEST_TIME + 3600,
    })
    expect(verdict.devices).toEqual(
      gpus.map(({ ueid }, index) => ({
        name: `GPU-${index}`,
        ueid,
        rimSigners: 'valid',
        warning: null,
      })),
    )
  })

  test('claims 2.0, with the model as it is and as it was written', async () => {
    expect(await outcome(nrasResponse(old))).toBe('genuine')
    const written = { hwmodel: 'GH100 A01 GSP BROM' }
    expect(await outcome(nrasResponse(old, { device: () => written }))).toBe('genuine')
  })

  test.each(['2.0', '3.0'] as const)('claims %s about switches', async (claims) => {
    const verdict = await judge(nrasResponse({ ...switchQuestion, claims }), { kind: 'switch' })
    expect(verdict.devices.map(({ name }) => name)).toEqual(['SWITCH-0', 'SWITCH-1'])
  })

  test('about Blackwell', async () => {
    const response = nrasResponse({ ...question, devices: blackwell.devices })
    expect(await outcome(response, { evidence: blackwell })).toBe('genuine')
  })

  test('covers the very devices that were verified, and no others', async () => {
    const verdict = await judge(good)
    expect(evidence.devices.map((device) => verdict.covers(device))).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(verdict.evidence).toBe(evidence)
    const again = await genuine(chassis)
    expect(again.devices.some((device) => verdict.covers(device))).toBe(false)
  })

  test('is a verdict of its own class', async () => {
    const verdict = await judge(good)
    expect(GenuineNrasVerdict.is(verdict)).toBe(true)
    expect(GenuineNrasVerdict.is({ ...verdict })).toBe(false)
    expect(GenuineNrasVerdict.is(null)).toBe(false)
  })

  test('is tied to evidence that was verified here', async () => {
    const lookalike: GenuineGpuEvidence = Object.assign(JSON.parse('{}'), {
      nonce: hex,
      devices: evidence.devices,
    })
    await expect(judge(good, { evidence: lookalike })).rejects.toThrow(TypeError)
  })

  test('T19: GPU-10 is the eleventh device, in whatever order the names stand', async () => {
    const many = await genuine(Array.from({ length: 12 }, () => newGpu(vendor)))
    const shuffled: NrasChanges = {
      tokens: (tokens) => Object.fromEntries(Object.entries(tokens).toReversed()),
    }
    const response = nrasResponse({ ...question, devices: many.devices }, shuffled)
    const verdict = await judge(response, { evidence: many })
    expect(verdict.devices.map(({ ueid }) => ueid)).toEqual(many.devices.map(({ ueid }) => ueid))
    const at = (index: number) => many.devices[index] ?? null
    const swapped = many.devices.map((device, index) =>
      index === 2 ? at(10) : index === 10 ? at(2) : device,
    )
    expect(await outcome(nrasResponse({ ...question, devices: swapped }), { evidence: many })).toBe(
      'nras_device_mismatch',
    )
  })
})

describe('what is kept', () => {
  test('gives the same verdict at its time, from the archived keys alone', async () => {
    const response = nrasResponse(question, { deviceKey: otherKey })
    const verdict = await judge(response)
    const { archive } = verdict
    expect(verdict.keys).toEqual([key.jwk, otherKey.jwk])
    expect([...parseNrasJwks(archive.jwks).values()]).toEqual(verdict.keys)
    const again = await judge(archive.response, {
      jwks: archive.jwks,
      now: archive.judgedAt,
      policy: { max_token_age_seconds: 'recorded', jwks_pin: 'enforce' },
    })
    expect(again.devices).toEqual(verdict.devices)
    expect(again.archive).toEqual(archive)
  })

  test('a recorded token is good until it expires, and no longer', async () => {
    const policy = { max_token_age_seconds: 'recorded' }
    expect(await outcome(good, { policy, now: TEST_TIME + 3600 })).toBe('genuine')
    expect(await outcome(good, { policy, now: TEST_TIME + 3660 })).toBe('nras_token_not_valid_now')
  })
})

describe('T1: algorithms', () => {
  const said = { iss: 'x' }
  const refused = {
    none: signNrasToken(key, said, { alg: 'none' }),
    'HS256 with the public key': signNrasToken(key, said, { alg: 'HS256' }),
    ES256: signNrasToken(key, said, { alg: 'ES256' }),
    ES512: signNrasToken(key, said, { alg: 'ES512' }),
    'a number': signNrasToken(key, said, { alg: 384 }),
    'no algorithm at all': signNrasToken(key, said, { alg: undefined }),
  }
  test.each(Object.entries(refused))('%s', async (_name, token) => {
    expect(await outcome(body([['JWT', token], goodDevices]))).toBe('nras_algorithm_unsupported')
  })

  test('a token without signature, or with one of another length', async () => {
    const unsigned = goodOverall.split('.').slice(0, 2).join('.')
    const code = 'nras_response_malformed'
    expect(await outcome(body([['JWT', `${unsigned}.`], goodDevices]))).toBe(code)
    const hmac = createHmac('sha256', key.key.spki).update(unsigned).digest('base64url')
    expect(await outcome(body([['JWT', `${unsigned}.${hmac}`], goodDevices]))).toBe(code)
    const p256 = Buffer.from(signRaw(newSigningKey(), Buffer.from(unsigned))).toString('base64url')
    expect(await outcome(body([['JWT', `${unsigned}.${p256}`], goodDevices]))).toBe(code)
  })

  test.each([
    ['typ', { typ: 'JWT' }],
    ['a key of its own', { jwk: key.jwk }],
    ['a certificate of its own', { x5c: key.jwk.x5c }],
    ['another place for keys', { jku: 'https://keys.example' }],
    ['something that must be understood', { crit: ['b64'], b64: false }],
    ['a key id that is none', { kid: 1 }],
    ['no key id', { kid: undefined }],
  ])('a header with %s', async (_name, header) => {
    expect(await outcome(nrasResponse(question, { header }))).toBe('nras_header_unexpected')
  })

  test('the header of a device token is judged too', async () => {
    const claims = JSON.parse(
      Buffer.from(goodDevices['GPU-0']?.split('.')[1] ?? '', 'base64url').toString(),
    )
    const changes: NrasChanges = {
      tokens: (tokens) => ({ ...tokens, 'GPU-0': signNrasToken(key, claims, { typ: 'JWT' }) }),
    }
    expect(await outcome(nrasResponse(question, changes))).toBe('nras_header_unexpected')
  })
})

describe('T2, T3: keys', () => {
  const staging = authority.newKey(TEST_TIME, { environment: 'stg' })
  const fromStaging = nrasResponse({ ...question, key: staging })

  test('T2: a key that is not in the set', async () => {
    const stranger = authority.newKey(TEST_TIME)
    expect(await outcome(nrasResponse({ ...question, key: stranger }))).toBe('nras_key_unknown')
  })

  test('T2: a key of staging, be it in the set', async () => {
    const keys = { jwks: nrasJwks(staging.jwk) }
    expect(await outcome(fromStaging, keys)).toBe('nras_kid_not_accepted')
    const policy = { environment: 'staging' }
    expect((await judge(fromStaging, { ...keys, policy })).environment).toBe('staging')
    expect(await outcome(good, { policy })).toBe('nras_kid_not_accepted')
  })

  test.each([
    '',
    'key',
    'xnv-eat-kid-prod-1',
    'nv-eat-kid-prod-',
    'nv-eat-kid-prod-1\n',
    'toString',
  ])('T2: a key id of another form: %j', async (kid) => {
    const named = { ...key, kid }
    const keys = { jwks: nrasJwks({ ...key.jwk, kid: kid === '' ? 'x' : kid }) }
    expect(await outcome(nrasResponse({ ...question, key: named }), keys)).toBe(
      'nras_kid_not_accepted',
    )
  })

  test('T3: a key that was withdrawn', async () => {
    expect(await outcome(good, { jwks: nrasJwks(otherKey.jwk) })).toBe('nras_key_unknown')
    const response = nrasResponse(question, { deviceKey: otherKey })
    expect(await outcome(response, { jwks: nrasJwks(key.jwk) })).toBe('nras_key_unknown')
  })

  const other = newP384Key()
  const { x5c: _, ...bare } = key.jwk
  test.each<[string, Uint8Array | string]>([
    ['no JSON', '<html>'],
    ['a list', '[]'],
    ['no keys', '{"keys":[]}'],
    [
      '257 keys',
      nrasJwks(...Array.from({ length: 257 }, (_unused, at) => ({ ...bare, kid: `${at}` }))),
    ],
    ['one id twice', nrasJwks(key.jwk, { ...otherKey.jwk, kid: key.kid })],
    ['one member twice', `{"keys":[],"keys":[${JSON.stringify(key.jwk)}]}`],
    ['an RSA key', nrasJwks({ kty: 'RSA', kid: key.kid, n: 'AQAB', e: 'AQAB' })],
    ['a secret', nrasJwks({ kty: 'oct', kid: key.kid, k: 'AQAB' })],
    ['a P-256 key', nrasJwks({ ...key.jwk, crv: 'P-256' })],
    ['a short coordinate', nrasJwks({ ...key.jwk, x: key.jwk.x.slice(4) })],
    ['a coordinate in another alphabet', nrasJwks({ ...key.jwk, x: `+${key.jwk.x.slice(1)}` })],
    ['a key without id', nrasJwks({ ...key.jwk, kid: undefined })],
    ['a point that is not on the curve', nrasJwks({ ...key.jwk, x: otherKey.jwk.x })],
    ['more than a mebibyte', Buffer.concat([jwks, Buffer.alloc(1 << 20, ' ')])],
  ])('a key set with %s', async (_name, keys) => {
    expect(await outcome(good, { jwks: Buffer.from(keys) })).toBe('nras_jwks_malformed')
  })

  test('a signature by another key, in the overall token and in a device token', async () => {
    const forged = { ...key, key: other }
    expect(await outcome(nrasResponse({ ...question, key: forged }))).toBe('nras_signature_invalid')
    // T7: with a digest list that names the forgery, so that only its signature is wrong.
    expect(await outcome(nrasResponse(question, { deviceKey: forged }))).toBe(
      'nras_signature_invalid',
    )
  })

  test('a key set need not bring certificates, and may hold more than it must', async () => {
    expect(await outcome(good, { jwks: nrasJwks({ ...bare, use: 'sig', alg: 'ES384' }) })).toBe(
      'genuine',
    )
  })
})

describe('the certificate of a key', () => {
  const pinState = async (
    changed: object,
    policy: object = {},
    at = TEST_TIME,
  ): Promise<string> => {
    try {
      const response = nrasResponse({ ...question, at })
      const keys = { jwks: nrasJwks({ ...key.jwk, ...changed }) }
      return (await judge(response, { ...keys, now: at, policy })).pinned
    } catch (error) {
      if (!isVerificationError(error)) throw error
      return error.code
    }
  }
  const certified = (changes: Parameters<typeof authority.newKey>[1]) =>
    authority.newKey(TEST_TIME, changes).jwk.x5c
  const [leaf = '', own = ''] = key.jwk.x5c
  const stranger = newNrasAuthority().newKey(TEST_TIME, { certified: key.key }).jwk.x5c
  const forKey = { certified: key.key }

  test("is NVIDIA's by default, and is reported", async () => {
    const { jwks_authorities } = DEFAULT_NRAS_POLICY
    expect((await judge(good, { policy: { jwks_authorities } })).pinned).toBe('unpinned')
  })

  test('is not looked at where the policy says so', async () => {
    expect(await pinState({}, { jwks_pin: 'off' })).toBe('unpinned')
  })

  test.each<[string, object]>([
    ['none', { x5c: undefined }],
    ['without its authority', { x5c: [leaf] }],
    ['of another key', { x5c: otherKey.jwk.x5c }],
    ['by another authority', { x5c: stranger }],
    ['by another authority, beside the pinned one', { x5c: [stranger[0], own] }],
    ['after the authority', { x5c: [own, leaf] }],
    ['with another algorithm', { x5c: certified({ ...forKey, algorithm: SHA384_WITH_RSA }) }],
    ['that was not yet valid', { x5c: certified({ ...forKey, notBefore: TEST_TIME + 1 }) }],
    ['that was no longer valid', { x5c: certified({ ...forKey, notAfter: TEST_TIME - 1 }) }],
    ['that is none', { x5c: ['AAAA', own] }],
    ['that is no base64', { x5c: ['?', own] }],
  ])('%s', async (_name, changed) => {
    expect(await pinState(changed)).toBe('unpinned')
    expect(await pinState(changed, { jwks_pin: 'enforce' })).toBe('nras_key_unpinned')
  })

  test('cannot be spoilt by one that is written otherwise', async () => {
    const fresh = authority.newKey(TEST_TIME)
    const response = nrasResponse({ ...question, key: fresh })
    const state = async (x5c: readonly string[]): Promise<string> =>
      (await judge(response, { jwks: nrasJwks({ ...fresh.jwk, x5c }) })).pinned
    expect(await state([fresh.jwk.x5c.join()])).toBe('unpinned')
    expect(await state(fresh.jwk.x5c)).toBe('pinned')
    expect(await state([fresh.jwk.x5c.join()])).toBe('unpinned')
  })

  test('by a pinned authority that is no RSA key', async () => {
    const device = createHash('sha256').update(vendor.pki.deviceRoot.key.spki).digest('hex')
    const x5c = [leaf, Buffer.from(vendor.pki.deviceRoot.der).toString('base64')]
    const policy = { jwks_pin: 'enforce', jwks_authorities: [device] }
    expect(await pinState({ x5c }, policy)).toBe('nras_key_unpinned')
  })

  test('must have been valid when the token was issued, not when it is judged', async () => {
    const x5c = certified({ ...forKey, notAfter: TEST_TIME })
    const policy = { jwks_pin: 'enforce' }
    const keys = { jwks: nrasJwks({ ...key.jwk, x5c }), policy }
    expect(await outcome(good, { ...keys, now: TEST_TIME + 500 })).toBe('genuine')
    expect(await pinState({ x5c }, policy, TEST_TIME + 1)).toBe('nras_key_unpinned')
  })

  test('of one key of two is not enough', async () => {
    const { x5c: _, ...bare } = otherKey.jwk
    const response = nrasResponse(question, { deviceKey: otherKey })
    const mixed = { jwks: nrasJwks(key.jwk, bare) }
    expect((await judge(response, mixed)).pinned).toBe('unpinned')
    expect(await outcome(response, { ...mixed, policy: { jwks_pin: 'enforce' } })).toBe(
      'nras_key_unpinned',
    )
  })
})

describe('T4, T11, T17: what NRAS says against a device', () => {
  test.each([false, 'true', 1, null, undefined])('T4: an overall result of %j', async (result) => {
    const overall = { 'x-nvidia-overall-att-result': result }
    expect(await outcome(nrasResponse(question, { overall }))).toBe('nras_attestation_failed')
  })

  test('T4: with what is the matter, as far as it is said', async () => {
    const failed = nrasResponse({ ...question, devices: [gpus[0] ?? null, null] })
    expect(await failure(failed)).toEqual({
      code: 'nras_attestation_failed',
      findings: [{ device: 'GPU-1', errorCode: 4010, checks: [] }],
    })
    const check = 'x-nvidia-gpu-arch-check'
    const changes = {
      ...second({ [check]: false }),
      overall: { 'x-nvidia-overall-att-result': false },
    }
    expect(await failure(nrasResponse(question, changes))).toEqual({
      code: 'nras_attestation_failed',
      findings: [{ device: 'GPU-1', errorCode: null, checks: [check] }],
    })
  })

  const devices = [gpus[0] ?? null, null]
  const overall = { 'x-nvidia-overall-att-result': true }
  test.each([
    [4003, 4003],
    [4010, 4010],
    [5013, 5013],
    [4999, null],
    ['4010', null],
    [undefined, null],
  ])('T17: the error %j of a device, with the overall result true', async (errorCode, reported) => {
    const response = nrasResponse(
      { ...question, devices },
      { overall, errorCode: errorCode ?? 'x' },
    )
    expect(await failure(response)).toEqual({
      code: 'nras_device_failed',
      findings: [{ device: 'GPU-1', errorCode: reported, checks: [] }],
    })
  })

  test.each([null, 'INVALID', [], 7])('T17: error details that are %j', async (details) => {
    const changes = second({ 'x-nvidia-error-details': details })
    expect(await outcome(nrasResponse(question, changes))).toBe('nras_device_failed')
  })

  test.each(['fail', 'comparison-successful', true, undefined])(
    'T11: measres %j',
    async (result) => {
      expect(await failure(nrasResponse(question, second({ measres: result })))).toEqual({
        code: 'nras_measurements_failed',
        findings: [{ device: 'GPU-1', errorCode: null, checks: ['measres'] }],
      })
    },
  )

  test.each([
    ['secboot', false],
    ['secboot', null],
    ['dbgstat', 'enabled'],
    ['dbgstat', null],
  ])('%s is %j', async (name, value) => {
    expect(await failure(nrasResponse(old, second({ [name]: value })))).toMatchObject({
      code: 'nras_debug_enabled',
      findings: [{ device: 'GPU-1', checks: [name] }],
    })
  })

  test('a warning, which the policy may let pass', async () => {
    const response = nrasResponse(old, second({ 'x-nvidia-attestation-warning': 'CERT_HOLD' }))
    expect(await outcome(response)).toBe('nras_warning')
    const verdict = await judge(response, { policy: { warnings: 'allow' } })
    expect(verdict.devices.map(({ warning }) => warning)).toEqual([null, 'CERT_HOLD'])
    const absent = second({ 'x-nvidia-attestation-warning': undefined })
    expect(await outcome(nrasResponse(old, absent))).toBe('genuine')
    const empty = second({ 'x-nvidia-attestation-warning': '' })
    expect(await outcome(nrasResponse(old, empty))).toBe('nras_warning')
    const odd = nrasResponse(old, second({ 'x-nvidia-attestation-warning': { a: 1 } }))
    const odds = await judge(odd, { policy: { warnings: 'allow' } })
    expect(odds.devices.map(({ warning }) => warning)).toEqual([null, ''])
  })
})

/** As the tables of NVIDIA's documents have them; written out, so that a check that is dropped is missed here. */
const GPU_FLAGS = [
  'x-nvidia-gpu-arch-check',
  'x-nvidia-gpu-attestation-report-parsed',
  'x-nvidia-gpu-attestation-report-nonce-match',
  'x-nvidia-gpu-attestation-report-signature-verified',
  'x-nvidia-gpu-driver-rim-fetched',
  'x-nvidia-gpu-driver-rim-schema-validated',
  'x-nvidia-gpu-driver-rim-signature-verified',
  'x-nvidia-gpu-driver-rim-measurements-available',
  'x-nvidia-gpu-vbios-rim-fetched',
  'x-nvidia-gpu-vbios-rim-schema-validated',
  'x-nvidia-gpu-vbios-rim-signature-verified',
  'x-nvidia-gpu-vbios-rim-measurements-available',
  'x-nvidia-gpu-vbios-index-no-conflict',
]
const SWITCH_FLAGS = [
  'x-nvidia-switch-arch-check',
  'x-nvidia-switch-attestation-report-parsed',
  'x-nvidia-switch-attestation-report-nonce-match',
  'x-nvidia-switch-attestation-report-signature-verified',
  'x-nvidia-switch-bios-rim-fetched',
  'x-nvidia-switch-bios-rim-schema-validated',
  'x-nvidia-switch-bios-rim-signature-verified',
  'x-nvidia-switch-bios-rim-measurements-available',
]

describe('T12: every check of a device', () => {
  const tables: readonly (readonly [NrasQuestion, readonly string[]])[] = [
    [
      old,
      [
        ...GPU_FLAGS,
        'x-nvidia-gpu-attestation-report-cert-chain-validated',
        'x-nvidia-gpu-driver-rim-cert-validated',
        'x-nvidia-gpu-vbios-rim-cert-validated',
      ],
    ],
    [
      question,
      [
        ...GPU_FLAGS,
        'x-nvidia-gpu-attestation-report-cert-chain-fwid-match',
        'x-nvidia-gpu-driver-rim-version-match',
        'x-nvidia-gpu-vbios-rim-version-match',
      ],
    ],
    [
      { ...switchQuestion, claims: '2.0' },
      [
        ...SWITCH_FLAGS,
        'x-nvidia-switch-attestation-report-cert-chain-validated',
        'x-nvidia-switch-bios-rim-cert-validated',
      ],
    ],
    [
      switchQuestion,
      [
        ...SWITCH_FLAGS,
        'x-nvidia-switch-attestation-report-cert-chain-fwid-match',
        'x-nvidia-switch-bios-rim-version-match',
      ],
    ],
  ]
  const rows = tables.flatMap(([asked, flags]) =>
    flags.map((flag) => [asked.claims, flag, asked] as const),
  )

  test.each(rows)('claims %s: %s', async (_claims, flag, asked) => {
    for (const value of [false, undefined, 'true']) {
      const response = nrasResponse(asked, {
        device: (name) => (name.endsWith('-1') ? { [flag]: value } : {}),
      })
      expect(await failure(response, { kind: asked.kind })).toEqual({
        code: 'nras_check_failed',
        findings: [
          { device: asked.kind === 'gpu' ? 'GPU-1' : 'SWITCH-1', errorCode: null, checks: [flag] },
        ],
      })
    }
  })

  test('all that failed are named', async () => {
    const checks = GPU_FLAGS.slice(0, 2)
    const changes = second(Object.fromEntries(checks.map((name) => [name, false])))
    expect(await failure(nrasResponse(question, changes))).toMatchObject({
      findings: [{ checks: expect.arrayContaining(checks) }],
    })
  })

  test('claims of the other version do not do', async () => {
    const labelled = { overall: { 'x-nvidia-ver': '3.0' } }
    expect(await outcome(nrasResponse(old, labelled))).toBe('nras_check_failed')
  })
})

describe('T14: certificate chains in claims 3.0', () => {
  const chain = (status: unknown, ocsp: unknown) => ({
    'x-nvidia-cert-status': status,
    'x-nvidia-cert-ocsp-status': ocsp,
  })
  const device = 'x-nvidia-gpu-attestation-report-cert-chain'
  const rims = ['x-nvidia-gpu-driver-rim-cert-chain', 'x-nvidia-gpu-vbios-rim-cert-chain']
  const onSwitch = [
    'x-nvidia-switch-attestation-report-cert-chain',
    'x-nvidia-switch-bios-rim-cert-chain',
  ]
  const bad: readonly unknown[] = [
    chain('valid', 'unknown'),
    chain('valid', 'revoked'),
    chain('valid', undefined),
    chain('invalid', 'good'),
    chain('revoked', 'good'),
    chain(undefined, 'good'),
    chain('expired', 'unknown'),
    true,
    'valid',
    null,
    undefined,
    [],
  ]

  test.each([device, ...rims])('%s', async (name) => {
    for (const value of bad) {
      for (const policy of [{}, { rim_signer_expiry: 'allow-if-ocsp-good' }]) {
        expect(
          await failure(nrasResponse(question, second({ [name]: value })), { policy }),
        ).toEqual({
          code: 'nras_certificate_not_good',
          findings: [{ device: 'GPU-1', errorCode: null, checks: [name] }],
        })
      }
    }
  })

  test.each(onSwitch)('%s', async (name) => {
    const response = nrasResponse(switchQuestion, { device: () => ({ [name]: bad[0] }) })
    expect(await outcome(response, { kind: 'switch' })).toBe('nras_certificate_not_good')
  })

  test('an expired signer of reference values, which the policy may let pass', async () => {
    const policy = { rim_signer_expiry: 'allow-if-ocsp-good' }
    for (const name of rims) {
      const response = nrasResponse(question, second({ [name]: chain('expired', 'good') }))
      expect(await outcome(response)).toBe('nras_rim_signer_expired')
      const verdict = await judge(response, { policy })
      expect(verdict.devices.map(({ rimSigners }) => rimSigners)).toEqual(['valid', 'expired'])
    }
    const expired = nrasResponse(question, second({ [device]: chain('expired', 'good') }))
    expect(await outcome(expired, { policy })).toBe('nras_certificate_not_good')
  })
})

describe('T5, T6, T7, T15: the device tokens', () => {
  test('T5: a device token of another response', async () => {
    const earlier: [unknown, Record<string, string>] = JSON.parse(
      Buffer.from(nrasResponse(question)).toString(),
    )
    const swapped = body([['JWT', goodOverall], earlier[1]])
    expect(await outcome(swapped)).toBe('nras_digest_mismatch')
    const exchanged = { 'GPU-0': goodDevices['GPU-1'], 'GPU-1': goodDevices['GPU-0'] }
    expect(await outcome(body([['JWT', goodOverall], exchanged]))).toBe('nras_digest_mismatch')
  })

  test.each<[string, NrasChanges]>([
    ['one is missing beside', { beside: ({ 'GPU-1': _, ...rest }) => rest }],
    ['one is missing in the list', { submods: ({ 'GPU-1': _, ...rest }) => rest }],
    ['one is missing', { tokens: ({ 'GPU-1': _, ...rest }) => rest }],
    ['one more', { tokens: (tokens) => ({ ...tokens, 'GPU-2': tokens['GPU-1'] ?? '' }) }],
    ['one more beside', { beside: (tokens) => ({ ...tokens, 'GPU-2': tokens['GPU-1'] ?? '' }) }],
    ['one more in the list', { submods: (submods) => ({ ...submods, 'GPU-2': submods['GPU-1'] }) }],
    [
      'renamed',
      {
        tokens: ({ 'GPU-0': first = '', 'GPU-1': last = '' }) => ({
          'GPU-0': first,
          'GPU-2': last,
        }),
      },
    ],
    [
      'renamed to switches',
      {
        tokens: ({ 'GPU-0': first = '', 'GPU-1': last = '' }) => ({
          'SWITCH-0': first,
          'SWITCH-1': last,
        }),
      },
    ],
    ['a list that is none', { overall: { submods: ['GPU-0', 'GPU-1'] } }],
    ['no list', { overall: { submods: undefined } }],
  ])('T6: %s', async (_name, changes) => {
    expect(await outcome(nrasResponse(question, changes))).toBe('nras_submods_mismatch')
  })

  test('T6: switches are not judged along with GPUs', async () => {
    expect(await outcome(good, { kind: 'switch' })).toBe('nras_submods_mismatch')
    const response = nrasResponse({ ...question, devices: evidence.devices })
    expect(await outcome(response)).toBe('nras_submods_mismatch')
  })

  test('T6: evidence without a switch has no verdict on switches', async () => {
    expect(await outcome(good, { evidence: blackwell, kind: 'switch' })).toBe(
      'nras_submods_mismatch',
    )
  })

  const [first = ''] = Object.values(goodDevices)
  const twice = `[["JWT","${goodOverall}"],{"GPU-0":"${first}","GPU-0":"${first}"}]`
  test('T6: one name twice', async () => {
    expect(await outcome(Buffer.from(twice))).toBe('nras_response_malformed')
  })

  const digest = 'a'.repeat(64)
  test.each<[string, unknown]>([
    ['SHA256', ['DIGEST', ['SHA256', digest]]],
    ['SHA-384', ['DIGEST', ['SHA-384', digest]]],
    ['lower case', ['DIGEST', ['sha-256', digest]]],
    ['another kind', ['HASH', ['SHA-256', digest]]],
    ['one digest more', ['DIGEST', ['SHA-256', digest, digest]]],
    ['one list more', ['DIGEST', ['SHA-256', digest], ['SHA-256', digest]]],
    ['flat', ['DIGEST', 'SHA-256', digest]],
    ['bare', digest],
    ['null', null],
    ['an object', { DIGEST: ['SHA-256', digest] }],
  ])('T15: a digest as %s', async (_name, submod) => {
    const changes: NrasChanges = { submods: (submods) => ({ ...submods, 'GPU-1': submod }) }
    expect(await outcome(nrasResponse(question, changes))).toBe('nras_digest_unsupported')
  })

  test('T15: the right digest in upper case', async () => {
    const upper = (value: unknown): unknown => JSON.parse(JSON.stringify(value).toUpperCase())
    const changes: NrasChanges = {
      submods: (submods) => ({ ...submods, 'GPU-1': upper(submods['GPU-1']) }),
    }
    expect(await outcome(nrasResponse(question, changes))).toBe('nras_digest_unsupported')
  })
})

describe('T8, T18: nonces', () => {
  const other = '00'.repeat(32)
  test.each([other, hex.toUpperCase(), `${hex}00`, undefined, null, [hex]])(
    'T8: %j in the overall token',
    async (found) => {
      const overall = { eat_nonce: found }
      expect(await outcome(nrasResponse(question, { overall }))).toBe('nras_nonce_mismatch')
    },
  )

  test.each([other, undefined])('T8: %j in one device token', async (found) => {
    expect(await outcome(nrasResponse(question, second({ eat_nonce: found })))).toBe(
      'nras_nonce_mismatch',
    )
  })

  test('T18: a token for the nonce of the client, where the GPUs answered a derived one', async () => {
    expect(await outcome(nrasResponse({ ...question, nonce: other }))).toBe('nras_nonce_mismatch')
  })

  test('a token for other evidence of the same devices', async () => {
    const later = await genuine(chassis, new Uint8Array(32).fill(8))
    expect(await outcome(good, { evidence: later })).toBe('nras_nonce_mismatch')
  })
})

describe('T9, T10: times and issuer', () => {
  const at = (now: number, policy = {}) => outcome(good, { now: TEST_TIME + now, policy })

  test('a token is accepted for ten minutes, and a minute of two clocks', async () => {
    expect(await at(660)).toBe('genuine')
    expect(await at(661)).toBe('nras_token_too_old')
    expect(await at(661, { max_token_age_seconds: 3600 })).toBe('genuine')
    expect(await at(3659, { max_token_age_seconds: 3600 })).toBe('genuine')
  })

  test('T9: expired', async () => {
    const policy = { max_token_age_seconds: 3600 }
    expect(await at(3660, policy)).toBe('nras_token_not_valid_now')
    const overall = { exp: TEST_TIME + 1 }
    expect(await outcome(nrasResponse(question, { overall }), { now: TEST_TIME + 61 })).toBe(
      'nras_token_not_valid_now',
    )
  })

  test('T9: issued in the future', async () => {
    expect(await at(-60)).toBe('genuine')
    expect(await at(-61)).toBe('nras_token_not_valid_now')
    const ahead = { iat: TEST_TIME + 61, exp: TEST_TIME + 100 }
    expect(await outcome(nrasResponse(question, { overall: ahead }))).toBe(
      'nras_token_not_valid_now',
    )
    const later = { nbf: TEST_TIME + 61 }
    expect(await outcome(nrasResponse(question, { overall: later }))).toBe(
      'nras_token_not_valid_now',
    )
  })

  test('T9: a life of more than an hour', async () => {
    const two = { exp: TEST_TIME + 7200 }
    expect(await outcome(nrasResponse(question, { overall: two }))).toBe(
      'nras_lifetime_implausible',
    )
    expect(await outcome(nrasResponse(question, second({ exp: TEST_TIME + 3601 })))).toBe(
      'nras_lifetime_implausible',
    )
  })

  test('device tokens have times of their own', async () => {
    expect(await outcome(nrasResponse(question, second({ exp: TEST_TIME - 60 })))).toBe(
      'nras_token_not_valid_now',
    )
    expect(await outcome(nrasResponse(question, second({ iat: TEST_TIME - 661 })))).toBe(
      'nras_token_too_old',
    )
    const verdict = await judge(nrasResponse(question, second({ exp: TEST_TIME + 10 })))
    expect(verdict.expiresAt).toBe(TEST_TIME + 10)
  })

  test.each(['iss', 'iat', 'nbf', 'exp', 'jti'])('a token without %s', async (name) => {
    const overall = { [name]: undefined }
    expect(await outcome(nrasResponse(question, { overall }))).toBe('nras_token_malformed')
  })

  test.each(['iat', 'nbf', 'exp', 'jti'])('a token whose %s has another type', async (name) => {
    const overall = { [name]: name === 'jti' ? 1 : `${TEST_TIME}` }
    expect(await outcome(nrasResponse(question, { overall }))).toBe('nras_token_malformed')
  })

  test.each([
    'https://nras.attestation-stg.nvidia.com',
    'https://nras.attestation.nvidia.com/',
    'http://nras.attestation.nvidia.com',
    ['https://nras.attestation.nvidia.com'],
  ])('T10: the issuer %j', async (iss) => {
    expect(await outcome(nrasResponse(question, { overall: { iss } }))).toBe('nras_issuer_mismatch')
    expect(await outcome(nrasResponse(question, second({ iss })))).toBe('nras_issuer_mismatch')
  })
})

describe('T13: the device', () => {
  test('another device', async () => {
    const swapped = { ...question, devices: gpus.toReversed() }
    expect(await outcome(nrasResponse(swapped))).toBe('nras_device_mismatch')
    for (const ueid of [undefined, Number(gpus[1]?.ueid), `0${gpus[1]?.ueid}`]) {
      expect(await outcome(nrasResponse(question, second({ ueid })))).toBe('nras_device_mismatch')
    }
  })

  test.each(['GB100 A01 GSP BROM', 'GB100', 'GH1000', 'GH100 A01', 'GH', '', undefined])(
    'another model: %j',
    async (hwmodel) => {
      expect(await outcome(nrasResponse(question, second({ hwmodel })))).toBe(
        'nras_device_mismatch',
      )
    },
  )

  test.each([
    ['x-nvidia-gpu-driver-version', '580.95.06'],
    ['x-nvidia-gpu-driver-version', undefined],
    ['x-nvidia-gpu-vbios-version', '96.00.9F.00.02'],
    ['x-nvidia-gpu-vbios-version', undefined],
  ])('other firmware: %s %j', async (name, version) => {
    expect(await outcome(nrasResponse(question, second({ [name]: version })))).toBe(
      'nras_firmware_mismatch',
    )
  })

  test('other firmware of a switch', async () => {
    const device = () => ({ 'x-nvidia-switch-bios-version': '96.10.55.00.02' })
    expect(await outcome(nrasResponse(switchQuestion, { device }), { kind: 'switch' })).toBe(
      'nras_firmware_mismatch',
    )
  })
})

describe('the overall token', () => {
  test.each(['NVIDIA-GPU-ATTESTATION', undefined])('is about %j', async (sub) => {
    expect(await outcome(nrasResponse(question, { overall: { sub } }))).toBe(
      'nras_subject_mismatch',
    )
  })

  test.each(['1.0', '4.0', 3, undefined, '__proto__'])('is of version %j', async (version) => {
    const overall = { 'x-nvidia-ver': version }
    expect(await outcome(nrasResponse(question, { overall }))).toBe(
      'nras_claims_version_unsupported',
    )
  })
})

describe('T16: bodies', () => {
  const raw = (payload: string): string => {
    const [header = ''] = goodOverall.split('.')
    return `${header}.${Buffer.from(payload).toString('base64url')}.${'A'.repeat(128)}`
  }
  test.each<[string, Uint8Array | string]>([
    ['nothing', ''],
    ['HTML', '<!doctype html><html></html>'],
    ['an array of one', JSON.stringify([['JWT', goodOverall]])],
    ['an array of three', JSON.stringify([['JWT', goodOverall], goodDevices, {}])],
    ['a bare token', JSON.stringify(goodOverall)],
    ['an object', JSON.stringify({ JWT: goodOverall })],
    ['another kind of token', JSON.stringify([['CWT', goodOverall], goodDevices])],
    ['a pair of three', JSON.stringify([['JWT', goodOverall, goodOverall], goodDevices])],
    ['no device', JSON.stringify([['JWT', goodOverall], {}])],
    ['devices as a list', JSON.stringify([['JWT', goodOverall], Object.values(goodDevices)])],
    [
      'a name with a leading zero',
      JSON.stringify([['JWT', goodOverall], { 'GPU-00': goodOverall }]),
    ],
    [
      'a name of a device of another kind',
      JSON.stringify([['JWT', goodOverall], { 'DPU-0': goodOverall }]),
    ],
    [
      '65 devices',
      JSON.stringify([
        ['JWT', goodOverall],
        Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`GPU-${at}`, goodOverall])),
      ]),
    ],
    ['a token of five parts', JSON.stringify([['JWT', `${goodOverall}.a.b`], goodDevices])],
    ['a huge token', JSON.stringify([['JWT', `${'A'.repeat(20_000)}${goodOverall}`], goodDevices])],
    [
      'a token in the other alphabet',
      JSON.stringify([['JWT', goodOverall.replace('e', '+')], goodDevices]),
    ],
    ['bytes after it', Buffer.concat([good, Buffer.from(']')])],
    ['more than a mebibyte', Buffer.concat([good, Buffer.alloc(1 << 20, ' ')])],
    ['what is no UTF-8', Uint8Array.of(0x5b, 0xff)],
  ])('%s', async (_name, response) => {
    expect(await outcome(Buffer.from(response))).toBe('nras_response_malformed')
  })

  test.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['one claim twice', '{"iss":"a","iss":"b"}'],
    ['depth', '{"a":'.repeat(40) + '1' + '}'.repeat(40)],
    ['no UTF-8', '\ufffd'],
  ])('claims that are %s', async (name, payload) => {
    const text = name === 'no UTF-8' ? Buffer.of(0x22, 0xff, 0x22).toString('latin1') : payload
    expect(await outcome(body([['JWT', raw(text)], goodDevices]))).toBe('nras_token_malformed')
  })

  test('a header that cannot be read', async () => {
    const [, payload = '', signature = ''] = goodOverall.split('.')
    for (const header of ['A', 'W10', 'bnVsbA', 'e30x', '____']) {
      const token = [header, payload, signature].join('.')
      expect(await outcome(body([['JWT', token], goodDevices]))).toBe('nras_token_malformed')
    }
  })

  test('no byte of a good response can be changed', async () => {
    const refused = asyncProperty(nat(good.length - 1), nat(254), async (at, by) => {
      const changed = good.with(at, ((good[at] ?? 0) + 1 + by) & 0xff)
      expect(await outcome(changed)).not.toBe('genuine')
    })
    await assert(refused, { numRuns: 400 })
  })
})

describe('a policy', () => {
  const read = (value: unknown): string => {
    try {
      parseNrasPolicy(value)
      return 'read'
    } catch (error) {
      if (!isVerificationError(error)) throw error
      return error.code
    }
  }

  test('is strict where nothing is written', () => {
    expect(DEFAULT_NRAS_POLICY).toEqual({
      environment: 'production',
      max_token_age_seconds: 600,
      jwks_pin: 'warn',
      jwks_authorities: ['fd32837f954e2c45db073105166dfe6985ae0480bb113fba63b091a75affe896'],
      rim_signer_expiry: 'reject',
      warnings: 'reject',
    })
  })

  test.each([
    { environment: 'test' },
    { max_token_age_seconds: 0 },
    { max_token_age_seconds: 3601 },
    { max_token_age_seconds: 'any' },
    { jwks_pin: true },
    { jwks_authorities: [] },
    { jwks_authorities: ['ab'] },
    { rim_signer_expiry: 'allow' },
    { warnings: null },
    { unknown: 1 },
    null,
  ])('%j is none', (value) => {
    expect(read(value)).toBe('policy_malformed')
  })

  test('writes digests in either case', () => {
    const upper = authority.spkiSha256.toUpperCase()
    const policy = parseNrasPolicy({ jwks_authorities: [upper] })
    expect(policy.jwks_authorities).toEqual([authority.spkiSha256])
  })
})
