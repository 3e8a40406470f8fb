import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { jsonOf, spawned, vouchgate } from './console.ts'

const folder = mkdtempSync(join(tmpdir(), 'commands-'))
afterAll(() => rmSync(folder, { recursive: true }))

const COMMANDS = [
  ['demo'],
  ['serve'],
  ['config', 'check'],
  ['verify'],
  ['connect'],
  ['verify-quote'],
  ['verify-gpu'],
  ['verify-receipt'],
  ['verify-session'],
]

test.for(COMMANDS)('%s has help with an example and --json', async (...[command]) => {
  const { exit, out } = await vouchgate([...command, '--help'])
  expect(exit).toBe(0)
  expect(out).toContain('--json')
  expect(out).toContain(`$ vouchgate ${command.join(' ')}`)
})

test('the exit codes and every command are in the main help', async () => {
  const { exit, out } = await vouchgate(['--help'])
  expect(exit).toBe(0)
  expect(out).toContain('10 rejected by verification or policy')
  for (const [command = ''] of COMMANDS) expect(out).toContain(`  ${command}`)
})

test('the version is the one of the software', async () => {
  expect((await vouchgate(['--version'])).out).toMatch(/^vouchgate\/\d+\.\d+\.\d+\n$/)
})

test.for([[[]], [['frobnicate']], [['verify']], [['config']], [['serve']], [['verify', 'a', 'b']]])(
  '%j is wrong usage',
  async ([argv = []]) => {
    const { exit, out, err } = await vouchgate(argv)
    expect(exit).toBe(2)
    expect(out).toBe('')
    expect(err).not.toBe('')
  },
)

test('with --json wrong usage is a document too', async () => {
  const outcome = await vouchgate(['verify-quote', '--json'])
  expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
    2,
    { ok: false, error: { code: 'usage' } },
  ])
})

describe('config check', () => {
  const check = (text: string) => {
    writeFileSync(join(folder, 'config.yaml'), text)
    return vouchgate(['config', 'check', join(folder, 'config.yaml'), '--json'])
  }

  test('every mistake has its place and a hint, and is not quoted', async () => {
    const outcome = await check('listen: {port: canary}\nunknown_one: 1\n')
    expect(outcome.exit).toBe(30)
    expect(jsonOf(outcome)).toMatchObject({ ok: false, error: { code: 'config_malformed' } })
    const { error } = z
      .object({ error: z.object({ problems: z.array(z.object({ path: z.string() })) }) })
      .parse(jsonOf(outcome))
    expect(error.problems.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['listen.port', 'unknown_one']),
    )
    expect(outcome.out).not.toContain('canary')
  })

  test('a configuration that holds is described', async () => {
    const config = {
      enclave: { quote_source: 'dstack' },
      providers: [
        { id: 'p', kind: 'openai', base_url: 'https://p.example/v1', api_key: { env: 'K' } },
      ],
      models: [{ name: 'm', confidentiality: 'plain', routes: [{ provider: 'p', model: 'm' }] }],
      keys: [{ id: 'k', team: 't', sha256: '00'.repeat(32), models: '*' }],
    }
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
    const argv = ['config', 'check', join(folder, 'config.yaml')]
    const outcome = await vouchgate([...argv, '--json'], { env: { K: 'secret-canary' } })
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([0, { ok: true }])
    expect(outcome.out).not.toContain('canary')
    const { out } = await vouchgate(argv, { env: { K: 'x' } })
    expect(out).toContain('Model m is served without a TEE')
  })
})

describe('serve', () => {
  test('a configuration with mistakes does not start', async () => {
    writeFileSync(join(folder, 'config.yaml'), '{}')
    const outcome = await vouchgate(['serve', '--config', join(folder, 'config.yaml'), '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      30,
      { error: { code: 'config_malformed' } },
    ])
  })

  test('an attested provider whose policy names no workload does not start', async () => {
    const config = {
      enclave: { quote_source: 'dstack' },
      providers: [
        { id: 'p', kind: 'aci', origin: 'https://p.example', api_key: { env: 'K' }, policy: {} },
      ],
      models: [{ name: 'm', confidentiality: 'attested', routes: [{ provider: 'p', model: 'm' }] }],
      keys: [{ id: 'k', team: 't', sha256: '00'.repeat(32), models: '*' }],
    }
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify(config))
    const argv = ['serve', '--config', join(folder, 'config.yaml'), '--json']
    const outcome = await vouchgate(argv, { env: { K: 'x' } })
    expect(outcome.exit).toBe(30)
    expect(outcome.out).toContain('workload')
  })
})

test('colour is for terminals alone', async () => {
  const argv = ['verify-session', join(folder, 'absent')]
  const escape = String.fromCharCode(27)
  expect((await vouchgate(argv)).err).not.toContain(escape)
  expect((await vouchgate(argv, { color: true })).err).toContain(escape)
})

test('the executable answers with exit code and streams as the process does', async () => {
  const { exit, out, err } = await spawned(['verify', 'https://gateway.example.com'])
  expect([exit, out]).toEqual([2, ''])
  expect(err).toContain('--policy')
})
