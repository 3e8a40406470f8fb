import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import type { Server } from 'node:http'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseQuote } from '@vouchgate/attestation'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { configfsTsmSource } from '../../enclave/configfs-tsm.ts'
import { dstackSource } from '../../enclave/index.ts'
import { startQuoteAgent } from '../../enclave/quote-agent.ts'
import { EnclaveError, type QuoteSource } from '../../enclave/quote-source.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { fakeKernel } from './fake-kernel.ts'

const vendor = createTeeVendor()
const reportData = new Uint8Array(64).fill(0x5a)
const AGENT = new URL('../../enclave/quote-agent.ts', import.meta.url).pathname

let folder = ''
let socketPath = ''
let server: Server | null = null
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchgate-agent-'))
  socketPath = join(folder, 'quote.sock')
})
afterEach(async () => {
  server?.closeAllConnections()
  server?.close()
  server = null
  await rm(folder, { recursive: true })
})

async function startAgent(source: QuoteSource) {
  server = await startQuoteAgent({ socketPath, source })
}

const failing = (error: Error): QuoteSource => ({
  kind: 'test',
  async quote() {
    throw error
  },
})

const run = (...args: string[]) =>
  spawn(process.execPath, ['--conditions=vouchgate-source', AGENT, ...args], { stdio: 'ignore' })

async function ask(method: string, path: string, body: string) {
  const sent = request({ socketPath, method, path }).end(body)
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response) text += String(chunk)
  return { status: Number(response.statusCode), text, headers: response.headers }
}

describe('quote agent', () => {
  test('gives quotes of configfs-tsm to a dstack client', async () => {
    const kernel = fakeKernel((asked) => vendor.quote({ reportData: asked }))
    await startAgent(configfsTsmSource({ files: kernel.files, pause: kernel.pause }))
    const { quote, eventLog } = await dstackSource({ socketPath }).quote(reportData)
    expect(parseQuote(quote).body.report.reportData).toEqual(reportData)
    expect(eventLog).toBeNull()
  })

  test('pads shorter report data with zeros on the right', async () => {
    await startAgent(vendor.quoteSource())
    const { status, text } = await ask('POST', '/GetQuote', '{"report_data":"ff"}')
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({ report_data: `ff${'00'.repeat(63)}` })
  })

  test.each([
    ['POST /GetKey', '{}', 404, 'not_found'],
    ['GET /GetQuote', '', 405, 'method_not_allowed'],
    ['POST /GetQuote', '', 400, 'invalid_request'],
    ['POST /GetQuote', 'CANARY', 400, 'invalid_request'],
    ['POST /GetQuote', '[]', 400, 'invalid_request'],
    ['POST /GetQuote', '{"report_data":7}', 400, 'invalid_request'],
    ['POST /GetQuote', '{"report_data":"CANARY"}', 400, 'invalid_request'],
    ['POST /GetQuote', `{"report_data":"${'00'.repeat(65)}"}`, 400, 'invalid_request'],
    ['POST /GetQuote', `{"report_data":"00"}${' '.repeat(1024)}`, 400, 'invalid_request'],
  ])('%s with %j is %i %s', async (route, body, status, error) => {
    const [method = '', path = ''] = route.split(' ')
    await startAgent(vendor.quoteSource())
    const answer = await ask(method, path, body)
    expect([answer.status, answer.text]).toEqual([status, JSON.stringify({ error })])
  })

  test.each([
    [new EnclaveError('quote_busy', 5), 429, '5'],
    [new EnclaveError('quote_timeout'), 504, undefined],
    [new EnclaveError('quote_unavailable'), 503, undefined],
    [new Error('CANARY'), 500, undefined],
  ])('a source that fails is told by its code alone (%#)', async (error, status, retryAfter) => {
    await startAgent(failing(error))
    const answer = await ask('POST', '/GetQuote', '{"report_data":""}')
    expect(answer.status).toBe(status)
    expect(answer.headers['retry-after']).toBe(retryAfter)
    expect(answer.text).not.toContain('CANARY')
  })

  test('a path where nothing can listen is an error', async () => {
    socketPath = join(folder, 'absent', 'quote.sock')
    await expect(startAgent(vendor.quoteSource())).rejects.toMatchObject({ syscall: 'listen' })
  })
})

describe('quote agent process', () => {
  test('listens for its own user alone, answers, and ends on SIGTERM', async () => {
    const agent = run('--socket', socketPath, '--tsm-root', join(folder, 'tsm'))
    const ended = once(agent, 'exit')
    for (let turn = 0; turn < 100 && (await stat(socketPath).catch(() => null)) === null; turn++) {
      await sleep(50)
    }
    expect((await stat(socketPath)).mode & 0o777).toBe(0o600)
    await expect(dstackSource({ socketPath }).quote(reportData)).rejects.toMatchObject({
      code: 'quote_unavailable',
    })
    agent.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
  })

  test.each([[[]], [['--socket']], [['--other', 'x']]])(
    'wrong usage %j exits with 2',
    async (args) => {
      expect(await once(run(...args), 'exit')).toEqual([2, null])
    },
  )
})
