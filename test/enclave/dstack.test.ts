import { createServer, type Server, type ServerResponse } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toHex } from '@vouchgate/attestation'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { dstackSource } from '../../enclave/dstack.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const reportData = new Uint8Array(64).fill(0x5a)

let folder = ''
let server: Server | null = null
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchgate-dstack-'))
})
afterEach(async () => {
  server?.closeAllConnections()
  server?.close()
  server = null
  await rm(folder, { recursive: true })
})

interface Seen {
  method?: string | undefined
  url?: string | undefined
  body: string
}

/** A guest agent that answers in this way. */
async function agent(respond: (response: ServerResponse) => void | Promise<void>): Promise<{
  socketPath: string
  seen: Seen
}> {
  const seen: Seen = { body: '' }
  server = createServer((request, response) => {
    Object.assign(seen, { method: request.method, url: request.url })
    request.setEncoding('utf8').on('data', (chunk: string) => {
      seen.body += chunk
    })
    request.on('end', () => void respond(response))
  })
  const socketPath = join(folder, 'dstack.sock')
  await new Promise<void>((resolve) => {
    server?.listen(socketPath, resolve)
  })
  return { socketPath, seen }
}

const answering = (body: unknown, status = 200) =>
  agent((response) => {
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })

const goodAnswer = async (over: Uint8Array = reportData) => ({
  quote: toHex(await vendor.quote({ reportData: over, padding: 32 })),
  event_log: '[{"imr":3}]',
  report_data: toHex(over),
  vm_config: '{"cpu":4}',
})

describe('dstack guest agent', () => {
  test('gives quote, event log and VM configuration', async () => {
    const { socketPath, seen } = await answering(await goodAnswer())
    const evidence = await dstackSource({ socketPath }).quote(reportData)
    expect(evidence).toMatchObject({ eventLog: '[{"imr":3}]', vmConfig: '{"cpu":4}' })
    expect(seen).toEqual({
      method: 'POST',
      url: '/GetQuote',
      body: JSON.stringify({ report_data: toHex(reportData) }),
    })
  })

  test('an agent without event log has none', async () => {
    const { quote } = await goodAnswer()
    const { socketPath } = await answering({ quote, event_log: '' })
    const evidence = await dstackSource({ socketPath }).quote(reportData)
    expect(evidence).toMatchObject({ eventLog: null, vmConfig: null })
  })

  test('a quote over other report data is quote_mismatch, whatever the answer claims', async () => {
    const stale = await goodAnswer(new Uint8Array(64).fill(0x11))
    const { socketPath } = await answering({ ...stale, report_data: toHex(reportData) })
    await expect(dstackSource({ socketPath }).quote(reportData)).rejects.toMatchObject({
      code: 'quote_mismatch',
    })
  })

  test.each([
    ['text that is not JSON', 'CANARY not json'],
    ['a list', []],
    ['no quote', { event_log: '[]' }],
    ['an empty quote', { quote: '' }],
    ['a quote that is a number', { quote: 7 }],
    ['a quote that is not hex', { quote: 'CANARY' }],
    ['a quote of odd length', { quote: '040' }],
    ['a quote that is no quote', { quote: '0400' }],
    ['two quotes', '{"quote":"04","quote":"05"}'],
  ])('%s is quote_malformed and is not repeated in the error', async (_name, body) => {
    const { socketPath } = await answering(body)
    const error: unknown = await dstackSource({ socketPath })
      .quote(reportData)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'quote_malformed' })
    expect(String(error)).not.toContain('CANARY')
  })

  test('an event log that is not text is quote_malformed', async () => {
    const { socketPath } = await answering({ ...(await goodAnswer()), event_log: [] })
    await expect(dstackSource({ socketPath }).quote(reportData)).rejects.toMatchObject({
      code: 'quote_malformed',
    })
  })

  test.each([
    [429, 'quote_busy'],
    [504, 'quote_timeout'],
    [500, 'quote_unavailable'],
    [404, 'quote_unavailable'],
  ])('status %i is %s', async (status, code) => {
    const { socketPath } = await answering(await goodAnswer(), status)
    await expect(dstackSource({ socketPath }).quote(reportData)).rejects.toMatchObject({ code })
  })

  test('an answer over 1 MiB is quote_unavailable', async () => {
    const { socketPath } = await answering({
      ...(await goodAnswer()),
      vm_config: 'x'.repeat(1 << 20),
    })
    await expect(dstackSource({ socketPath }).quote(reportData)).rejects.toMatchObject({
      code: 'quote_unavailable',
    })
  })

  test('an agent that does not answer is quote_timeout', async () => {
    const { socketPath } = await agent(() => undefined)
    const source = dstackSource({ socketPath, timeoutMs: 50 })
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_timeout' })
  })

  test('an agent that stops in the middle is quote_timeout', async () => {
    const { socketPath } = await agent((response) => {
      response.writeHead(200)
      response.write('{"quote":"')
    })
    const source = dstackSource({ socketPath, timeoutMs: 50 })
    await expect(source.quote(reportData)).rejects.toMatchObject({ code: 'quote_timeout' })
  })

  test('no agent is quote_unavailable, without the path in the error', async () => {
    const source = dstackSource({ socketPath: join(folder, 'CANARY.sock') })
    const error: unknown = await source.quote(reportData).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'quote_unavailable' })
    expect(String(error)).not.toContain('CANARY')
  })

  test('report data of another length is a TypeError', async () => {
    await expect(dstackSource().quote(new Uint8Array(65))).rejects.toThrow(TypeError)
  })
})
