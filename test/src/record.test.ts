import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readCapture } from '../../client/index.ts'
import { jsonOf, vouchgate } from '../cli/console.ts'
import { CANARY, prompt, startWorld, UPSTREAM_SECRET, type World } from './harness.ts'

let folder: string
let world: World
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'record-'))
})
afterEach(async () => {
  await world.close()
  rmSync(folder, { recursive: true })
})

const captures = (): string[] => readdirSync(folder).filter((name) => name.startsWith('aci_'))

test('what verifications fetch is kept, without credentials and prompts, and can be judged', async () => {
  world = await startWorld({ recordTo: folder })
  expect((await world.chat(prompt('secure'))).status).toBe(200)
  await world.gateway.tick()
  const [name = '', ...others] = captures()
  expect(others.length).toBeGreaterThan(0)
  expect(await readCapture(join(folder, name))).toMatchObject({ provider: 'aci' })
  const policy = join(folder, 'policy.json')
  const trusted_root = { test_pki_pem: world.vendor.rootPem }
  writeFileSync(policy, JSON.stringify({ trusted_root, workload: 'any' }))
  const outcome = await vouchgate([
    'appraise',
    '--capture',
    join(folder, name),
    '--policy',
    policy,
    '--json',
  ])
  expect(jsonOf(outcome)).toMatchObject({ accepted: true, nonceFresh: true, error: null })
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(?:json|body)$/.test(file))
    .map((file) => readFileSync(join(folder, file), 'latin1'))
  expect(files.length).toBeGreaterThan(2)
  for (const text of files) {
    expect(text).not.toContain(CANARY)
    expect(text).not.toContain(UPSTREAM_SECRET)
  }
})

test('a folder that cannot be written stops no prompt', async () => {
  const taken = join(folder, 'file')
  writeFileSync(taken, '')
  world = await startWorld({ recordTo: taken })
  expect((await world.chat(prompt('secure'))).status).toBe(200)
  expect(world.logs.some((line) => line.includes('capture_failed'))).toBe(true)
})
