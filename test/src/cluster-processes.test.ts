import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parsePolicy } from '@vouchgate/attestation'
import OpenAI from 'openai'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { stringify } from 'yaml'
import { checkReceipt, pcsCollateral, verifiedFetch, verifyGateway } from '../../client/index.ts'
import { systemClock } from '../../enclave/index.ts'
import { startQuoteAgent } from '../../enclave/quote-agent.ts'
import { jsonOf, running, spawned, type Running } from '../cli/console.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import { createTeeVendor, type PcsServer } from '../support/tee-vendor.ts'
import { certificateAt } from './cluster-world.ts'
import { eventOf, member, sha256Hex } from './harness.ts'

/* `vouchgate serve` with two workers, as an operator starts it: three processes, and clients of other makes. */

const KEY = 'vg-cluster-test-key'
const CANARY = 'canary-prompt-91b2'
const SECRET = 'upstream-secret-c3d1'
/** For what takes a moment on a machine that is busy with other tests. */
const WAIT = { timeout: 15_000 }
const folder = mkdtempSync(join(tmpdir(), 'vouchgate-cluster-'))
const vendor = createTeeVendor({ now: systemClock.now() })
const path = (name: string): string => join(folder, name)
const policy = { trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' }

let model: ModelServer
let quotes: Server
let pcs: PcsServer
let gateway: Running
let url = ''
let admin = ''

function configText(): string {
  const aci = { kind: 'aci', origin: model.origin, api_key: { env: 'UPSTREAM' }, policy }
  const document = {
    workers: 2,
    listen: { port: 0 },
    admin: { port: 0 },
    limits: { drain_seconds: 5 },
    collateral: { pcs_url: pcs.url, root_crl_url: pcs.rootCrlUrl },
    enclave: { quote_source: 'dstack', dstack_socket: path('quote.sock'), self_check: 'report' },
    providers: [{ id: 'tee', ...aci }],
    models: [
      {
        name: 'secure',
        confidentiality: 'attested',
        routes: [{ provider: 'tee', model: 'test-model' }],
      },
    ],
    keys: [{ id: 'test', team: 'test', sha256: sha256Hex(KEY), models: '*' }],
  }
  return stringify(document, { aliasDuplicateObjects: false })
}

const serve = (): Running =>
  running(['serve', '--config', path('config.yaml')], { cwd: folder, env: { UPSTREAM: SECRET } })

beforeAll(async () => {
  model = await startModelServer({ vendor, clock: systemClock })
  quotes = await startQuoteAgent({ socketPath: path('quote.sock'), source: vendor.quoteSource() })
  pcs = await vendor.pcsServer()
  writeFileSync(path('config.yaml'), configText())
  writeFileSync(path('policy.yaml'), stringify(policy))
  gateway = serve()
  const { port } = await gateway.line(/"started"/)
  const adminAt = await gateway.line(/"admin_started"/)
  url = `https://127.0.0.1:${String(port)}`
  admin = `http://127.0.0.1:${String(adminAt['port'])}`
  const allReady = async (): Promise<void> => {
    const answers = await times(6, () => fresh('/readyz'))
    if (!answers.every(({ status }) => status === 200)) throw new Error('not ready')
  }
  await vi.waitFor(allReady, WAIT)
}, 30_000)

afterAll(async () => {
  gateway.child.kill('SIGKILL')
  quotes.close()
  await pcs.close()
  await model.close()
  rmSync(folder, { recursive: true })
})

/** On a connection of its own, which the leader gives to the next worker. */
async function fresh(where: string, given: { key?: string; body?: unknown } = {}) {
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  try {
    const { key, body } = given
    const response = await request(url + where, {
      dispatcher: agent,
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        'content-type': 'application/json',
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.body.text()
    return { status: response.statusCode, headers: response.headers, text }
  } finally {
    await agent.close()
  }
}

const chat = (extra: object = {}) =>
  fresh('/v1/chat/completions', {
    key: KEY,
    body: { model: 'secure', messages: [{ role: 'user', content: CANARY }], ...extra },
  })

const times = <T>(count: number, each: () => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, each))

/** Which workers wrote a line of this event. */
const workersOf = (event: string): Set<unknown> =>
  new Set(
    gateway.output
      .filter((line) => line.includes(`"${event}"`))
      .map((line) => member(JSON.parse(line), 'worker')),
  )

const started = () =>
  gateway.output
    .filter((line) => line.includes('"worker_started"'))
    .map((line): unknown => JSON.parse(line))
    .map((line) => ({ worker: member(line, 'worker'), pid: Number(member(line, 'pid')) }))

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('both workers show one certificate and one keyset', async () => {
  const digests = await times(
    20,
    async () => (await fresh('/healthz')).headers['x-aci-keyset-digest'],
  )
  expect(new Set(digests).size).toBe(1)
  const certificates = await times(20, () => certificateAt(url))
  expect(new Set(certificates).size).toBe(1)
  await expect.poll(() => workersOf('request_done').size, WAIT).toBe(2)
})

test('one round of evidence is collected, and both have its session', async () => {
  const listed = await times(10, async () => (await fresh('/v1/aci/sessions')).text)
  expect(new Set(listed).size).toBe(1)
  expect(model.requests.filter(({ path: asked }) => asked.includes('attestation')).length).toBe(1)
})

test('a pinned session is accepted on every connection', async () => {
  const [, id] = /"session_id":"([0-9a-f]{64})"/.exec((await fresh('/v1/aci/sessions')).text) ?? []
  const answers = await times(20, () => chat({ provider: { aci_session_ids: [id] } }))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  await expect.poll(() => workersOf('prompt_done').size, WAIT).toBe(2)
})

test('a receipt is found on every connection, by its id and by that of the completion', async () => {
  const answer = await chat()
  const id = String(answer.headers['x-receipt-id'])
  const chatId = String(member(JSON.parse(answer.text), 'id'))
  for (const each of [id, chatId]) {
    const found = await times(6, () => fresh(`/v1/aci/receipts/${each}`, { key: KEY }))
    expect(new Set(found.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(found.map(({ text }) => text)).size).toBe(1)
    const others = await times(6, () => fresh(`/v1/aci/receipts/${each}`, { key: 'other' }))
    expect(new Set(others.map(({ status }) => status))).toEqual(new Set([404]))
  }
})

test('the official SDK works over a client that verifies, and its receipt holds', async () => {
  const options = {
    policy: parsePolicy(policy),
    clock: systemClock,
    pcs: pcsCollateral({
      baseUrl: pcs.url,
      rootCrlUrl: pcs.rootCrlUrl,
      timeoutMs: 5000,
      clock: systemClock,
    }),
  }
  const send = verifiedFetch(await verifyGateway(url, options), options)
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, fetch: send })
  const messages = [{ role: 'user' as const, content: CANARY }]
  const answers = await times(6, () =>
    openai.chat.completions.create({ model: 'secure', messages }),
  )
  expect(new Set(answers.map(({ choices }) => choices[0]?.message.content))).toEqual(
    new Set([`You said: ${CANARY}`]),
  )
  const parts = await openai.chat.completions.create({ model: 'secure', messages, stream: true })
  let text = ''
  for await (const part of parts) text += part.choices[0]?.delta.content ?? ''
  expect(text).toBe(`You said: ${CANARY}`)
  const body = JSON.stringify({ model: 'secure', messages })
  const answer = await send(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    body,
  })
  const receipt = await checkReceipt({
    fetch: send,
    endpoint: send.gateway().endpoint,
    receiptId: answer.headers.get('x-receipt-id') ?? '',
    apiKey: KEY,
    requestBody: Buffer.from(body),
    responseBody: new Uint8Array(await answer.arrayBuffer()),
  })
  expect(eventOf(receipt, 'upstream.verified')).toMatchObject({ result: 'verified' })
  await send.close()
})

test('the command line verifies it', async () => {
  const deep = ['--deep', '--upstream-policy', path('policy.yaml')]
  const argv = ['verify', url, '--policy', path('policy.yaml'), ...deep, '--json']
  expect(jsonOf(await spawned(argv))).toMatchObject({ ok: true, workload: 'any' })
})

test('the admin listener shows the sums of both', async () => {
  const metrics = await (await fetch(`${admin}/metrics`)).text()
  const prompts = gateway.output.filter((line) => line.includes('"prompt_done"')).length
  expect(metrics).toContain(`vouchgate_prompts_total{end="complete",code="none"} ${prompts}\n`)
  expect(metrics).toContain('vouchgate_workers 2\n')
  const ready = await fetch(`${admin}/readyz`)
  expect(ready.status).toBe(200)
  expect(await ready.json()).toMatchObject({
    workers: { configured: 2, serving: 2 },
    providers: { tee: { state: 'verified' } },
  })
})

test('a worker that is killed is replaced by one that stands where the others do', async () => {
  const [, id] = /"session_id":"([0-9a-f]{64})"/.exec((await fresh('/v1/aci/sessions')).text) ?? []
  const [first] = started()
  const before = gateway.output.length
  process.kill(first?.pid ?? 0, 'SIGKILL')
  expect(await gateway.line(/"worker_ended"/, before)).toMatchObject({
    worker: first?.worker,
    code: null,
    signal: 'SIGKILL',
  })
  expect((await chat()).status).toBe(200)
  const { worker } = await gateway.line(/"worker_serving"/, before)
  expect(worker).toBe(3)
  const answers = await times(20, () => chat({ provider: { aci_session_ids: [id] } }))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(new Set(await times(10, () => certificateAt(url))).size).toBe(1)
  await expect.poll(() => workersOf('prompt_done'), WAIT).toContain(3)
  expect(model.requests.filter(({ path: asked }) => asked.includes('attestation')).length).toBe(1)
})

test('SIGTERM lets a stream end, and nothing is left over', async () => {
  model.chat.chunkDelayMs = 100
  const streaming = chat({ stream: true })
  await expect
    .poll(() => Buffer.from(model.requests.at(-1)?.body ?? []).toString(), WAIT)
    .toContain('"stream":true')
  const pids = started().map(({ pid }) => pid)
  gateway.child.kill('SIGTERM')
  const [exit] = await once(gateway.child, 'exit')
  expect(exit).toBe(0)
  expect((await streaming).text.endsWith('data: [DONE]\n\n')).toBe(true)
  model.chat.chunkDelayMs = 0
  expect(pids.filter(isAlive)).toEqual([])
  const printed = gateway.output.join('\n')
  for (const secret of [CANARY, KEY, SECRET, 'PRIVATE KEY']) expect(printed).not.toContain(secret)
})

test('without their leader the workers end', async () => {
  gateway = serve()
  await gateway.line(/"started"/)
  const pids = started().map(({ pid }) => pid)
  expect(pids.filter(isAlive).length).toBe(2)
  gateway.child.kill('SIGKILL')
  await expect.poll(() => pids.filter(isAlive), WAIT).toEqual([])
})
