import { afterEach, describe, expect, test } from 'vitest'
import { MEASURED } from '../support/chutes-instance.ts'
import { newSigningKey, newTlsIdentity } from '../support/pki.ts'
import { newRaTlsIdentity, type RaTlsFields, type RaTlsForm } from '../support/ra-tls.ts'
import { startRaTlsService, type RaTlsService } from '../support/ra-tls-service.ts'
import { CANARY } from './harness.ts'
import { prompt, startProviderWorld, type ProviderWorld } from './provider-world.ts'

const FORMS: RaTlsForm[] = [
  'dstack-legacy',
  'dstack-scale',
  'dstack-cbor',
  'dstack-msgpack',
  'interoperable',
]
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

interface Options extends RaTlsFields {
  readonly policy?: object
}

async function start(options: Options = {}): Promise<{
  world: ProviderWorld
  service: RaTlsService
}> {
  const { policy, ...fields } = options
  let service: RaTlsService | null = null
  const world = await startProviderWorld({
    model: 'test-model',
    provider: async ({ vendor, clock }) => {
      const quote = { ...PLATFORM, ...fields.quote }
      service = await startRaTlsService({ vendor, clock, fields: { ...fields, quote } })
      return {
        kind: 'openai-ra-tls',
        origin: service.origin,
        policy: {
          tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload: [ROW] },
          gpu: 'unchecked',
          freshness: 'key',
          ...policy,
        },
      }
    },
  })
  if (service === null) throw new Error('not started')
  const started: RaTlsService = service
  open.push(started, world)
  return { world, service: started }
}

const quoteOf = (fields: RaTlsFields): RaTlsFields => ({
  ...fields,
  quote: { ...PLATFORM, ...fields.quote },
})

describe('a model behind a certificate with a quote', () => {
  test.each(FORMS)('is served to the official SDK (%s)', async (form) => {
    const { world, service } = await start({ form })
    const completion = await world.sdk.chat.completions.create(prompt())
    expect(completion.choices[0]?.message.content).toBe(`You said: repeat ${CANARY}`)
    expect(service.requests).toHaveLength(1)
  })

  test('streams to the official SDK', async () => {
    const { world } = await start()
    const stream = await world.sdk.chat.completions.create({ ...prompt(), stream: true })
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe(`You said: repeat ${CANARY}`)
  })

  test('is asked nothing before the first prompt', async () => {
    const { service } = await start()
    expect(service.applicationBytes()).toBe(0)
  })

  test('has a session whose claims say that nothing answered a challenge', async () => {
    const { world, service } = await start()
    const [session] = await world.sessions()
    const { at } = await world.get(`/v1/aci/sessions/${session?.id}`)
    expect(at('claims.extra.freshness')).toBe('key_possession')
    expect(at('claims.gpu_attested.status')).toBe('unknown')
    expect(at('channel_binding.0')).toMatchObject({
      type: 'tls_spki_sha256',
      spki_sha256: service.identity().spkiSha256,
    })
  })

  test('after a restart is verified again, before it sees a prompt', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    await service.rotate()
    expect((await world.chat()).status).toBe(200)
    const sessions = await world.sessions()
    expect(sessions.length).toBeGreaterThan(0)
  })
})

describe('no prompt leaves', () => {
  test.each<[string, Options, string]>([
    [
      'where the policy wants an answered challenge',
      { policy: { freshness: 'challenge' } },
      'freshness_not_proven',
    ],
    [
      'to a key that the quote does not name',
      { boundKey: newSigningKey() },
      'ra_tls_key_not_bound',
    ],
    [
      'to a key that the claims do not name',
      { form: 'interoperable', boundKey: newSigningKey() },
      'ra_tls_key_not_bound',
    ],
    ['without evidence', { certificate: { extensions: [] } }, 'ra_tls_absent'],
    ['for evidence cut short', { edit: (value) => value.subarray(0, 900) }, 'ra_tls_malformed'],
    ['to another workload', { quote: { rtmr1: '99'.repeat(48) } }, 'workload_not_expected'],
    ['to a debug TD', { quote: { tdAttributes: '0100001000000000' } }, 'debug_enabled'],
    [
      'for a quote that another key signed',
      { quote: { quoteSigner: newSigningKey() } },
      'quote_signature_invalid',
    ],
    [
      'with a log of something else',
      { quote: { rtmr3: '99'.repeat(48) } },
      'eventlog_rtmr_mismatch',
    ],
  ])('%s', async (__, options, reason) => {
    const { world, service } = await start(options)
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(world.logs.join()).toContain(`"reason":"${reason}"`)
    expect(service.applicationBytes()).toBe(0)
  })

  test('to whoever stands there after the verification with a key of its own', async () => {
    const { world, service } = await start()
    service.show(newTlsIdentity())
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(service.applicationBytes()).toBe(0)
  })

  test('to a successor that is another workload', async () => {
    const { world, service } = await start()
    expect((await world.chat()).status).toBe(200)
    const before = service.applicationBytes()
    await service.rotate(quoteOf({ quote: { rtmr2: '99'.repeat(48) } }))
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(service.requests).toHaveLength(1)
    expect(service.applicationBytes()).toBe(before)
  })

  test('to a copy of the certificate extensions on another key', async () => {
    const { world, service } = await start({ certificate: { extensions: [] } })
    const genuine = await newRaTlsIdentity(world.vendor, quoteOf({}))
    // The attacker's own key, the genuine TD's evidence.
    const copied = await newRaTlsIdentity(world.vendor, {
      edit: () => evidenceOf(genuine.der),
    })
    service.show(copied)
    world.clock.advance(30)
    const answer = await world.chat()
    expect(answer.at('error.code')).toBe('upstream_verification_failed')
    expect(world.logs.join()).toContain('"reason":"ra_tls_key_not_bound"')
    expect(service.applicationBytes()).toBe(0)
  })
})

/** What stands in the extension of a certificate in the SCALE form: from its first bytes to the end of the list. */
function evidenceOf(der: Uint8Array): Uint8Array {
  // OID 1.3.6.1.4.1.62397.1.8, then two OCTET STRINGs with lengths of two bytes.
  const oid = Buffer.from('060a2b0601040183e73d0108', 'hex')
  const at = Buffer.from(der).indexOf(oid) + oid.length
  const outer = at + 4
  const length = ((der[outer + 2] ?? 0) << 8) | (der[outer + 3] ?? 0)
  return der.slice(outer + 4, outer + 4 + length)
}
