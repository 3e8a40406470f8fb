import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeProviderEvidence, recordedPolicyOf, toHex } from '@vouchgate/attestation'
import { afterEach, expect, test } from 'vitest'
import { collectFromCapture, kindOf } from '../../cli/capture-provider.ts'
import { pcsCollateral } from '../../client/collateral.ts'
import { attestedFetch, certificateFetch } from '../../client/evidence-fetch.ts'
import { readCapture, Recorder } from '../../client/index.ts'
import { fakeClock } from '../support/clock.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { startRaTlsService } from '../support/ra-tls-service.ts'
import { startSecretAi } from '../support/secretai-service.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const clock = fakeClock()
const vendor = createTeeVendor({ now: clock.now() })
const open: { close(): Promise<void> }[] = []
const folders: string[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function recording() {
  const pcs = await vendor.pcsServer()
  const dir = await mkdtemp(join(tmpdir(), 'vouchgate-capture-'))
  open.push(pcs)
  folders.push(dir)
  const recorder = new Recorder()
  const source = pcsCollateral({
    baseUrl: pcs.url,
    rootCrlUrl: pcs.rootCrlUrl,
    timeoutMs: 5000,
    clock,
  })
  return { dir: join(dir, 'capture'), recorder, pcs: recorder.collateral(source) }
}

test('a certificate is recorded, and collected from the record as it was', async () => {
  const { dir, recorder, pcs } = await recording()
  const service = await startRaTlsService({ vendor, clock })
  open.push(service)
  const shown = await recorder.certificate(certificateFetch(5000))(service.origin)
  await pcs(service.identity().quote)
  await recorder.write(dir, {
    provider: 'openai-ra-tls',
    model: null,
    nonce: null,
    at: clock.now(),
  })
  const capture = await readCapture(dir)
  expect(kindOf(capture)).toBe('openai-ra-tls')
  const evidence = await collectFromCapture('openai-ra-tls', capture)
  const { documents, observedSpkiSha256, origin } = decodeProviderEvidence(evidence)
  expect(toHex(documents.get('certificate') ?? new Uint8Array(0))).toBe(toHex(shown.certificate))
  expect(observedSpkiSha256).toBe(service.identity().spkiSha256)
  expect(origin).toBe(service.origin)
  // It answers no challenge and shows no GPUs, so that neither is asked for where nobody names a policy.
  expect(recordedPolicyOf(evidence)).toMatchObject({ freshness: 'key', gpu: 'unchecked' })
})

test('what a SecretVM shows is recorded, and collected from the record as it was', async () => {
  const { dir, recorder, pcs } = await recording()
  const service = await startSecretAi({ vendor, nvidia: newNvidiaVendor(), clock })
  open.push(service)
  const fetch = recorder.fetch(attestedFetch(5000, clock))
  const [cpu] = await Promise.all(
    ['/cpu', '/gpu', '/docker-compose'].map((path) =>
      fetch({ origin: service.origin, path, maxBytes: 1 << 20 }),
    ),
  )
  await pcs(
    Uint8Array.from(
      Buffer.from(
        Buffer.from(cpu?.body ?? [])
          .toString()
          .trim(),
        'hex',
      ),
    ),
  )
  await recorder.write(dir, { provider: 'secretai', model: null, nonce: null, at: clock.now() })
  const evidence = await collectFromCapture('secretai', await readCapture(dir))
  const { documents, observedSpkiSha256 } = decodeProviderEvidence(evidence)
  expect([...documents.keys()]).toEqual(['cpu', 'docker-compose', 'tdx/collateral', 'gpu'])
  expect(observedSpkiSha256).toBe(service.machine.identity.spkiSha256)
  expect(recordedPolicyOf(evidence)).toMatchObject({ freshness: 'key', gpu: { judge: 'local' } })
})

test('a record without a handshake shows no certificate', async () => {
  const { dir, recorder } = await recording()
  await recorder.write(dir, {
    provider: 'openai-ra-tls',
    model: null,
    nonce: null,
    at: clock.now(),
  })
  const capture = await readCapture(dir)
  await expect(collectFromCapture('openai-ra-tls', capture)).rejects.toMatchObject({
    code: 'capture_malformed',
  })
})
