import { afterEach, expect, test } from 'vitest'
import { MEASURED } from '../support/chutes-instance.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { newTlsIdentity } from '../support/pki.ts'
import { ROOTFS, startSecretAi, type SecretAiService } from '../support/secretai-service.ts'
import { CANARY } from './harness.ts'
import { prompt, startProviderWorld, type ProviderWorld } from './provider-world.ts'

const nvidia = newNvidiaVendor()
const { rtmr3: _, ...PLATFORM } = MEASURED
const ROW = {
  ...PLATFORM,
  rtmr3: 'any',
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}
const open: { close(): Promise<void> }[] = []

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

async function start(prepare: (service: SecretAiService) => void = () => undefined) {
  let service: SecretAiService | null = null
  const world: ProviderWorld = await startProviderWorld({
    model: 'test-model',
    provider: async ({ vendor, clock }) => {
      service = await startSecretAi({ vendor, nvidia, clock })
      service.machine.behaviour.quote = PLATFORM
      prepare(service)
      return {
        kind: 'secretai',
        origin: service.origin,
        policy: {
          tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload: [ROW] },
          gpu: {
            trusted_root: {
              test_pki: {
                device_pem: nvidia.pki.deviceRoot.pem,
                rim_pem: nvidia.pki.rimRoot.pem,
              },
            },
            measurements: 'unchecked',
            revocation: 'unchecked',
          },
          freshness: 'key',
          launch: { os_image_hash: [ROOTFS] },
        },
      }
    },
  })
  if (service === null) throw new Error('not started')
  const started: SecretAiService = service
  open.push(started, world)
  return { world, service: started }
}

test('a model on a SecretVM is served to the official SDK', async () => {
  const { world, service } = await start()
  const completion = await world.sdk.chat.completions.create(prompt())
  expect(completion.choices[0]?.message.content).toBe(`You said: repeat ${CANARY}`)
  expect(service.prompts()).toHaveLength(1)
})

test.each<[string, (service: SecretAiService) => void, string]>([
  [
    'to whoever relays the evidence of the machine behind a key of its own',
    (service) => service.relay(newTlsIdentity()),
    'provider_channel_not_attested',
  ],
  [
    'to GPUs of another machine',
    ({ machine }) => {
      machine.behaviour.gpuNonce = (nonce) => nonce.toReversed()
    },
    'nonce_mismatch',
  ],
  [
    'with another compose file',
    ({ machine }) => {
      machine.behaviour.body = (route, own) => (route === '/docker-compose' ? 'x' : own)
    },
    'provider_launch_mismatch',
  ],
  [
    'without a quote',
    ({ machine }) => {
      machine.behaviour.body = (route, own) => (route === '/cpu' ? null : own)
    },
    'report_unavailable',
  ],
])('no prompt leaves %s', async (_name, prepare, reason) => {
  const { world, service } = await start(prepare)
  const answer = await world.chat()
  expect(answer.at('error.code')).toBe('upstream_verification_failed')
  expect(world.logs.join()).toContain(`"reason":"${reason}"`)
  expect(service.prompts()).toEqual([])
})

test('documents of two machines prove nothing of either', async () => {
  const { world, service } = await start((prepared) => {
    prepared.machine.behaviour.body = (route, own) => {
      if (route === '/cpu') prepared.changeKey(newTlsIdentity())
      return own
    }
  })
  expect(await world.sessions()).toEqual([])
  expect(world.logs.join()).toContain('"reason":"channel_key_mismatch"')
  expect(service.prompts()).toEqual([])
})
