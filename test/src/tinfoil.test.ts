import { APIError } from 'openai'
import { describe, expect, test } from 'vitest'
import { newSwitch } from '../support/nvidia-gpu.ts'
import { gpuEvidence, type DocumentFields } from '../support/tinfoil-document.ts'
import { gpu, imageRelease, nvidia, policyDocument, REPOSITORY } from '../support/tinfoil-world.ts'
import { CANARY, UPSTREAM_SECRET } from './harness.ts'
import { startWorld, type Options, type Services, type World } from './tinfoil-harness.ts'

const messages = [{ role: 'user' as const, content: `repeat ${CANARY}` }]

async function chat({ client }: World): Promise<string> {
  const completion = await client.chat.completions.create({ model: 'private', messages })
  return completion.choices[0]?.message.content ?? ''
}

async function streamed({ client }: World): Promise<string> {
  const stream = await client.chat.completions.create({ model: 'private', messages, stream: true })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  return text
}

/** Status and code of what the SDK raises. */
async function refusal(answer: Promise<unknown>): Promise<readonly [number, unknown]> {
  const error: unknown = await answer.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof APIError)) throw new Error('expected the SDK to raise an APIError')
  return [Number(error.status), error.code]
}

/** Why the gateway last refused the provider. */
const reasonOf = ({ logs }: World): unknown => {
  const refused = logs.map((line): unknown => JSON.parse(line)).filter(isRefused)
  return refused.at(-1)?.reason
}

const isRefused = (entry: unknown): entry is { reason: unknown } =>
  typeof entry === 'object' &&
  entry !== null &&
  'event' in entry &&
  (entry.event === 'session_refused' || entry.event === 'session_evicted')

const UNVERIFIED = [503, 'upstream_verification_failed']

describe.each(['tdx', 'sev-snp'] as const)('an enclave on %s', (platform) => {
  test('answers the official SDK, whole and streamed, and nothing goes over the wire in clear', async () => {
    const world = await startWorld({ platform })
    const { enclave, logs } = world
    expect(await chat(world)).toContain(CANARY)
    expect(await streamed(world)).toContain(CANARY)
    expect(enclave.requests.map(({ body }) => Buffer.from(body).includes(CANARY))).toEqual([
      true,
      true,
    ])
    expect(enclave.encrypted()).toBe(2)
    expect(enclave.wire.map((body) => body.includes(CANARY))).toEqual([false, false])
    expect(enclave.requests[0]?.headers.authorization).toBe(`Bearer ${UPSTREAM_SECRET}`)
    expect(enclave.attestations()).toBe(1)
    expect(logs.join('')).not.toContain(CANARY)
  })

  test('is verified again when both of its keys are new, and the prompt reaches the new ones', async () => {
    const world = await startWorld({ platform })
    await chat(world)
    await world.enclave.rotate()
    expect(await chat(world)).toContain(CANARY)
    expect(world.enclave.attestations()).toBe(2)
  })

  test('is verified again when only the key to encrypt to is new', async () => {
    const world = await startWorld({ platform })
    await chat(world)
    await world.enclave.rotateHpke()
    expect(await chat(world)).toContain(CANARY)
    expect(await streamed(world)).toContain(CANARY)
    expect(world.enclave.attestations()).toBe(2)
    expect(reasonOf(world)).toBe('channel_key_mismatch')
  })
})

test('endorsements and releases are asked for once, however often a session is renewed', async () => {
  const world = await startWorld({ platform: 'sev-snp' })
  await chat(world)
  world.clock.advance(500)
  await world.gateway.tick()
  expect(world.enclave.attestations()).toBe(2)
  expect(world.kds.requests).toHaveLength(3)
  // The newest release may be another one by now.
  expect(world.releases.requests.filter((path) => path.endsWith('/latest'))).toHaveLength(2)
  expect(world.releases.requests).toHaveLength(4)
})

test('one that never has the key it attests is given up after two more verifications', async () => {
  const world = await startWorld()
  world.enclave.behaviour.reply = 'mute-key'
  expect(await refusal(chat(world))).toEqual(UNVERIFIED)
  expect(world.enclave.attestations()).toBe(3)
  expect(world.enclave.requests).toEqual([])
})

test('evidence that has expired serves nothing, where it cannot be renewed', async () => {
  const world = await startWorld()
  world.enclave.behaviour.status = 500
  world.clock.advance(600)
  expect(await refusal(chat(world))).toEqual(UNVERIFIED)
  expect(reasonOf(world)).toBe('report_unavailable')
  expect(world.enclave.promptBytes()).toBe(0)
})

test('an enclave that becomes another one in mid-traffic is cut off', async () => {
  const world = await startWorld()
  await chat(world)
  const before = world.enclave.promptBytes()
  world.enclave.behaviour.bind = (fields) => ({ ...fields, nonce: '00'.repeat(32) })
  world.clock.advance(500)
  await world.gateway.tick()
  expect(await refusal(chat(world))).toEqual(UNVERIFIED)
  expect(reasonOf(world)).toBe('nonce_mismatch')
  expect(world.enclave.promptBytes()).toBe(before)
})

const fields =
  (change: Partial<DocumentFields>) =>
  ({ enclave }: Services): void => {
    enclave.behaviour.bind = (honest) => ({ ...honest, ...change })
  }
const edited =
  (edit: (text: string) => string) =>
  ({ enclave }: Services): void => {
    enclave.behaviour.edit = edit
  }
const release = (change: Parameters<typeof imageRelease>[0]) => (services: Services) => {
  services.releases.releases.set(REPOSITORY, {
    ...imageRelease(change),
    tag: 'v1.0.0',
    digest: 'd1'.repeat(32),
  })
}
const fault = (path: RegExp, status: number, body: string) => (services: Services) => {
  services.releases.fault = { path, status, body }
}
const ELSEWHERE = 'e0'.repeat(32)
const SNP = { platform: 'sev-snp' } as const

const BROKEN: readonly (readonly [string, string, Options])[] = [
  ['an old nonce', 'nonce_mismatch', { broken: fields({ nonce: ELSEWHERE }) }],
  [
    'a recording without a nonce',
    'tinfoil_document_unsupported',
    {
      broken: edited(() => '{"format":"https://tinfoil.sh/predicate/tdx-guest/v2","body":"H4sI"}'),
    },
  ],
  [
    'a TLS key of somebody else',
    'provider_channel_not_attested',
    { broken: fields({ tlsKey: ELSEWHERE }) },
  ],
  [
    'a TLS key of somebody else on SEV-SNP',
    'provider_channel_not_attested',
    { ...SNP, broken: fields({ tlsKey: ELSEWHERE }) },
  ],
  [
    'a key to encrypt to that was put in later',
    'provider_keys_not_bound',
    {
      broken: edited((text) => text.replace(/"hpke_key":"[0-9a-f]+"/, `"hpke_key":"${ELSEWHERE}"`)),
    },
  ],
  [
    'such a key on SEV-SNP',
    'provider_keys_not_bound',
    {
      ...SNP,
      broken: edited((text) => text.replace(/"hpke_key":"[0-9a-f]+"/, `"hpke_key":"${ELSEWHERE}"`)),
    },
  ],
  [
    'switches that were put in later',
    'provider_keys_not_bound',
    {
      broken: edited((text) => {
        const nonce = /"nonce":"([0-9a-f]{64})"/.exec(text)?.[1] ?? ''
        const switches = gpuEvidence([newSwitch(nvidia, [])], nonce)
        return text.replace('"certificate":"-', `"nvswitch":${switches},"certificate":"-`)
      }),
    },
  ],
  [
    'a GPU that answered another nonce',
    'nonce_mismatch',
    { broken: fields({ gpu: gpuEvidence([gpu], ELSEWHERE) }) },
  ],
  ['no GPU', 'gpu_evidence_count', { broken: fields({ gpu: null }) }],
  [
    'the evidence of another node, relayed',
    'provider_channel_not_attested',
    {
      broken: ({ enclave, other }) => {
        enclave.behaviour.bind = (honest) => ({ ...honest, ...other.keys() })
      },
    },
  ],
  [
    'another image',
    'tinfoil_release_mismatch',
    { enclaved: { quote: { rtmr2: 'ee'.repeat(48) } } },
  ],
  [
    'another image on SEV-SNP',
    'tinfoil_release_mismatch',
    { ...SNP, enclaved: { report: { measurement: 'ee'.repeat(48) } } },
  ],
  [
    'unknown hardware',
    'tinfoil_hardware_unknown',
    { enclaved: { quote: { rtmr0: 'ee'.repeat(48) } } },
  ],
  [
    'a debuggable TD',
    'debug_enabled',
    { enclaved: { quote: { tdAttributes: '0100001000000000' } } },
  ],
  ['a build of a branch', 'sigstore_ref_mismatch', { broken: release({ ref: 'refs/heads/main' }) }],
  [
    'a build of a fork',
    'sigstore_repository_mismatch',
    { broken: release({ repository: 'evil/fork' }) },
  ],
  [
    'a build of something else',
    'sigstore_subject_mismatch',
    { broken: release({ artifactSha256: 'd9'.repeat(32) }) },
  ],
  [
    'a release that is not the pinned one',
    'release_unavailable',
    { policy: { release: { ...policyDocument.release, tags: ['v9.9.9'] } } },
  ],
  [
    'no list of releases',
    'release_unavailable',
    { broken: fault(/model\/releases\/latest$/, 404, '') },
  ],
  [
    'a list of releases that cannot be read',
    'release_answer_malformed',
    { broken: fault(/latest$/, 200, '{') },
  ],
  [
    'a release without a name',
    'release_answer_malformed',
    { broken: fault(/latest$/, 200, '{"tag_name":"../x"}') },
  ],
  [
    'a digest that is none',
    'release_answer_malformed',
    { broken: fault(/tinfoil\.hash$/, 200, 'x') },
  ],
  ['no log entries', 'release_unavailable', { broken: fault(/attestations/, 500, '') }],
  [
    'a release service that asks for patience',
    'report_rate_limited',
    { broken: fault(/latest$/, 429, '') },
  ],
  [
    'no endorsements from AMD',
    'endorsement_unavailable',
    {
      ...SNP,
      broken: ({ kds }) => {
        kds.control.status = 500
      },
    },
  ],
  [
    'an attestation route that fails',
    'report_unavailable',
    {
      broken: ({ enclave }) => {
        enclave.behaviour.status = 500
      },
    },
  ],
  [
    'an attestation route that asks for patience',
    'report_rate_limited',
    {
      broken: ({ enclave }) => {
        enclave.behaviour.status = 429
      },
    },
  ],
  [
    'an attestation route that never answers',
    'channel_timeout',
    {
      broken: ({ enclave }) => {
        enclave.behaviour.hang = true
      },
    },
  ],
]

test.each(BROKEN)('no byte of a prompt reaches %s: %s', async (_name, reason, options) => {
  const world = await startWorld(options)
  expect(await refusal(chat(world))).toEqual(UNVERIFIED)
  expect(reasonOf(world)).toBe(reason)
  expect([world.enclave.promptBytes(), world.other.promptBytes()]).toEqual([0, 0])
})

describe('a reply', () => {
  test.each([
    ['in clear', 'in-clear', 'upstream_not_encrypted'],
    ['that was changed', 'garbled', 'upstream_undecryptable'],
    ['that was cut', 'cut', 'upstream_undecryptable'],
  ] as const)('%s is refused, whole and streamed', async (_name, reply, code) => {
    const world = await startWorld()
    world.enclave.behaviour.reply = reply
    expect(await refusal(chat(world))).toEqual([502, code])
    expect(await refusal(streamed(world))).toEqual([502, code])
  })

  test('that ends before it is complete ends the stream with an error', async () => {
    const world = await startWorld()
    world.enclave.chat.cutAfterChunks = 3
    await expect(streamed(world)).rejects.toThrow(/provider/i)
  })

  test.each(['encrypted', 'in-clear'] as const)(
    '429, %s, is passed on with its patience',
    async (reply) => {
      const world = await startWorld()
      world.enclave.behaviour.reply = reply
      world.enclave.chat.answer = {
        status: 429,
        headers: { 'content-type': 'application/json', 'retry-after': '7' },
        body: '{"error":{"message":"slow down"}}',
      }
      expect(await refusal(chat(world))).toEqual([429, 'upstream_rate_limited'])
    },
  )

  test('400, encrypted, is told to whoever asked', async () => {
    const world = await startWorld()
    const body =
      '{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"bad"}}'
    world.enclave.chat.answer = { status: 400, body }
    expect(await refusal(chat(world))).toEqual([400, 'bad'])
  })
})
