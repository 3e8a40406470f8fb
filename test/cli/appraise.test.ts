import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startAttestedServer, type AttestedServer } from '../client/attested-server.ts'
import { MRTD, newWorld, pinnedRow } from '../client/world.ts'
import { jsonOf, vouchgate } from './console.ts'

const world = newWorld()
const io = { clock: world.clock }
const folder = mkdtempSync(join(tmpdir(), 'appraise-'))
const path = (name: string): string => join(folder, name)
const write = (name: string, value: object): string => {
  writeFileSync(path(name), JSON.stringify(value))
  return path(name)
}
const trusted_root = { test_pki_pem: world.vendor.rootPem }
let server: AttestedServer
let pinned: string
let other: string

beforeAll(() => {
  pinned = write('pinned.yaml', { trusted_root, workload: [pinnedRow] })
  other = write('other.yaml', { trusted_root, workload: [{ ...pinnedRow, mrtd: 'ee'.repeat(48) }] })
})
afterAll(() => rmSync(folder, { recursive: true }))
beforeEach(async () => {
  server = await startAttestedServer(world)
})
afterEach(() => server.close())

let captures = 0
/** A capture that `verify --record` writes. */
async function recorded(policy = pinned): Promise<string> {
  const dir = path(`capture-${++captures}`)
  await vouchgate(['verify', server.origin, '--policy', policy, '--record', dir], io)
  return dir
}
const appraise = async (dir: string, ...argv: string[]) =>
  vouchgate(['appraise', '--capture', dir, ...argv], io)

describe('a recorded verification', () => {
  test('is judged again, offline and at its own time', async () => {
    const dir = await recorded()
    await server.close()
    world.clock.advance(30 * 86_400)
    const outcome = await appraise(dir, '--policy', pinned, '--json')
    world.clock.advance(-30 * 86_400)
    expect(outcome.exit).toBe(0)
    expect(jsonOf(outcome)).toMatchObject({
      provider: 'aci',
      model: null,
      accepted: true,
      nonceFresh: true,
      tcbStatus: 'UpToDate',
      gpus: 0,
      claims: {
        tee_attested: { status: 'asserted', source: 'hardware_proven' },
        gpu_attested: { status: 'unknown' },
        os_known_good: { status: 'asserted', source: 'operator_asserted' },
      },
      channelBinding: [{ type: 'tls_spki_sha256' }],
      error: null,
    })
  })

  test('that the policy does not want is refused, and still shown', async () => {
    const outcome = await appraise(await recorded(), '--policy', other, '--json')
    expect(outcome.exit).toBe(10)
    expect(jsonOf(outcome)).toMatchObject({
      accepted: false,
      tcbStatus: 'UpToDate',
      claims: { os_known_good: { status: 'unknown' } },
      error: { code: 'workload_not_expected', step: 'policy' },
    })
  })

  test('is refused under the root of the vendor, where nobody named another', async () => {
    const outcome = await appraise(await recorded(), '--json')
    expect(outcome.exit).toBe(10)
    expect(jsonOf(outcome)).toMatchObject({
      accepted: false,
      nonceFresh: false,
      tcbStatus: null,
      claims: {},
      channelBinding: [],
      error: { code: 'certificate_root_untrusted' },
    })
  })

  test('of evidence that was refused is written as well', async () => {
    server.aci.evidence.nonce = () => '00'.repeat(32)
    const dir = await recorded()
    expect(jsonOf(await appraise(dir, '--policy', pinned, '--json'))).toMatchObject({
      accepted: false,
      error: { code: 'report_data_mismatch', step: 'binding' },
    })
  })

  test('for a person', async () => {
    const { out } = await appraise(await recorded(), '--policy', pinned)
    expect(out).toContain('✓ accepted')
    expect(out).toContain('tcb_up_to_date')
  })

  test('holds no request header, and of answers only what is needed', async () => {
    const dir = await recorded()
    const responses = join(dir, 'responses')
    const [meta = ''] = readdirSync(responses).filter((name) => name.endsWith('.json'))
    const { headers, ...rest } = JSON.parse(readFileSync(join(responses, meta), 'utf8'))
    expect(Object.keys(headers).toSorted()).toEqual(['content-type', 'date'])
    expect(Object.keys(rest).toSorted()).toEqual([
      'method',
      'peer_spki_sha256_base64',
      'status',
      'url',
    ])
  })
})

describe('a capture that is not what it should be', () => {
  const edit = (dir: string, change: (meta: Record<string, unknown>) => object): void => {
    const responses = join(dir, 'responses')
    const [meta = ''] = readdirSync(responses).filter((name) => name.endsWith('.json'))
    const before = JSON.parse(readFileSync(join(responses, meta), 'utf8'))
    writeFileSync(join(responses, meta), JSON.stringify(change(before)))
  }
  const manifest = (dir: string, change: object): void => {
    const file = join(dir, 'manifest.json')
    const before: object = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ ...before, ...change }))
  }
  const refusal = async (break_: (dir: string) => void, ...argv: string[]) => {
    const dir = await recorded()
    break_(dir)
    const outcome = await appraise(dir, '--policy', pinned, '--json', ...argv)
    const answer = jsonOf(outcome)
    const error =
      typeof answer === 'object' && answer !== null && 'error' in answer ? answer.error : null
    return { exit: outcome.exit, error }
  }

  test.each([
    [
      'without a manifest',
      (dir: string) => rmSync(join(dir, 'manifest.json')),
      'capture_unreadable',
    ],
    [
      'without responses',
      (dir: string) => rmSync(join(dir, 'responses'), { recursive: true }),
      'capture_unreadable',
    ],
    [
      'with a time that is none',
      (dir: string) => manifest(dir, { captured_at: 'yesterday' }),
      'time_malformed',
    ],
    [
      'with a nonce that is none',
      (dir: string) => manifest(dir, { nonce_hex: 'AB' }),
      'capture_malformed',
    ],
    [
      'with too many responses',
      (dir: string) => {
        const responses = join(dir, 'responses')
        const [meta = ''] = readdirSync(responses).filter((name) => name.endsWith('.json'))
        for (let copy = 0; copy < 513; copy++) {
          cpSync(join(responses, meta), join(responses, `copy-${copy}.json`))
          const body = meta.replace(/json$/, 'body')
          cpSync(join(responses, body), join(responses, `copy-${copy}.body`))
        }
      },
      'capture_malformed',
    ],
    [
      'with a manifest that is too large',
      (dir: string) => manifest(dir, { more: ' '.repeat(3 << 20) }),
      'capture_malformed',
    ],
    [
      'with a response without URL',
      (dir: string) => edit(dir, ({ url: _, ...rest }) => rest),
      'capture_malformed',
    ],
    [
      'with a URL that is none',
      (dir: string) => edit(dir, (meta) => ({ ...meta, url: 'x' })),
      'capture_malformed',
    ],
  ])('%s', async (_, break_, code) => {
    expect(await refusal(break_)).toMatchObject({ exit: 30, error: { code } })
  })

  test('of a kind that nobody knows', async () => {
    const outcome = await refusal((dir) => manifest(dir, { provider: 'somebody' }))
    expect(outcome).toMatchObject({ exit: 2, error: { code: 'provider_kind_required' } })
  })

  test('whose provider answered with an error', async () => {
    const outcome = await refusal((dir) => edit(dir, (meta) => ({ ...meta, status: 503 })))
    expect(outcome).toMatchObject({ exit: 1, error: { code: 'report_unavailable' } })
  })

  test('whose connection ended in another key', async () => {
    const spki = Buffer.from(new Uint8Array(32)).toString('base64')
    const outcome = await refusal((dir) =>
      edit(dir, (meta) => ({ ...meta, peer_spki_sha256_base64: spki })),
    )
    expect(outcome).toMatchObject({ exit: 10, error: { code: 'channel_not_attested' } })
  })

  test('whose nonce is another', async () => {
    const outcome = await refusal((dir) => manifest(dir, { nonce_hex: 'ab'.repeat(32) }))
    expect(outcome).toMatchObject({ exit: 10, error: { code: 'report_data_mismatch' } })
  })
})

test('a folder can be moved', async () => {
  const dir = await recorded()
  const moved = path('moved')
  cpSync(dir, moved, { recursive: true })
  expect((await appraise(moved, '--policy', pinned)).exit).toBe(0)
})

test('a capture cannot be written over a file', async () => {
  const taken = write('taken', {})
  const argv = ['verify', server.origin, '--policy', pinned, '--record', taken, '--json']
  const outcome = await vouchgate(argv, io)
  expect(outcome.exit).toBe(1)
  expect(jsonOf(outcome)).toMatchObject({ error: { code: 'capture_not_written' } })
})

test('the measured workload is the one that was recorded', async () => {
  const outcome = await appraise(await recorded(), '--policy', pinned, '--json')
  expect(jsonOf(outcome)).toMatchObject({ extra: { mrtd: MRTD } })
})
