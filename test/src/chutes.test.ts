import { APIError } from 'openai'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MEASURED } from '../support/chutes-instance.ts'
import {
  sealedLines,
  startChutesService,
  type ChutesService,
  type ChutesServiceOptions,
} from '../support/chutes-service.ts'
import { newNvidiaVendor } from '../support/nvidia-gpu.ts'
import { CANARY } from './harness.ts'
import { prompt, startProviderWorld, trustEdge, type ProviderWorld } from './provider-world.ts'

const nvidia = newNvidiaVendor()
const MODEL = 'org/model-TEE'
const open: { close(): Promise<void> }[] = []

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close()
})

interface Started {
  readonly world: ProviderWorld
  readonly service: ChutesService
}

interface Options {
  readonly instances?: number
  readonly provider?: object
  readonly policy?: object
  /** Before the first verification. */
  readonly prepare?: (service: ChutesService) => void
  readonly limits?: object
}

async function start(options: Options = {}): Promise<Started> {
  let service: ChutesService | null = null
  const world = await startProviderWorld({
    model: MODEL,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    provider: async ({ vendor, clock }) => {
      const given: ChutesServiceOptions = { vendor, nvidia, clock, model: MODEL }
      const started = await startChutesService({ ...given, instances: options.instances ?? 1 })
      service = started
      options.prepare?.(started)
      trustEdge(started.certificatePem)
      return {
        kind: 'chutes',
        origin: started.origin,
        model: MODEL,
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
          ...options.policy,
        },
        ...options.provider,
      }
    },
  })
  if (service === null) throw new Error('not started')
  const started: ChutesService = service
  open.push(started, world)
  return { world, service: started }
}

const ROW = {
  ...MEASURED,
  mr_config_id: 'any',
  mr_owner: 'any',
  mr_owner_config: 'any',
  config_digest: 'any',
}

const firstOf = ({ instances: [first] }: ChutesService) => {
  if (first === undefined) throw new Error('no instance')
  return first
}

const asked = ({ asked: all }: ChutesService, part: string): number =>
  all.filter((path) => path.includes(part)).length

describe('a model on Chutes', () => {
  test('is served to the official SDK, and its relay sees no word', async () => {
    const { world, service } = await start()
    const completion = await world.sdk.chat.completions.create(prompt())
    expect(completion.choices[0]?.message.content).toBe(`You said: repeat ${CANARY}`)
    expect(completion.usage?.total_tokens).toBe(7)
    expect(service.promptBytes()).toBeGreaterThan(2000)
    expect(firstOf(service).opened[0]).toContain(CANARY)
    expect(world.logs.join()).not.toContain(CANARY)
  })

  test('streams to the official SDK', async () => {
    const { world } = await start()
    const stream = await world.sdk.chat.completions.create({ ...prompt(), stream: true })
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe(`You said: repeat ${CANARY}`)
  })

  test('is looked up by its exact name, or asked for by its id', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    expect(asked(service, '/chutes/')).toBeGreaterThan(0)
    expect(service.asked[0]).toBe('GET /chutes/')
  })

  test('with a configured id is not looked up', async () => {
    let chuteId = ''
    const { world, service } = await start({
      provider: {
        get chute_id() {
          return chuteId
        },
      },
      prepare: (prepared) => {
        chuteId = prepared.chuteId
      },
    })
    expect((await world.chat()).status).toBe(200)
    expect(service.asked).not.toContain('GET /chutes/')
  })

  test('has a session that states the instance and its key', async () => {
    const { world, service } = await start()
    const [session] = await world.sessions()
    const { at } = await world.get(`/v1/aci/sessions/${session?.id}`)
    expect(session?.instance).toBe(firstOf(service).id)
    expect(at('channel_binding.0')).toMatchObject({
      type: 'e2ee_public_key_sha256',
      provider: 'chutes',
      key_id: firstOf(service).id,
      algorithm: 'chutes-ml-kem-768',
    })
    expect(at('claims.gpu_attested.status')).toBe('asserted')
    expect(at('claims.extra.freshness')).toBe('client_nonce')
  })

  test('gives a receipt that names the session', async () => {
    const { world } = await start()
    const answer = await world.chat()
    const receipt = await world.get(`/v1/aci/receipts/${String(answer.headers['x-receipt-id'])}`)
    const [session] = await world.sessions()
    expect(receipt.text).toContain(session?.id)
    expect(receipt.text).toContain('"result":"verified"')
  })
})

describe('several instances', () => {
  test('are a session each, and all of them serve', async () => {
    const { world, service } = await start({ instances: 3 })
    const sessions = await world.sessions()
    expect(new Set(sessions.map(({ instance }) => instance))).toEqual(
      new Set(service.instances.map(({ id }) => id)),
    )
    for (let count = 0; count < 9; count++) expect((await world.chat()).status).toBe(200)
    for (const { opened } of service.instances) expect(opened.length).toBeGreaterThan(0)
  })

  test('a client that pins the session of one is served by that one', async () => {
    const { world, service } = await start({ instances: 3 })
    const sessions = await world.sessions()
    for (const { id, instance } of sessions) {
      const provider = { aci_session_ids: [id] }
      const answers = await Promise.all([world.chat({ provider }), world.chat({ provider })])
      expect(answers.map(({ at }) => at('system_fingerprint'))).toEqual([instance, instance])
    }
    expect(service.instances.map(({ opened }) => opened.length)).toEqual([2, 2, 2])
  })

  test('one that does not pass is not used, and its pins are not accepted', async () => {
    const { world, service } = await start({
      instances: 2,
      prepare: (prepared) => {
        firstOf(prepared).behaviour.reportData = (value) => value.toReversed()
      },
    })
    expect(await world.sessions()).toHaveLength(1)
    for (let count = 0; count < 4; count++) expect((await world.chat()).status).toBe(200)
    expect(firstOf(service).opened).toEqual([])
    const answer = await world.chat({ provider: { aci_session_ids: ['ab'.repeat(32)] } })
    expect(answer.at('error.code')).toBe('session_not_accepted')
  })
})

describe('an instance whose key has changed', () => {
  test('between two prompts is verified again, and serves', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    const [before] = await world.sessions()
    firstOf(service).rotate()
    // The tokens at hand have run out, so the next prompt sees the list with the new key.
    world.clock.advance(60)
    expect((await world.chat()).status).toBe(200)
    const after = await world.sessions()
    expect(after.map(({ id }) => id)).not.toContain(before?.id)
    expect(asked(service, '/evidence')).toBe(2)
  })

  test('with tokens at hand refuses what it cannot open, and nothing is given away', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    firstOf(service).rotate()
    expect((await world.chat()).status).toBe(400)
    expect(firstOf(service).opened).toHaveLength(1)
  })

  test('and whose evidence does not follow is not used', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    const sent = service.promptBytes()
    firstOf(service).rotate()
    firstOf(service).behaviour.reportData = (value) => value.toReversed()
    world.clock.advance(60)
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(service.promptBytes()).toBe(sent)
  })
})

describe('no prompt leaves', () => {
  test.each<[string, (service: ChutesService) => void, string]>([
    [
      'for evidence that answers another challenge',
      (service) => {
        firstOf(service).behaviour.nonce = () => 'cd'.repeat(32)
      },
      'provider_keys_not_bound',
    ],
    [
      'to a key that was put in place of the attested one',
      (service) => {
        const other = service.add()
        service.instances.pop()
        firstOf(service).behaviour.servedKey = () => other.publicKeyText
      },
      'provider_keys_not_bound',
    ],
    [
      'for the evidence of another instance under this name',
      (service) => {
        const other = service.add()
        service.instances.pop()
        const { id } = firstOf(service)
        let relayed: unknown = null
        other.behaviour.entry = (entry) => {
          relayed = { ...entry, instance_id: id }
          return entry
        }
        void other.evidence('ab'.repeat(32))
        firstOf(service).behaviour.entry = () => relayed
      },
      'provider_keys_not_bound',
    ],
    [
      'without the certificate that the quote names',
      (service) => {
        firstOf(service).behaviour.reportData = (value) => value.with(40, 1 ^ (value[40] ?? 0))
      },
      'provider_certificate_not_bound',
    ],
    [
      'to a node that measures nothing at run time',
      (service) => {
        firstOf(service).behaviour.quote = { ...MEASURED, rtmr3: '00'.repeat(48) }
      },
      'provider_runtime_not_measured',
    ],
    [
      'to a workload that no row names',
      (service) => {
        firstOf(service).behaviour.quote = { ...MEASURED, rtmr2: '99'.repeat(48) }
      },
      'workload_not_expected',
    ],
    [
      'to a debug TD',
      (service) => {
        firstOf(service).behaviour.quote = { ...MEASURED, tdAttributes: '0100001000000000' }
      },
      'debug_enabled',
    ],
    [
      'to GPUs that answered something else',
      (service) => {
        firstOf(service).behaviour.gpuNonce = (derived) => derived.toReversed()
      },
      'nonce_mismatch',
    ],
    [
      'without GPUs',
      (service) => {
        firstOf(service).behaviour.entry = (entry) => ({ ...entry, gpu_evidence: [] })
      },
      'gpu_evidence_count',
    ],
    [
      'where no instance has a key',
      (service) => {
        firstOf(service).behaviour.servedKey = () => null
      },
      'provider_instances_absent',
    ],
    [
      'where no instance has evidence',
      (service) => {
        firstOf(service).behaviour.entry = () => null
      },
      'provider_instances_absent',
    ],
    [
      'where there is no chute of this name',
      (service) => {
        service.behaviour.faults.chutes = { status: 200, body: '{"items":[]}' }
      },
      'provider_model_mismatch',
    ],
    [
      'where two chutes have this name',
      (service) => {
        const item = { name: MODEL, chute_id: 'a' }
        service.behaviour.faults.chutes = {
          status: 200,
          body: JSON.stringify({ items: [item, { ...item, chute_id: 'b' }] }),
        }
      },
      'provider_model_mismatch',
    ],
    [
      'where the list of chutes cannot be read',
      (service) => {
        service.behaviour.faults.chutes = { status: 200, body: '{}' }
      },
      'provider_report_malformed',
    ],
    [
      'where the list of instances fails',
      (service) => {
        service.behaviour.faults.instances = { status: 500 }
      },
      'report_unavailable',
    ],
    [
      'where evidence is limited',
      (service) => {
        service.behaviour.faults.evidence = { status: 429, retryAfter: 30 }
      },
      'report_rate_limited',
    ],
    [
      'where the evidence cannot be read',
      (service) => {
        service.behaviour.faults.evidence = { status: 200, body: '{"evidence":7}' }
      },
      'evidence_malformed',
    ],
    [
      'where the evidence is endless',
      (service) => {
        service.behaviour.faults.evidence = { status: 200, body: ' '.repeat(9 << 20) }
      },
      'report_too_large',
    ],
  ])('%s', async (_, prepare, reason) => {
    const { world, service } = await start({ prepare })
    const answer = await world.chat()
    expect(answer.status).toBe(503)
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(world.logs.join()).toContain(`"reason":"${reason}"`)
    expect(service.promptBytes()).toBe(0)
  })

  test('through an edge that the web does not trust', async () => {
    const { service } = await start()
    const { world } = await startUntrusted(service)
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(service.promptBytes()).toBe(0)
  })
})

/** A gateway whose provider is behind a certificate that nobody issued. */
async function startUntrusted({ model }: ChutesService): Promise<{ world: ProviderWorld }> {
  const world = await startProviderWorld({
    model,
    provider: async ({ vendor, clock }) => {
      const other = await startChutesService({ vendor, nvidia, clock, model })
      open.push(other)
      const tdx = { trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' }
      return { kind: 'chutes', origin: other.origin, model, policy: { tdx, gpu: 'unchecked' } }
    },
  })
  open.push(world)
  return { world }
}

describe('evidence', () => {
  test('that is slow is waited for', async () => {
    const { world } = await start({
      limits: { connect_seconds: 1 },
      prepare: ({ behaviour }) => {
        behaviour.evidenceDelayMs = 1500
      },
    })
    expect((await world.chat()).status).toBe(200)
  })

  test('that has expired and cannot be had again ends the sessions', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    const sent = service.promptBytes()
    service.behaviour.faults.evidence = { status: 500 }
    world.clock.advance(601)
    await world.gateway.tick()
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(service.promptBytes()).toBe(sent)
  })

  test('that fails while older evidence stands changes nothing', async () => {
    const { world, service } = await start()
    service.behaviour.faults.evidence = { status: 500 }
    world.clock.advance(500)
    await world.gateway.tick()
    expect((await world.chat()).status).toBe(200)
  })
})

describe('the relay', () => {
  let started: Started
  beforeEach(async () => {
    started = await start()
  })

  test('that answers in clear is caught', async () => {
    const { world, service } = started
    service.behaviour.whole = (_, body) => ({ type: 'application/json', body })
    const answer = await world.chat()
    expect(answer.status).toBe(502)
    expect(answer.at('error.code')).toBe('upstream_not_encrypted')
    expect(answer.text).not.toContain(CANARY)
  })

  test('that streams in clear is caught', async () => {
    const { world, service } = started
    service.behaviour.lines = (_, events) => [...events]
    const answer = await world.chat({ stream: true })
    expect(answer.at('error.code')).toBe('upstream_not_encrypted')
  })

  test('that changes the answer is caught', async () => {
    const { world, service } = started
    service.behaviour.whole = ({ reply }, answer) => {
      const body = reply.whole(answer)
      body[1200] = (body[1200] ?? 0) ^ 1
      return { type: 'application/octet-stream', body }
    }
    expect((await world.chat()).at('error.code')).toBe('upstream_undecryptable')
  })

  test('that ends a stream early cannot make it look complete', async () => {
    const { world, service } = started
    service.behaviour.lines = (opened, events) => sealedLines(opened, events.slice(0, 3))
    const stream = await world.sdk.chat.completions.create({ ...prompt(), stream: true })
    const reading = async () => {
      for await (const chunk of stream) expect(chunk.object).toBe('chat.completion.chunk')
    }
    await expect(reading()).rejects.toThrow(APIError)
  })

  test('that cuts the connection breaks the stream', async () => {
    const { world, service } = started
    service.behaviour.cutAfterLines = 3
    const answer = await world.chat({ stream: true })
    expect(answer.text).toContain('upstream_broken')
    expect(answer.text).not.toContain('[DONE]')
  })

  test('that does not take a token gets one more, once', async () => {
    const { world, service } = started
    service.behaviour.tokenSeconds = 0
    expect((await world.chat()).at('error.code')).toBe('upstream_unreachable')
    expect(service.invocations).toHaveLength(2)
    expect(firstOf(service).opened).toEqual([])
    const tokens = service.invocations.map((headers) => headers['x-e2e-nonce'])
    expect(new Set(tokens).size).toBe(2)
  })

  test('whose token has run out serves with the next', async () => {
    const { world, service } = started
    expect((await world.chat()).status).toBe(200)
    // Chutes has forgotten those of the verification, and one that the gateway still holds.
    service.forgetTokens(service.behaviour.tokensPerInstance + 1)
    expect((await world.chat()).status).toBe(200)
    expect(service.invocations).toHaveLength(3)
  })

  test('that limits the rate of tokens says for how long', async () => {
    const { world, service } = started
    service.behaviour.faults.instances = { status: 429, retryAfter: 17 }
    const answer = await world.chat()
    expect(answer.status).toBe(429)
    expect(answer.headers['retry-after']).toBe('17')
    expect(service.promptBytes()).toBe(0)
  })

  test('that is at capacity is told as such', async () => {
    const { world, service } = started
    service.behaviour.faults.invoke = { status: 429, body: '{"detail":"at maximum capacity"}' }
    expect((await world.chat()).at('error.code')).toBe('upstream_rate_limited')
  })

  test('that lost the instance is told as such', async () => {
    const { world, service } = started
    service.behaviour.faults.invoke = { status: 410 }
    expect((await world.chat()).at('error.code')).toBe('upstream_error')
  })
})
