import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'

/** Which folder may import from which (docs/decisions.md). Everything else is an error. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  attestation: ['attestation'],
  enclave: ['enclave', 'attestation'],
  client: ['client', 'attestation'],
  src: ['src', 'enclave', 'client', 'attestation'],
  cli: ['cli', 'src', 'enclave', 'client', 'attestation'],
}
const MAX_LINES = 300

/** Files that may open a `Sensitive`: the wire, and the parsers of what comes over it. */
const MAY_EXPOSE = [
  'src/prompt.ts',
  'src/providers/verify.ts',
  'src/upstream/seal-near.ts',
  'src/upstream/seal-ehbp.ts',
  'src/providers/chutes-tokens.ts',
  'src/upstream/seal-chutes.ts',
  'src/upstream/credentials.ts',
  'src/telemetry/otlp.ts',
  'src/upstream/send.ts',
]

const isSource = (file: string): boolean => file.endsWith('.ts') && !file.includes('dist/')

const sources = Object.keys(MAY_IMPORT)
  .flatMap((home) =>
    readdirSync(home, { recursive: true, encoding: 'utf8' }).map((file) => `${home}/${file}`),
  )
  .filter(isSource)

const read = (file: string): string => readFileSync(file, 'utf8')
const withoutComments = (text: string): string =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')

const withoutTypeImports = (text: string): string =>
  withoutComments(text).replaceAll(/import type [^\n]*\n/g, '')

function importedFolders(file: string, text: string): string[] {
  const [home = ''] = file.split('/')
  const depth = file.split('/').length - 2
  const relative = [...text.matchAll(/from '((?:\.\.\/)+)([a-z]+)\//g)]
    .filter(([, up = '']) => up.length / 3 > depth)
    .map(([, , folder = '']) => folder)
  return text.includes("from '@vouchgate/attestation'")
    ? [...relative, 'attestation']
    : [home, ...relative]
}

describe.each(sources)('%s', (file) => {
  const text = read(file)
  const code = withoutComments(text)

  test('imports only what its folder may know', () => {
    const [home = ''] = file.split('/')
    for (const folder of importedFolders(file, text)) expect(MAY_IMPORT[home]).toContain(folder)
  })

  test('stays small', () => {
    expect(text.split('\n').length).toBeLessThanOrEqual(MAX_LINES)
  })

  test('switches no check off', () => {
    expect(text).not.toMatch(/@ts-(?:ignore|nocheck|expect-error)|(?:ox|es)lint-disable/)
    expect(code).not.toMatch(/\bconsole\s*\./)
  })

  test('leaves nothing to do later', () => {
    expect(text).not.toMatch(/\b(?:TODO|FIXME|XXX)\b/)
  })
})

test('the linter forbids any, casts, console and empty catches', () => {
  const { rules }: { rules: Record<string, unknown> } = JSON.parse(read('.oxlintrc.json'))
  expect(rules).toMatchObject({
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/consistent-type-assertions': ['error', { assertionStyle: 'never' }],
    'no-console': 'error',
    'no-empty': ['error', { allowEmptyCatch: false }],
  })
})

test('attestation/ knows no platform: no node: import, no Buffer, no process', () => {
  for (const file of sources.filter((name) => name.startsWith('attestation/'))) {
    expect(withoutComments(read(file)), file).not.toMatch(/'node:|\bBuffer\b|\bprocess\./)
  }
})

test('a prompt is opened in a short list of files', () => {
  const opening = sources.filter((file) =>
    /\bexpose\b.*from/.test(read(file).replaceAll('\n', ' ')),
  )
  expect(opening.filter((file) => !MAY_EXPOSE.includes(file))).toEqual([])
})

test('one file may load SQLite: the permission model does not keep it from writing', () => {
  const loading = sources.filter((file) =>
    /['"](?:node:)?sqlite['"]/.test(withoutTypeImports(read(file))),
  )
  expect(loading).toEqual(['src/session-database.ts'])
})

const makers = (call: string): string[] =>
  sources.filter((file) => withoutComments(read(file)).includes(call))

test('only a verify.ts makes what is genuine, only an accept.ts what is accepted', () => {
  expect(makers('new VerifiedAciService(')).toEqual(['attestation/verify.ts'])
  expect(makers('new VerifiedEndpoint(')).toEqual(['attestation/providers/appraise.ts'])
  expect(makers('new GenuineQuote(')).toEqual(['attestation/tdx/verify.ts'])
  expect(makers('new AcceptedQuote(')).toEqual(['attestation/tdx/accept.ts'])
  expect(makers('new GenuineRim(')).toEqual(['attestation/nvidia/rim/verify.ts'])
  expect(makers('new GenuineNrasVerdict(')).toEqual(['attestation/nvidia/nras/verify.ts'])
  expect(makers('new GenuineGpuDevice(')).toEqual(['attestation/nvidia/verify.ts'])
  expect(makers('new GenuineGpuEvidence(')).toEqual(['attestation/nvidia/verify.ts'])
  expect(makers('new AcceptedGpuEvidence(')).toEqual(['attestation/nvidia/accept.ts'])
  expect(makers('new GpuBinding(')).toEqual(['attestation/nvidia/binding.ts'])
})

test('what is served knows nothing of simulations', () => {
  for (const file of sources.filter((name) => !name.startsWith('cli/'))) {
    expect(withoutComments(read(file)), file).not.toMatch(/simulat|fake|mock/i)
  }
})

test('dependencies are exact', () => {
  for (const file of ['package.json', 'attestation/package.json']) {
    const manifest: Record<string, unknown> = JSON.parse(read(file))
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies']) {
      for (const version of Object.values(manifest[kind] ?? {})) {
        expect(version).toMatch(/^\d+\.\d+\.\d+$/)
      }
    }
  }
})
