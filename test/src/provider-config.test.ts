import { describe, expect, test } from 'vitest'
import { ConfigError, describeConfig, type Config } from '../../src/config/index.ts'
import { KEY, readConfig, sha256Hex } from './harness.ts'

const POLICY = { tdx: { workload: 'any' }, gpu: 'unchecked' }

const configOf = (provider: object): Config =>
  readConfig({
    listen: { host: '127.0.0.1', port: 0 },
    enclave: { quote_source: 'dstack' },
    providers: [
      {
        id: 'tee',
        origin: 'https://provider.test',
        api_key: { env: 'UPSTREAM_KEY' },
        policy: POLICY,
        ...provider,
      },
    ],
    models: [
      {
        name: 'secure',
        confidentiality: 'attested',
        routes: [{ provider: 'tee', model: 'org/model-TEE' }],
      },
    ],
    keys: [{ id: 'everything', team: 'testers', sha256: sha256Hex(KEY), models: '*' }],
  })

const problemsOf = (provider: object) => {
  try {
    configOf(provider)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path)
    throw error
  }
  return []
}

describe('a provider in the configuration', () => {
  const chutes = { kind: 'chutes', model: 'org/model-TEE' }

  test.each([
    ['of Chutes, by the name of its model', chutes],
    [
      'of Chutes, by the id of its chute',
      { ...chutes, chute_id: 'e51e818e-fa63-570d-9f68-49d7d1b4d12f' },
    ],
    ['with a quote in its certificate', { kind: 'openai-ra-tls' }],
    ['on a SecretVM', { kind: 'secretai' }],
  ])('%s is read', (_, provider) => {
    expect(problemsOf(provider)).toEqual([])
  })

  test.each([
    ['a chute that is no id', { ...chutes, chute_id: '../x' }, 'providers.0.chute_id'],
    [
      'a chute of another kind of provider',
      { kind: 'openai-ra-tls', chute_id: 'a' },
      'providers.0.chute_id',
    ],
    ['no model, where evidence is about one', { kind: 'chutes' }, 'providers.0.model'],
    ['another model than its route', { ...chutes, model: 'other' }, 'models.0.routes.0.model'],
    ['no measurements', { ...chutes, policy: { tdx: {} } }, 'providers.0.policy'],
  ])('with %s is refused', (_, provider, path) => {
    expect(problemsOf(provider)).toContain(path)
  })

  test('is described with what stays unproven', () => {
    const lines = describeConfig(configOf(chutes)).join('\n')
    expect(lines).toContain('ML-KEM key of each instance')
    expect(lines).toContain('UNPROVEN: which image an instance runs is checked by Chutes alone')
    const certificate = { kind: 'openai-ra-tls', policy: { ...POLICY, gpu: {} } }
    expect(describeConfig(configOf(certificate)).join('\n')).toContain('shows no GPUs')
  })
})
