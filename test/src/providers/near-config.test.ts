import { describe, expect, test } from 'vitest'
import { ConfigError, describeConfig } from '../../../src/config/index.ts'
import { newProviderVendors, policyDocument } from '../../support/provider-world.ts'
import { KEY, readConfig, sha256Hex } from '../harness.ts'

const vendors = newProviderVendors()

const file = (kind: string, entry: object = {}, route = 'the-model') => ({
  listen: { host: '127.0.0.1', port: 0 },
  enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
  providers: [
    {
      id: 'tee',
      kind,
      origin: 'https://provider.example',
      model: 'the-model',
      api_key: { env: 'UPSTREAM_KEY' },
      policy: { ...policyDocument(vendors, []), tdx: { workload: 'any' } },
      ...entry,
    },
  ],
  models: [
    { name: 'secure', confidentiality: 'attested', routes: [{ provider: 'tee', model: route }] },
  ],
  keys: [{ id: 'all', team: 'testers', sha256: sha256Hex(KEY), models: '*' }],
})

const problems = (value: unknown): string[] => {
  try {
    readConfig(value)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path)
    throw error
  }
  return []
}

describe.each(['near-direct', 'near-cloud', 'dstack-vllm'])('a provider of kind %s', (kind) => {
  test('serves the model that its evidence is about, and no other', () => {
    expect(problems(file(kind))).toEqual([])
    expect(problems(file(kind, {}, 'another'))).toEqual(['models.0.routes.0.model'])
    expect(problems(file(kind, { model: undefined }))).toEqual(['providers.0.model'])
  })

  test('serves attested models alone', () => {
    const [model] = file(kind).models
    const plain = { ...file(kind), models: [{ ...model, confidentiality: 'plain' }] }
    expect(problems(plain)).toEqual(['models.0.routes.0.provider'])
  })

  test('needs a policy that says what is expected', () => {
    expect(problems(file(kind, { policy: { tdx: {} } }))).toEqual(['providers.0.policy'])
    expect(problems(file(kind, { policy: { gpu: 'unchecked' } }))).toEqual(['providers.0.policy'])
  })

  test('is described with what its evidence cannot show', () => {
    const text = describeConfig(readConfig(file(kind))).join('\n')
    expect(text).toContain('the TLS key of the')
    expect(text).toContain('ties GPUs by a nonce alone')
  })
})

test('a router is described by both keys that a prompt travels to', () => {
  const text = describeConfig(readConfig(file('near-cloud'))).join('\n')
  expect(text).toContain('encrypted to the key of the node behind it')
})
