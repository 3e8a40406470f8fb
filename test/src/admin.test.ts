import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isOurs } from '../../src/admin.ts'
import { describeConfig } from '../../src/config/index.ts'
import { startGateway } from '../../src/gateway.ts'
import { fakeClock } from '../support/clock.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { connect, createServer } from 'node:net'
import { configFile, prompt, readConfig, startWorld, type World } from './harness.ts'

const rawGet = async (port: number, path: string, lines: string, version = '1.1') => {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET ${path} HTTP/${version}\r\n${lines}Connection: close\r\n\r\n`)
  let answer = ''
  for await (const chunk of socket) answer += String(chunk)
  return answer
}

let world: World
beforeAll(async () => {
  world = await startWorld()
  await world.gateway.tick()
})
afterAll(() => world.close())

const vendor = createTeeVendor()
const file = () =>
  configFile(vendor, {
    model: 'https://127.0.0.1:1',
    backup: 'https://127.0.0.1:1',
    plain: 'http://127.0.0.1:1',
    plainBackup: 'http://127.0.0.1:1',
    pcs: 'http://127.0.0.1:1',
    rootCrl: 'http://127.0.0.1:1',
  })

describe('the public listener', () => {
  test('says whether it is ready and nothing of who provides', async () => {
    const answer = await world.call('/readyz', { key: null })
    expect(answer.status).toBe(200)
    expect(Object.keys(JSON.parse(answer.text))).toEqual(['status', 'keyset_digest'])
  })

  test('has no counters: they tell of everybody’s traffic', async () => {
    const answer = await world.call('/metrics', { key: null })
    expect([answer.status, answer.at('error.code')]).toEqual([404, 'route_not_found'])
  })
})

describe('the admin listener', () => {
  test('is on loopback and shows counters, readiness and providers', async () => {
    expect(world.gateway.adminUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    await world.chat(prompt('secure'))
    const metrics = await world.admin('/metrics')
    expect(metrics.headers['content-type']).toContain('text/plain')
    expect(metrics.text).toContain('vouchgate_prompts_total{end="complete",code="none"} 1')
    const ready = await world.admin('/readyz')
    expect([ready.status, ready.at('status'), ready.at('providers.tee.state')]).toEqual([
      200,
      'ready',
      'verified',
    ])
    expect((await world.admin('/healthz')).status).toBe(200)
  })

  test.each(['/v1/models', '/v1/chat/completions', '/canary-path', '/%zz'])(
    'has nothing at %s, and quotes nothing',
    async (path) => {
      const answer = await world.admin(path)
      expect([400, 404]).toContain(answer.status)
      expect(answer.text).not.toContain(path)
    },
  )

  test.each(['/metrics', '/readyz', '/healthz', '/nothing'])(
    'tells a page nothing that made its own name lead to %s',
    async (path) => {
      const { port } = new URL(String(world.gateway.adminUrl))
      for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', '']) {
        const answer = await rawGet(Number(port), path, `Host: ${host}\r\n`)
        expect(answer).toMatch(/^HTTP\/1\.1 421 /)
        expect(answer).toContain('"code":"host_not_allowed"')
        expect(answer).not.toContain('evil')
      }
      for (const host of ['localhost', `LOCALHOST:${port}`, '127.0.0.1', `[::1]:${port}`]) {
        expect(await rawGet(Number(port), path, `Host: ${host}\r\n`)).toMatch(/ (?:200|404) /)
      }
      expect(await rawGet(Number(port), path, '', '1.0')).toMatch(/^HTTP\/1\.1 421 /)
    },
  )

  test.each([
    ['metrics.internal:9464', 'metrics.internal', true],
    ['METRICS.internal', 'metrics.internal', true],
    ['x.metrics.internal', 'metrics.internal', false],
    ['10.0.0.5:9464', '10.0.0.5', true],
    ['10.0.0.6:9464', '10.0.0.5', false],
    ['10.0.0.6:9464', '0.0.0.0', true],
    ['[fd00::1]:9464', '::', true],
    ['evil.example', '0.0.0.0', false],
    ['10.0.0.6.evil.example', '::', false],
    ['0.0.0.0', '127.0.0.1', false],
    ['a@localhost', '127.0.0.1', false],
    ['localhost:port', '127.0.0.1', false],
    ['localhost/', '127.0.0.1', false],
    ['[localhost', '127.0.0.1', false],
  ])('named %s where it listens on %s: %s', (header, listening, ours) => {
    expect(isOurs(header, listening)).toBe(ours)
  })

  test('takes no body', async () => {
    const { statusCode, body } = await request(`${world.gateway.adminUrl}/metrics`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"canary":1}',
    })
    expect([400, 404]).toContain(statusCode)
    expect(await body.text()).not.toContain('canary')
  })

  test('is not there by default', async () => {
    const { admin: _, ...rest } = file()
    const config = readConfig(rest)
    expect(config.admin).toEqual({ host: '127.0.0.1', port: null })
    const gateway = await startGateway({
      config,
      source: vendor.quoteSource(),
      clock: fakeClock(),
      log: () => undefined,
      facts: {},
      tickMs: 1_000_000,
    })
    expect(gateway.adminUrl).toBeNull()
    await gateway.close()
  })

  test('whose port is taken keeps the gateway from starting, and nothing is left listening', async () => {
    const taken = createServer()
    await listen(taken)
    const config = readConfig({ ...file(), admin: { port: portOf(taken) } })
    const started = startGateway({
      config,
      source: vendor.quoteSource(),
      clock: fakeClock(),
      log: () => undefined,
      facts: {},
      tickMs: 1_000_000,
    })
    await expect(started).rejects.toThrow('EADDRINUSE')
    await stop(taken)
  })

  test('is not left behind where the public port is taken', async () => {
    const taken = createServer()
    await listen(taken)
    const ports: number[] = []
    const started = startGateway({
      config: readConfig({ ...file(), listen: { host: '127.0.0.1', port: portOf(taken) } }),
      source: vendor.quoteSource(),
      clock: fakeClock(),
      log: (event) => {
        if (event.event === 'admin_started') ports.push(event.port)
      },
      facts: {},
      tickMs: 1_000_000,
    })
    await expect(started).rejects.toThrow('EADDRINUSE')
    expect(ports).toHaveLength(1)
    await expect(request(`http://127.0.0.1:${ports[0]}/healthz`)).rejects.toThrow('ECONNREFUSED')
    await stop(taken)
  })
})

test('config check says what leaves for the operator’s eyes, and warns where anybody could look', () => {
  const say = (extra: object) => describeConfig(readConfig({ ...file(), ...extra })).join('\n')
  expect(say({ admin: {} })).toContain('to nobody')
  expect(say({ admin: { port: 9464 } })).toContain('on 127.0.0.1 port 9464')
  expect(say({ admin: { port: 9464 } })).not.toContain('UNPROVEN: whoever reaches the admin')
  const open = say({ admin: { host: '0.0.0.0', port: 9464 } })
  expect(open).toContain('UNPROVEN: whoever reaches the admin address')
  expect(say({})).toContain('Sends no telemetry.')
  const sent = say({ telemetry: { otlp_url: 'https://otel.example/in' } })
  expect(sent).toContain('no content, to https://otel.example.')
})

test.each([
  ['http to another machine', 'http://otel.example'],
  ['a secret in the query', 'https://otel.example/?token=1'],
  ['a user', 'https://user:secret@otel.example'],
])('telemetry by %s is refused', (_, otlp_url) => {
  expect(() => readConfig({ ...file(), telemetry: { otlp_url } })).toThrow('not valid')
})
