import { expect, test } from 'vitest'
import { z } from 'zod'
import { systemClock } from '../../enclave/index.ts'
import { jsonOf, spawned, vouchgate } from './console.ts'

const document = z.strictObject({
  ok: z.literal(true),
  steps: z.array(
    z.strictObject({ id: z.string(), ok: z.literal(true), detail: z.string().min(1) }),
  ),
  gateway: z.strictObject({ url: z.url(), keysetDigest: z.string().startsWith('sha256:') }),
  proxy: z.strictObject({ url: z.url() }),
  apiKey: z.string().min(16),
  model: z.string(),
  policies: z.strictObject({ gatewayPolicy: z.string(), providerPolicy: z.string() }),
})

test('demo --once --json holds every step, attacks included, as a process of its own', async () => {
  const outcome = await spawned(['demo', '--once', '--json'])
  expect(outcome.err).toBe('')
  expect(outcome.exit).toBe(0)
  expect(document.parse(jsonOf(outcome)).steps.map(({ id }) => id)).toEqual([
    'vendor',
    'providers',
    'gateway',
    'gateway-verified',
    'session-verified',
    'proxy',
    'completion',
    'stream',
    'receipt',
    'attack-relay',
    'attack-debug-provider',
    'attack-receipt',
  ])
})

test('while the demo is up, its examples work', async () => {
  const clock = systemClock
  let printed = ''
  const answers: unknown[] = []
  const { exit } = await vouchgate(['demo', '--json'], {
    clock,
    out: (text) => {
      printed += text
    },
    stopped: async () => {
      const { gateway, proxy, apiKey, model, policies } = document.parse(JSON.parse(printed))
      const response = await fetch(`${proxy.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello!' }] }),
      })
      answers.push(await response.json())
      const { gatewayPolicy, providerPolicy } = policies
      const verify = ['verify', gateway.url, '--policy', gatewayPolicy, '--json']
      const deep = ['--deep', '--upstream-policy', providerPolicy]
      answers.push(jsonOf(await vouchgate([...verify, ...deep], { clock })))
    },
  })
  expect(exit).toBe(0)
  expect(answers).toMatchObject([
    { choices: [{ message: { content: 'You said: Hello!' } }] },
    { ok: true, proven: 'identity', sessions: [{ ok: true, proven: 'identity' }] },
  ])
})

test('for a person it says that the hardware is simulated, and shows what to paste', async () => {
  const { out } = await vouchgate(['demo', '--once'], { clock: systemClock })
  expect(out).toMatch(/^! SIMULATED HARDWARE/)
  expect(out).toContain('curl -s http://127.0.0.1:')
  expect(out).toContain('new OpenAI({ baseURL')
  expect(out).toContain('npm run -s cli -- verify https://127.0.0.1:')
  expect(out).toContain('Every step held.')
  expect(out).not.toContain('✗')
})
