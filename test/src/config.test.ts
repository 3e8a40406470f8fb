import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import {
  ConfigError,
  describeConfig,
  parseConfig,
  type ConfigProblem,
} from '../../src/config/index.ts'
import { SOFTWARE } from '../../src/version.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { configFile, member, pinnedRow, sha256Hex, type ConfigDocument } from './harness.ts'

const vendor = createTeeVendor()
const origin = 'https://127.0.0.1:1'
const file = (): ConfigDocument =>
  configFile(vendor, {
    model: origin,
    backup: origin,
    plain: 'http://127.0.0.1:2',
    plainBackup: 'https://api.example',
    pcs: 'https://pcs.example',
    rootCrl: 'https://pcs.example/root',
  })

const ENV = { UPSTREAM_KEY: 'sk-live-secret' }
const read = (text: string, env: Record<string, string> = ENV) =>
  parseConfig(text, env, (path) => readFileSync(path, 'utf8'))
const asText = (document: unknown): string => stringify(document, { aliasDuplicateObjects: false })

function problemsOf(text: string, env?: Record<string, string>): readonly ConfigProblem[] {
  try {
    read(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

const set = (path: string, value: unknown): string => {
  const document = file()
  const names = path.split('.')
  const last = names.pop() ?? ''
  const parent = names.length === 0 ? document : member(document, names.join('.'))
  Reflect.set(Object(parent), last, value)
  return asText(document)
}

test('a valid file is read, and its digest is of its bytes', () => {
  const text = asText(file())
  const config = read(text)
  expect(config.digest).toBe(`sha256:${sha256Hex(text)}`)
  expect(config.limits.idle_seconds).toBe(120)
  expect(JSON.stringify([...config.providers.values()])).not.toContain('sk-live')
})

test.each([
  ['an unknown key', set('listen.prot', 1), 'listen.prot'],
  ['no worker', set('workers', 0), 'workers'],
  ['too many workers', set('workers', 65), 'workers'],
  ['part of a worker', set('workers', 1.5), 'workers'],
  ['an unknown section', set('listne', {}), 'listne'],
  ['a number as text', set('listen.port', 'eight'), 'listen.port'],
  ['a port out of range', set('listen.port', 70_000), 'listen.port'],
  [
    'a keyset of more than seven days',
    set('enclave.keyset_lifetime_seconds', 700_000),
    'enclave.keyset_lifetime_seconds',
  ],
  ['a secret in the file', set('providers.0.api_key', 'sk-live-secret'), 'providers.0.api_key'],
  ['an origin without TLS', set('providers.0.origin', 'http://127.0.0.1:1'), 'providers.0.origin'],
  ['an origin with a path', set('providers.0.origin', 'https://a/b'), 'providers.0.origin'],
  [
    'plain HTTP off loopback',
    set('providers.2.base_url', 'http://api.example'),
    'providers.2.base_url',
  ],
  [
    'a user in a URL',
    set('providers.2.base_url', 'https://u:p@api.example'),
    'providers.2.base_url',
  ],
  [
    'a query in a URL',
    set('providers.2.base_url', 'https://api.example/?k=sk-live-secret'),
    'providers.2.base_url',
  ],
  ['no workload', set('providers.0.policy', {}), 'providers.0.policy'],
  ['a policy that is none', set('providers.0.policy', { workload: 'some' }), 'providers.0.policy'],
  ['two providers of one id', set('providers.1.id', 'tee'), 'providers.1.id'],
  [
    'an unknown provider',
    set('models.0.routes.0.provider', 'nobody'),
    'models.0.routes.0.provider',
  ],
  [
    'an attested model on a plain provider',
    set('models.0.routes.0.provider', 'plain'),
    'models.0.routes.0.provider',
  ],
  [
    'a plain model on an attested provider',
    set('models.3.routes.0.provider', 'tee'),
    'models.3.routes.0.provider',
  ],
  ['a model listed twice', set('models.1.name', 'secure'), 'models.1.name'],
  ['an alias that is a model', set('models.0.aliases', ['resilient']), 'models.0.aliases.0'],
  ['an alias that is its own name', set('models.0.aliases', ['secure']), 'models.0.aliases.0'],
  ['an alias given twice', set('models.0.aliases', ['a', 'a']), 'models.0.aliases.1'],
  ['a boolean for padding', set('models.0.padding', true), 'models.0.padding'],
  ['an unknown order', set('models.0.order', 'price'), 'models.0.order'],
  ['a key for an unknown model', set('keys.2.models', ['nothing']), 'keys.2.models.0'],
  ['a key that is no digest', set('keys.0.sha256', 'sk-live-secret'), 'keys.0.sha256'],
  ['a boolean for a security choice', set('keys.0.plain_models', true), 'keys.0.plain_models'],
])('%s is reported at its path, without values', (_name, text, path) => {
  const problems = problemsOf(text)
  expect(problems.map((problem) => problem.path)).toContain(path)
  expect(JSON.stringify(problems)).not.toContain('sk-live')
  expect(problems.every(({ hint }) => hint.length > 5)).toBe(true)
})

test('frames of attested models are padded unless the file says otherwise', () => {
  const padded = (text: string) => [...read(text).models.values()].map(({ padding }) => padding)
  expect(padded(asText(file()))).toEqual([true, true, true, false, false, true])
  expect(padded(set('models.0.padding', 'off'))[0]).toBe(false)
  expect(padded(set('models.3.padding', 'on'))[3]).toBe(true)
})

test('the description says what streams and caches give away', () => {
  const sentences = (text: string) => describeConfig(read(text)).join('\n')
  expect(sentences(asText(file()))).not.toMatch(/Model secure.*UNPROVEN/)
  expect(sentences(set('models.0.padding', 'off'))).toMatch(/Model secure: UNPROVEN, .*token/)
  expect(sentences(set('models.0.cache_salt', 'off'))).toMatch(/Model secure: UNPROVEN, .*cache/)
})

test('a reference that leads nowhere is reported', () => {
  const paths = problemsOf(asText(file()), {}).map(({ path }) => path)
  expect(paths).toContain('providers.0.api_key')
  const missing = set('providers.0.api_key', { file: '/nonexistent/key' })
  expect(problemsOf(missing)).toEqual([
    { path: 'providers.0.api_key', hint: 'the file is missing or empty' },
  ])
})

test('every mistake is reported at once', () => {
  const document = file()
  Object.assign(document.listen, { port: 'x', extra: 1 })
  expect(problemsOf(asText(document))).toHaveLength(2)
})

describe('hostile YAML', () => {
  const bomb = `a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n`
  test.each([
    ['an alias', bomb],
    ['a duplicate key', 'listen: {}\nlisten: {}\n'],
    ['a broken document', 'listen: [sk-live'],
    ['two documents', 'a: 1\n---\nb: 2\n'],
    ['an unknown tag', 'a: !sk-live 1\n'],
    ['more than a mebibyte', `# ${'x'.repeat(1 << 20)}\n`],
    ['nothing', ''],
  ])('%s is a configuration error', (_name, text) => {
    const problems = problemsOf(text)
    expect(problems.length).toBeGreaterThan(0)
    expect(JSON.stringify(problems)).not.toContain('sk-live')
  })
})

test('the description says what stays unproven', () => {
  const sentences = describeConfig(read(asText(file()))).join('\n')
  expect(sentences).toMatch(/Provider tee.* UNPROVEN: workload any/)
  expect(sentences).toMatch(/TEST root/)
  expect(sentences).toMatch(/Provider plain .* UNPROVEN/)
  const pinned = set('providers.0.policy', { workload: pinnedRow('ab'.repeat(48)) })
  expect(describeConfig(read(pinned)).join('\n')).toMatch(
    /Provider tee.*os_known_good: demands measurements that this file lists/,
  )
})

test('the description warns of a quote source that the launch contract forbids', () => {
  const sentences = (check: string) =>
    describeConfig(read(set('enclave', { quote_source: 'configfs-tsm', self_check: check })))
  expect(sentences('enforce').join('\n')).toContain('WILL NOT START')
  expect(sentences('report').join('\n')).not.toContain('WILL NOT START')
})

test('several processes are asked for by number, and cannot keep sessions in one file', () => {
  const of = (workers: number, path: string | null) =>
    asText({ ...file(), workers, sessions: { path } })
  expect(read(asText(file())).workers).toBe(1)
  expect(describeConfig(read(of(1, '/data/s.db'))).join('\n')).not.toContain('launch.sh --workers')
  const several = read(of(4, null))
  expect(several.workers).toBe(4)
  expect(describeConfig(several).join('\n')).toContain('4 processes')
  expect(describeConfig(several).join('\n')).toContain('launch.sh --workers')
  const [problem, ...others] = problemsOf(of(2, '/data/s.db'))
  expect(problem?.path).toBe('sessions.path')
  expect(problem?.hint).toContain('workers: 1')
  expect(others).toEqual([])
})

test('config.example.yaml is valid', () => {
  const text = readFileSync(new URL('../../config.example.yaml', import.meta.url), 'utf8')
  const named = [...text.matchAll(/\{ env: (\w+) \}/g)].map(([, name]) => [name, 'x'])
  const config = parseConfig(text, Object.fromEntries(named), () => 'y')
  expect([...config.models.keys()]).toEqual(['example/confidential-model', 'ordinary-model'])
})

test('the software name is the package’s', () => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  expect(SOFTWARE).toBe(`vouchgate/${String(member(JSON.parse(text), 'version'))}`)
})
