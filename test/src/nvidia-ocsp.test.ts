import {
  checkRevocation,
  subjectsForRevocation,
  verifyOcspResponse,
  type Issued,
  type NvidiaChain,
} from '@vouchgate/attestation'
import { randomBytes } from 'node:crypto'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parseNvidiaCertificate } from '../../attestation/nvidia/certificate.ts'
import { verifyNvidiaChain } from '../../attestation/nvidia/chain.ts'
import { NvidiaAnswerRefused } from '../../src/nvidia/fetch.ts'
import { NVIDIA_OCSP_URL } from '../../src/config/urls.ts'
import { ocspService } from '../../src/nvidia/ocsp.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import { deviceChain384, pairs384 } from '../support/nvidia-ocsp.ts'
import { newNvidiaPki } from '../support/nvidia-pki.ts'
import {
  startOcspResponder,
  type FakeOcspResponder,
  type OcspMode,
  type ServiceFault,
} from '../support/nvidia-services.ts'

const HOUR = 3600
const pki = newNvidiaPki()
const issued = deviceChain384(pki.deviceRoot)
// The leaf is not answered for.
const answered = pairs384(issued).slice(1)

let chain: NvidiaChain
let pair: Issued
let leaf: Issued
beforeAll(async () => {
  const certificates = await Promise.all(issued.map(({ der }) => parseNvidiaCertificate(der)))
  chain = await verifyNvidiaChain(certificates, pki.roots.device, 'gpu_chain')
  const [first] = subjectsForRevocation(chain, 'device')
  const [bottom] = subjectsForRevocation(chain, 'rim')
  if (first === undefined || bottom === undefined) throw new TypeError('a chain has subjects')
  pair = first
  leaf = bottom
})

let responder: FakeOcspResponder
let clock: FakeClock
beforeEach(async () => {
  clock = fakeClock()
  responder = await startOcspResponder(answered, clock)
})
afterEach(() => responder.close())

const source = (timeoutMs = 5000, url = responder.url) =>
  ocspService({ service: { url, timeoutMs }, clock, random: randomBytes })
const unavailable = (name: string) => expect.objectContaining({ code: name, kind: 'unavailable' })

test('the service is that of NVIDIA', () => {
  expect(NVIDIA_OCSP_URL).toBe('https://ocsp.ndis.nvidia.com/')
})

describe('an OCSP response', () => {
  test('is fetched for every certificate of a chain, and can be judged again', async () => {
    const fetch = source()
    const pairs = subjectsForRevocation(chain, 'device')
    const responses = await Promise.all(pairs.map(fetch))
    const input = { chain, kind: 'device', responses, now: clock.now() } as const
    const { certificates } = await checkRevocation(input)
    expect(certificates.map(({ state }) => state)).toEqual(['good', 'good', 'good'])
  })

  test('is asked for with a nonce of its own', async () => {
    await source()(pair)
    await source()(pair)
    const nonces = responder.requests.map((request) => request.slice(-32))
    expect(responder.requests).toHaveLength(2)
    expect(nonces[0]).not.toEqual(nonces[1])
  })

  test('is asked for once at a time, and held no longer than twelve hours', async () => {
    const fetch = source()
    const [first, second] = await Promise.all([fetch(pair), fetch(pair)])
    expect(first).toBe(second)
    clock.advance(12 * HOUR - 1)
    expect(await fetch(pair)).toBe(first)
    expect(responder.requests).toHaveLength(1)
    clock.advance(1)
    await fetch(pair)
    expect(responder.requests).toHaveLength(2)
  })

  test('is held no longer than it says', async () => {
    responder.control.lifetimeSeconds = HOUR
    const fetch = source()
    await fetch(pair)
    clock.advance(HOUR - 1)
    await fetch(pair)
    expect(responder.requests).toHaveLength(1)
    clock.advance(1)
    await fetch(pair)
    expect(responder.requests).toHaveLength(2)
  })

  test('may say that a certificate is on hold', async () => {
    responder.control.mode = 'hold'
    const input = { ...pair, now: clock.now(), nonce: 'stapled' } as const
    expect((await verifyOcspResponse(await source()(pair), input)).state).toBe('hold')
  })

  test.each<[OcspMode, string]>([
    ['revoked', 'certificate_revoked'],
    ['unknown', 'ocsp_status_unknown'],
  ])('that says %s speaks of the certificate', async (mode, refusal) => {
    const fetch = source()
    responder.control.mode = mode
    const error = { name: 'EvidenceError', code: refusal, step: 'gpu_revocation' }
    await expect(fetch(pair)).rejects.toMatchObject(error)
    responder.control.mode = 'good'
    await fetch(pair)
    expect(responder.requests).toHaveLength(2)
  })

  test.each<[OcspMode, string]>([
    ['unauthorized', 'ocsp_unauthorized'],
    ['try-later', 'ocsp_try_later'],
    ['stale', 'ocsp_not_valid_now'],
    ['wrong-nonce', 'ocsp_nonce_mismatch'],
    ['no-nonce', 'ocsp_nonce_mismatch'],
    ['wrong-certificate', 'ocsp_certificate_mismatch'],
  ])('that is %s says nothing, and is not held', async (mode, reason) => {
    const fetch = source()
    responder.control.mode = mode
    await expect(fetch(pair)).rejects.toBeInstanceOf(NvidiaAnswerRefused)
    const error = { code: 'ocsp_answer_refused', kind: 'unavailable', reason }
    await expect(fetch(pair)).rejects.toMatchObject(error)
    responder.control.mode = 'good'
    await fetch(pair)
    expect(responder.requests).toHaveLength(3)
  })

  test('is not given for a leaf', async () => {
    await expect(source()(leaf)).rejects.toMatchObject({ reason: 'ocsp_unauthorized' })
  })

  test('that is HTML says nothing', async () => {
    responder.control.fault = 'html'
    await expect(source()(pair)).rejects.toMatchObject({ reason: 'ocsp_malformed' })
  })

  test.each<[ServiceFault, string]>([
    ['oversized', 'nvidia_too_large'],
    ['redirect', 'nvidia_status'],
    ['error', 'nvidia_status'],
    ['limited', 'nvidia_rate_limited'],
    ['slow', 'nvidia_timeout'],
  ])('O16: is missing from a service that is %s', async (fault, refusal) => {
    responder.control.fault = fault
    const fetch = source(fault === 'slow' ? 100 : 5000)
    await expect(fetch(pair)).rejects.toEqual(unavailable(refusal))
    responder.control.fault = null
    await fetch(pair)
  })

  test('O16: is missing from a service that is not there', async () => {
    const { url } = responder
    await responder.close()
    await expect(source(5000, url)(pair)).rejects.toEqual(unavailable('nvidia_unreachable'))
    responder = await startOcspResponder(answered, clock)
  })
})
