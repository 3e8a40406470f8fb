import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { systemClock } from '../../enclave/index.ts'
import { startQuoteAgent } from '../../enclave/quote-agent.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { createTeeVendor, type PcsServer } from '../support/tee-vendor.ts'
import { jsonOf, running, spawned, type Running } from './console.ts'

/*
 * Three processes as an operator and a client start them: `serve` takes its quotes from a guest agent's socket
 * (with the simulated vendor behind it), `connect` verifies it, and the official SDK talks to `connect`.
 */

const KEY = 'vg-serve-test-key'
const CANARY = 'canary-prompt-5d0e'
const SECRET = 'upstream-secret-77aa'
const folder = mkdtempSync(join(tmpdir(), 'vouchgate-serve-'))
const vendor = createTeeVendor({ now: systemClock.now() })
const path = (name: string): string => join(folder, name)
const policy = { trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' }

let model: ModelServer
let agent: Server
let pcs: PcsServer
let gateway: Running
let proxy: Running

const start = (argv: readonly string[], env: Record<string, string> = {}): Running =>
  running(argv, { cwd: folder, env })

beforeAll(async () => {
  model = await startModelServer({ vendor, clock: systemClock })
  agent = await startQuoteAgent({ socketPath: path('quote.sock'), source: vendor.quoteSource() })
  pcs = await vendor.pcsServer()
  const config = {
    listen: { port: 0 },
    collateral: { pcs_url: pcs.url, root_crl_url: pcs.rootCrlUrl },
    enclave: { quote_source: 'dstack', dstack_socket: path('quote.sock'), self_check: 'report' },
    providers: [{ id: 'tee', kind: 'aci', origin: model.origin, api_key: { env: 'KEY' }, policy }],
    models: [
      {
        name: 'secure',
        confidentiality: 'attested',
        routes: [{ provider: 'tee', model: 'test-model' }],
      },
    ],
    keys: [
      {
        id: 'test',
        team: 'test',
        sha256: createHash('sha256').update(KEY).digest('hex'),
        models: '*',
      },
    ],
  }
  writeFileSync(path('config.yaml'), stringify(config, { aliasDuplicateObjects: false }))
  writeFileSync(path('policy.yaml'), stringify(policy))
  gateway = start(['serve', '--config', path('config.yaml')], { KEY: SECRET })
})

afterAll(async () => {
  proxy.child.kill()
  gateway.child.kill()
  agent.close()
  await pcs.close()
  await model.close()
  rmSync(folder, { recursive: true })
})

test('the official SDK completes and streams through connect and serve', async () => {
  const { port } = await gateway.line(/"started"/)
  const url = `https://127.0.0.1:${String(port)}`
  const verified = await spawned(['verify', url, '--policy', path('policy.yaml'), '--json'])
  expect(jsonOf(verified)).toMatchObject({ ok: true, workload: 'any' })
  proxy = start([
    'connect',
    url,
    '--policy',
    path('policy.yaml'),
    '--listen',
    '127.0.0.1:0',
    '--json',
  ])
  const { baseUrl } = await proxy.line(/baseUrl/)
  const openai = new OpenAI({ baseURL: String(baseUrl), apiKey: KEY })
  const messages = [{ role: 'user' as const, content: CANARY }]
  const whole = await openai.chat.completions.create({ model: 'secure', messages })
  expect(whole.choices[0]?.message.content).toBe(`You said: ${CANARY}`)
  const parts = await openai.chat.completions.create({ model: 'secure', messages, stream: true })
  let text = ''
  for await (const part of parts) text += part.choices[0]?.delta.content ?? ''
  expect(text).toBe(`You said: ${CANARY}`)
})

test('the processes end on SIGTERM, and have printed and written no prompt and no key', async () => {
  for (const { child } of [proxy, gateway]) {
    child.kill('SIGTERM')
    const [exit] = await once(child, 'exit')
    expect(exit).toBe(0)
  }
  expect(gateway.output.join('')).toContain('"stopped"')
  const printed = [...gateway.output, ...proxy.output].join('\n')
  expect(printed).toContain('prompt_done')
  expect(printed).not.toContain(CANARY)
  expect(printed).not.toContain(KEY)
  expect(printed).not.toContain(SECRET)
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  expect(files.toSorted()).toEqual(['config.yaml', 'policy.yaml', 'quote.sock'])
  expect(readFileSync(path('config.yaml'), 'utf8')).not.toContain(SECRET)
})
