import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { systemClock } from '../../enclave/index.ts'
import { startQuoteAgent } from '../../enclave/quote-agent.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import { member, sha256Hex } from './harness.ts'

/* Several processes under the launcher: who may start what, and what of it is attested. */

const LAUNCHER = fileURLToPath(new URL('../../scripts/launch.sh', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'vouchgate-launch-'))
const vendor = createTeeVendor({ now: systemClock.now() })
const socket = join(folder, 'quote.sock')
const config = join(folder, 'config.yaml')
let quotes: Server

function write(port: number): void {
  const document = {
    workers: 2,
    listen: { port },
    enclave: { quote_source: 'dstack', dstack_socket: socket, self_check: 'report' },
    providers: [
      { id: 'plain', kind: 'openai', base_url: 'http://127.0.0.1:1', api_key: { env: 'UPSTREAM' } },
    ],
    models: [
      { name: 'plain', confidentiality: 'plain', routes: [{ provider: 'plain', model: 'x' }] },
    ],
    keys: [{ id: 'test', team: 'test', sha256: sha256Hex('key'), models: '*' }],
  }
  writeFileSync(config, stringify(document))
}

beforeAll(async () => {
  quotes = await startQuoteAgent({ socketPath: socket, source: vendor.quoteSource() })
  write(0)
})
afterAll(() => {
  quotes.close()
  rmSync(folder, { recursive: true })
})

const launch = (...options: string[]) => {
  const child = spawn('sh', [LAUNCHER, '--env', 'UPSTREAM', '--read', socket, ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: `${dirname(process.execPath)}:/usr/bin:/bin`, UPSTREAM: 'x' },
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  return { child, errors: () => errors }
}

test('without the right to start processes there is one clear line', async () => {
  const { child, errors } = launch('--config', config)
  const [exit] = await once(child, 'close')
  expect(exit).toBe(2)
  expect(errors()).toContain('workers_not_permitted')
  expect(errors().trim().split('\n').length).toBe(1)
})

test('an address that is taken is said as it is of one process', async () => {
  const taken = createServer()
  await listen(taken)
  write(portOf(taken))
  const { child, errors } = launch('--workers', '--config', config)
  const [exit] = await once(child, 'close')
  expect([exit, errors()]).toEqual([1, expect.stringContaining('listen_failed')])
  await stop(taken)
  write(0)
})

test('with it the workers have the contract, and the facts that are attested are theirs', async () => {
  const { child, errors } = launch('--workers', '--config', config)
  const lines: string[] = []
  const reader = createInterface({ input: child.stdout })
  reader.on('line', (line) => lines.push(line))
  const of = (event: string): unknown[] =>
    lines.filter((line) => line.includes(`"${event}"`)).map((line): unknown => JSON.parse(line))
  while (of('started').length === 0) await once(reader, 'line')
  const agent = new Agent({ connect: { rejectUnauthorized: false } })
  const url = `https://127.0.0.1:${String(member(of('started')[0], 'port'))}/v1/aci/attestation`
  const { body } = await request(url, { dispatcher: agent })
  const facts = member(await body.json(), 'attestation.evidence.boot.self_check')
  expect(facts).toMatchObject({
    exec_argv: 'held',
    environment_clean: 'held',
    fs_write_denied: 'held',
    core_limit_zero: 'held',
    core_filter_zero: 'held',
    inspector_inactive: 'held',
  })
  await agent.close()
  const commandLine = (pid: unknown): string[] =>
    readFileSync(`/proc/${String(pid)}/cmdline`, 'latin1').split('\0')
  expect(commandLine(child.pid)).toContain('--allow-child-process')
  const workers = of('worker_started').map((line) => commandLine(member(line, 'pid')))
  expect(workers.length).toBe(2)
  for (const argv of workers) {
    expect(argv).not.toContain('--allow-child-process')
    expect(argv).toContain('--permission')
  }
  child.kill('SIGTERM')
  expect(await once(child, 'close')).toEqual([0, null])
  expect(errors()).toBe('')
})
