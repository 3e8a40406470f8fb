import { encodeUtf8, EvidenceError, type Bytes } from '@vouchgate/attestation'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NVIDIA_RIM_URL } from '../../src/config/urls.ts'
import { rimService } from '../../src/nvidia/rim.ts'
import { fakeClock, type FakeClock } from '../support/clock.ts'
import {
  startRimService,
  type FakeRimService,
  type ServiceFault,
} from '../support/nvidia-services.ts'

const ID = 'NV_GPU_DRIVER_GH100_550.90.07'
const DOCUMENT = encodeUtf8('<SoftwareIdentity>\u{1f512}</SoftwareIdentity>')
const DAY = 86_400

let service: FakeRimService
let clock: FakeClock
beforeEach(async () => {
  service = await startRimService(new Map([[ID, DOCUMENT]]))
  clock = fakeClock()
})
afterEach(() => service.close())

const verify = async (): Promise<void> => undefined
const source = (changes: { timeoutMs?: number; url?: string; verify?: typeof verify } = {}) => {
  const { timeoutMs = 5000, url = service.url } = changes
  return rimService({ service: { url, timeoutMs }, clock, verify: changes.verify ?? verify })
}
const code = (name: string) => expect.objectContaining({ code: name, kind: 'unavailable' })

test('the service is that of NVIDIA', () => {
  expect(NVIDIA_RIM_URL).toBe('https://rim.attestation.nvidia.com')
})

describe('a reference manifest', () => {
  test('is what the service has, byte for byte', async () => {
    expect(await source()(ID)).toEqual(DOCUMENT)
    expect(service.requests).toEqual([`GET /v1/rim/${ID}`])
  })

  test('can be of a mirror below a path, and large', async () => {
    const large = new Uint8Array(1 << 20).fill(0x20)
    service.documents.set(ID, large)
    expect(await source({ url: `${service.url}/` })(ID)).toEqual(large)
  })

  test('is verified before it is held', async () => {
    const seen: [Bytes, string][] = []
    const fetch = rimService({
      service: { url: service.url, timeoutMs: 5000 },
      clock,
      verify: async (document, id) => {
        seen.push([document, id])
        if (seen.length === 1) throw new EvidenceError('certificate_root_untrusted', 'rim')
      },
    })
    await expect(fetch(ID)).rejects.toMatchObject({ code: 'certificate_root_untrusted' })
    expect(await fetch(ID)).toEqual(DOCUMENT)
    expect(await fetch(ID)).toEqual(DOCUMENT)
    expect(seen).toEqual([
      [DOCUMENT, ID],
      [DOCUMENT, ID],
    ])
  })

  test('is fetched once for all who want it, and again after a day', async () => {
    const fetch = source()
    await Promise.all([fetch(ID), fetch(ID)])
    clock.advance(DAY - 1)
    await fetch(ID)
    expect(service.requests).toHaveLength(1)
    const revised = encodeUtf8('<SoftwareIdentity/>')
    service.documents.set(ID, revised)
    clock.advance(1)
    expect(await fetch(ID)).toEqual(revised)
    expect(service.requests).toHaveLength(2)
  })

  test('that is not there has a code of its own, and is asked for again', async () => {
    const fetch = source()
    await expect(fetch('NV_GPU_DRIVER_GH100_1.2')).rejects.toEqual(code('rim_not_found'))
    service.documents.set('NV_GPU_DRIVER_GH100_1.2', DOCUMENT)
    expect(await fetch('NV_GPU_DRIVER_GH100_1.2')).toEqual(DOCUMENT)
  })

  test.each(['', '.', '..', '.x', 'a/b', 'a b', 'a%2fb', 'a?b', 'a#b', 'é', 'x'.repeat(129)])(
    'has no id %j',
    async (id) => {
      await expect(source()(id)).rejects.toThrow(TypeError)
      expect(service.requests).toEqual([])
    },
  )

  test.each<[string, string, Record<string, unknown>]>([
    ['another id', 'rim_answer_mismatch', { id: `${ID}x` }],
    ['another digest', 'rim_answer_mismatch', { sha256: '00'.repeat(32) }],
    ['another document', 'rim_answer_mismatch', { rim: 'AAAA' }],
    ['no id', 'rim_answer_malformed', { id: undefined }],
    ['no document', 'rim_answer_malformed', { rim: null }],
    ['no base64', 'rim_answer_malformed', { rim: 'AA-_' }],
    ['no digest', 'rim_answer_malformed', { sha256: 'x' }],
  ])('is refused where the answer has %s', async (_, refusal, changes) => {
    service.control.changes = changes
    await expect(source()(ID)).rejects.toEqual(code(refusal))
    service.control.changes = {}
    expect(await source()(ID)).toEqual(DOCUMENT)
  })

  test('is refused over a megabyte', async () => {
    service.documents.set(ID, new Uint8Array((1 << 20) + 1))
    await expect(source()(ID)).rejects.toEqual(code('nvidia_too_large'))
  })

  test.each<[ServiceFault, string]>([
    ['html', 'rim_answer_malformed'],
    ['oversized', 'nvidia_too_large'],
    ['redirect', 'nvidia_status'],
    ['error', 'nvidia_status'],
    ['limited', 'nvidia_rate_limited'],
    ['slow', 'nvidia_timeout'],
  ])('is refused from a service that is %s', async (fault, refusal) => {
    service.control.fault = fault
    const timeoutMs = fault === 'slow' ? 100 : 5000
    await expect(source({ timeoutMs })(ID)).rejects.toEqual(code(refusal))
  })
})
