import { expect, test } from 'vitest'
import { ConfigError, describeConfig } from '../../src/config/index.ts'
import { policyDocument, REPOSITORY } from '../support/tinfoil-world.ts'
import { readConfig } from './harness.ts'

const config = (kind: string, policy: object) => ({
  enclave: { quote_source: 'configfs-tsm', self_check: 'report' },
  providers: [
    {
      id: 'enclave',
      kind,
      origin: 'https://enclave.example',
      api_key: { env: 'UPSTREAM_KEY' },
      policy,
      ...(kind === 'near-direct' ? { model: 'm' } : {}),
    },
  ],
  models: [
    {
      name: 'private',
      confidentiality: 'attested',
      routes: [{ provider: 'enclave', model: 'm' }],
    },
  ],
  keys: [{ id: 'tester', team: 'testers', sha256: 'ab'.repeat(32), models: '*' }],
})

function problemsOf(kind: string, policy: object): unknown {
  try {
    readConfig(config(kind, policy))
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

test('a release is asked for where one can be shown, and only there', () => {
  const { release, ...rest } = policyDocument
  expect(problemsOf('tinfoil', policyDocument)).toEqual([])
  expect(problemsOf('tinfoil', rest)).toEqual([
    {
      path: 'providers.0.policy',
      hint: 'name the repository whose releases are wanted under release',
    },
  ])
  expect(problemsOf('near-direct', { ...rest, release })).toEqual([
    {
      path: 'providers.0.policy',
      hint: 'a provider of this kind shows no release that could be wanted',
    },
  ])
})

test.each([
  ['a repository that is none', { repository: 'acme' }],
  ['a repository that is a path', { repository: '../x/y' }],
  ['no tags', { repository: REPOSITORY, tags: [] }],
  ['an unknown member', { repository: REPOSITORY, branch: 'main' }],
])('%s is a mistake', (_name, release) => {
  expect(problemsOf('tinfoil', { ...policyDocument, release })).toEqual([
    { path: 'providers.0.policy', hint: 'not a valid attestation policy' },
  ])
})

test('the description names the repository, the test root and what stays unproven', () => {
  const text = describeConfig(readConfig(config('tinfoil', policyDocument))).join('\n')
  expect(text).toContain(`a release that a public log vouches for, of ${REPOSITORY}`)
  expect(text).toContain('TEST root')
  expect(text).toContain('pin tags to be sure')
})

test('services have an address without being configured', () => {
  const { amd, releases } = readConfig(config('tinfoil', policyDocument))
  expect([amd.kds_url, releases.url]).toEqual([
    'https://kdsintf.amd.com',
    'https://github-proxy.tinfoil.sh',
  ])
})
