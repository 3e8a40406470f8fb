import {
  checkRevocation,
  subjectsForRevocation,
  type Bytes,
  type NvidiaChain,
  type RevocationInput,
} from '@vouchgate/attestation'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseNvidiaCertificate } from '../../attestation/nvidia/certificate.ts'
import { verifyNvidiaChain } from '../../attestation/nvidia/chain.ts'
import { TEST_TIME } from '../support/clock.ts'
import {
  CERTIFICATE_HOLD,
  deviceChain384,
  issueResponder,
  nonceExtension,
  OCSP_STATUS,
  ocspFailure,
  ocspResponse,
  ocspResponses,
  pairs384,
  rimChain384,
  type OcspFields,
} from '../support/nvidia-ocsp.ts'
import {
  issueAuthority,
  newNvidiaPki,
  SIGNING_EXTENSIONS,
  type Certificate384,
} from '../support/nvidia-pki.ts'

const NOW = TEST_TIME
const DAY = 86_400
const pki = newNvidiaPki()
const issued = { device: deviceChain384(pki.deviceRoot), rim: rimChain384(pki.rimRoot) }
type Kind = keyof typeof issued

const verified = async (chain: readonly Certificate384[], root: string): Promise<NvidiaChain> =>
  verifyNvidiaChain(
    await Promise.all(chain.map(({ der }) => parseNvidiaCertificate(der))),
    root,
    'gpu_chain',
  )

let chains: Record<Kind, NvidiaChain>
beforeAll(async () => {
  chains = {
    device: await verified(issued.device, pki.roots.device),
    rim: await verified(issued.rim, pki.roots.rim),
  }
})

/** One response for each pair of a chain, the leaf's first; `changes` are those of the certificate at `index`. */
const responsesOf = (kind: Kind, index = -1, changes: Partial<OcspFields> = {}): Bytes[] =>
  pairs384(issued[kind]).map((pair, at) =>
    ocspResponse(
      { ...pair, responder: issueResponder(pair.issuer), at: NOW },
      at === index ? changes : {},
    ),
  )

const check = (kind: Kind, responses: readonly Uint8Array[], more: Partial<RevocationInput> = {}) =>
  checkRevocation({ chain: chains[kind], kind, responses, now: NOW, ...more })

const code = (name: string) => expect.objectContaining({ code: name, step: 'gpu_revocation' })
const HOLD = { answers: [{ status: OCSP_STATUS.revoked(NOW - DAY, CERTIFICATE_HOLD) }] }
const REVOKED = { answers: [{ status: OCSP_STATUS.revoked(NOW - DAY, 1) }] }

describe('what is asked for', () => {
  test.each([
    ['device', ['GH100 A01 GSP BROM', 'NVIDIA GH100 Provisioner ICA 1', 'NVIDIA GH100 Identity']],
    [
      'rim',
      [
        'HCC RIM L4 Signer',
        'NVIDIA Reference Value L3 GH100 002',
        'NVIDIA Reference Value GH100 CA',
      ],
    ],
  ] as const)('of a %s chain', (kind, names) => {
    const pairs = subjectsForRevocation(chains[kind], kind)
    expect(pairs.map(({ subject }) => subject.commonName)).toEqual(names)
    for (const { subject, issuer } of pairs) expect(subject.issuer).toEqual(issuer.subject)
  })
})

describe('a chain', () => {
  test.each(['device', 'rim'] as const)('of kind %s is good', async (kind) => {
    const older = ocspResponses(issued[kind], NOW - 60)
    const responses = [...older.slice(-1), ...responsesOf(kind).slice(0, -1)]
    const result = await check(kind, responses)
    expect(result.nextUpdate).toBe(NOW - 60 + DAY)
    expect(result.certificates).toHaveLength(3)
    expect(result.certificates.at(-1)).toMatchObject({
      commonName: kind === 'device' ? 'NVIDIA GH100 Identity' : 'NVIDIA Reference Value GH100 CA',
      state: 'good',
      producedAt: NOW - 60,
      nextUpdate: NOW - 60 + DAY,
    })
  })

  test('takes its own responses out of those of others', async () => {
    const responses = [...responsesOf('rim'), ...responsesOf('device').toReversed()]
    expect((await check('device', responses)).certificates).toHaveLength(3)
    expect((await check('rim', responses)).certificates).toHaveLength(3)
  })

  test('needs no answer for the leaf of a device', async () => {
    const [, ...responses] = responsesOf('device')
    expect((await check('device', responses)).certificates).toHaveLength(3)
  })

  test.each([
    ['device', 1],
    ['device', 2],
    ['device', 3],
    ['rim', 0],
    ['rim', 1],
    ['rim', 2],
  ] as const)('of kind %s without an answer for certificate %i', async (kind, index) => {
    const responses = responsesOf(kind).filter((_, at) => at !== index)
    await expect(check(kind, responses)).rejects.toEqual(code('ocsp_missing'))
    const revoked = responsesOf(kind, index, REVOKED)
    await expect(check(kind, revoked)).rejects.toEqual(code('certificate_revoked'))
  })

  test('without any answer', async () => {
    await expect(check('device', [])).rejects.toEqual(code('ocsp_missing'))
  })

  test('of which nothing is asked', async () => {
    const leaf = issueAuthority('leaf', pki.deviceRoot, { extensions: SIGNING_EXTENSIONS })
    const chain = await verified([leaf, pki.deviceRoot], pki.roots.device)
    const empty = checkRevocation({ chain, kind: 'device', responses: [], now: NOW })
    await expect(empty).rejects.toEqual(code('ocsp_missing'))
  })

  test('may bring an answer twice, but not two', async () => {
    const responses = responsesOf('rim')
    expect((await check('rim', [...responses, ...responses])).certificates).toHaveLength(3)
    const two = check('rim', [...responses, ...responsesOf('rim', 0, REVOKED).slice(0, 1)])
    await expect(two).rejects.toEqual(code('ocsp_ambiguous'))
  })

  test('brings nothing that cannot be read', async () => {
    const responses = [...responsesOf('rim'), ocspFailure(6)]
    await expect(check('rim', responses)).rejects.toEqual(code('ocsp_unauthorized'))
  })

  test('is judged at the given time', async () => {
    const late = check('rim', responsesOf('rim'), { now: NOW + DAY + 1 })
    await expect(late).rejects.toEqual(code('ocsp_not_valid_now'))
  })

  test.each([0, 1, 2])('O12: signer %i of reference values may be on hold', async (index) => {
    const { certificates } = await check('rim', responsesOf('rim', index, HOLD))
    expect(certificates.map(({ state }) => state)).toEqual(
      [0, 1, 2].map((at) => (at === index ? 'hold' : 'good')),
    )
  })

  test.each([1, 2, 3])('O12: certificate %i of a device may not', async (index) => {
    const held = check('device', responsesOf('device', index, HOLD))
    await expect(held).rejects.toEqual(code('certificate_revoked'))
  })

  test('O9: answers the nonces that were sent, every one', async () => {
    const nonce = new Uint8Array(32)
    const pairs = subjectsForRevocation(chains.rim, 'rim')
    const nonces = new Map(pairs.map(({ subject }) => [subject.sha256, nonce]))
    const extensions = [nonceExtension(nonce)]
    const fresh = pairs384(issued.rim).map((pair) =>
      ocspResponse({ ...pair, responder: issueResponder(pair.issuer), at: NOW }, { extensions }),
    )
    expect((await check('rim', fresh, { nonces })).certificates).toHaveLength(3)
    const stapled = check('rim', responsesOf('rim'), { nonces })
    await expect(stapled).rejects.toEqual(code('ocsp_nonce_mismatch'))
    const fewer = new Map([...nonces].slice(1))
    await expect(check('rim', fresh, { nonces: fewer })).rejects.toEqual(
      code('ocsp_nonce_mismatch'),
    )
  })
})
