import {
  buildSession,
  encodeUtf8,
  parsePolicy,
  verifyEndpoint,
  type SessionDocument,
} from '@vouchgate/attestation'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { verifyGateway } from '../../client/index.ts'
import { startAttestedServer, type AttestedServer } from '../client/attested-server.ts'
import { signReceipt, withReceiptKey } from '../client/signed-receipt.ts'
import { newWorld, pinnedRow } from '../client/world.ts'
import { startRelay } from '../support/relay.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { jsonOf, vouchgate } from './console.ts'

const world = newWorld()
const io = { clock: world.clock }
const folder = mkdtempSync(join(tmpdir(), 'gateway-commands-'))
const path = (name: string): string => join(folder, name)
const write = (name: string, value: unknown): string => {
  writeFileSync(path(name), typeof value === 'string' ? value : JSON.stringify(value))
  return path(name)
}
const trusted_root = { test_pki_pem: world.vendor.rootPem }
let gateway: AttestedServer
let pinned: string
let any: string

beforeAll(() => {
  pinned = write('pinned.yaml', { trusted_root, workload: [pinnedRow] })
  any = write('any.yaml', { trusted_root, workload: 'any' })
})
afterAll(() => rmSync(folder, { recursive: true }))
beforeEach(async () => {
  gateway = await startAttestedServer(world)
  gateway.aci.evidence.keyset = withReceiptKey
})
afterEach(() => gateway.close())

describe('verify', () => {
  const verify = (...argv: string[]) => vouchgate(['verify', gateway.origin, ...argv], io)

  test('says what was proven', async () => {
    const outcome = await verify('--policy', pinned, '--json')
    expect(outcome.exit).toBe(0)
    expect(jsonOf(outcome)).toMatchObject({
      ok: true,
      origin: gateway.origin,
      proven: 'identity',
      workload: 'pinned',
      trustedRoot: 'test-pki',
      quote: { tcbStatus: 'UpToDate', debug: false },
      sessions: null,
      error: null,
    })
    const { out } = await verify('--policy', pinned)
    expect(out).toContain('Identity proven')
    expect(out).toContain('no proof of hardware')
  })

  test('with `workload: any` it claims genuineness alone, and prints the row to pin', async () => {
    expect(jsonOf(await verify('--policy', any, '--json'))).toMatchObject({
      proven: 'genuineness',
      workload: 'any',
      measured: { mrtd: pinnedRow.mrtd, config_digest: 'any' },
    })
    const { out } = await verify('--policy', any)
    expect(out).toContain('Only genuineness was proven, not identity')
    const row = out.slice(out.indexOf('workload:\n'))
    const pasted = write('pasted.yaml', `trusted_root: ${JSON.stringify(trusted_root)}\n${row}`)
    expect(jsonOf(await verify('--policy', pasted, '--json'))).toMatchObject({ proven: 'identity' })
  })

  test('without a policy it refuses and shows how to write one', async () => {
    const { exit, err } = await verify()
    expect(exit).toBe(2)
    expect(err).toContain('workload: any')
    expect(gateway.authorizations).toEqual([])
  })

  test.for([
    ['names no workload', 'tee: {debug: reject}\n', 'policy_without_workload'],
    ['has unknown members', 'workload: any\ncanary: 1\n', 'policy_malformed'],
    ['is no YAML', 'workload: [canary', 'yaml_malformed'],
    ['is too large', `#${'x'.repeat(1 << 20)}`, 'file_too_large'],
  ] as const)('refuses a policy that %s', async ([, text, code]) => {
    const outcome = await verify('--policy', write('bad.yaml', text), '--json')
    expect(outcome.exit).toBe(30)
    expect(jsonOf(outcome)).toMatchObject({ ok: false, error: { code } })
    expect(outcome.out + outcome.err).not.toContain('canary')
  })

  test('a policy file that is not there is unreadable input', async () => {
    const outcome = await verify('--policy', path('absent.yaml'), '--json')
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      30,
      { error: { code: 'file_unreadable' } },
    ])
  })

  test('a relay and an unexpected workload are rejected', async () => {
    const relay = await startRelay({ target: gateway.origin })
    const outcome = await vouchgate(['verify', relay.origin, '--policy', pinned, '--json'], io)
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      10,
      { ok: false, error: { code: 'channel_not_attested', step: 'channel' } },
    ])
    await relay.close()
    gateway.aci.evidence.quote = { mrtd: 'ee'.repeat(48) }
    const { exit, err } = await verify('--policy', pinned)
    expect(exit).toBe(10)
    expect(err).toContain('workload_not_expected')
  })

  test('a gateway that cannot be reached was not judged', async () => {
    const outcome = await vouchgate(['verify', 'https://127.0.0.1:1', '--policy', pinned, '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      1,
      { error: { code: 'channel_unreachable' } },
    ])
  })

  test.for(['http://127.0.0.1', 'gateway', 'https://'])('%s is wrong usage', async (url) => {
    expect((await vouchgate(['verify', url, '--policy', pinned])).exit).toBe(2)
  })

  test('collateral comes from a file or a PCS where the report has none', async () => {
    gateway.aci.evidence.collateral = null
    const file = write('collateral.json', world.vendor.collateral())
    expect((await verify('--policy', pinned, '--collateral', file)).exit).toBe(0)
    const closed = createServer()
    await listen(closed)
    const pcs = `http://127.0.0.1:${portOf(closed)}`
    await stop(closed)
    const outcome = await verify('--policy', pinned, '--pcs', pcs, '--json')
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      1,
      { error: { code: 'collateral_unavailable' } },
    ])
  })

  test('saved evidence repeats the verdict offline', async () => {
    const outcome = await verify('--policy', pinned, '--save', path('evidence.json'))
    expect(outcome.exit).toBe(0)
    const endpoint = await verifyEndpoint({
      evidence: readFileSync(path('evidence.json')),
      challenge: 'recorded',
      now: 'recorded',
      policy: world.policy,
    })
    expect(endpoint.origin).toBe(gateway.origin)
    const unwritable = await verify('--policy', pinned, '--save', folder, '--json')
    expect([unwritable.exit, jsonOf(unwritable)]).toMatchObject([
      1,
      { error: { code: 'file_not_written' } },
    ])
  })
})

/** A session as the gateway would record it, were it its own provider. */
async function session(): Promise<{ id: string; document: SessionDocument }> {
  const verified = await verifyGateway(gateway.origin, world.options)
  const now = world.clock.now()
  return buildSession({
    ...verified,
    upstreamName: 'provider-1',
    establishedAt: now,
    expiresAt: now + 600,
  })
}

describe('verify --deep', () => {
  const deep = (...argv: string[]) =>
    vouchgate(['verify', gateway.origin, '--policy', pinned, '--deep', ...argv, '--json'], io)

  test('judges every session again', async () => {
    const { id, document } = await session()
    gateway.routes.set('/v1/aci/sessions', { sessions: [{ session_id: id }] })
    gateway.routes.set(`/v1/aci/sessions/${id}`, document)
    const outcome = await deep('--upstream-policy', pinned)
    expect(outcome.exit).toBe(0)
    expect(jsonOf(outcome)).toMatchObject({
      ok: true,
      sessions: [{ id, ok: true, upstreamName: 'provider-1', proven: 'identity' }],
    })
  })

  test('is rejected where one session does not hold', async () => {
    const { id, document } = await session()
    gateway.routes.set('/v1/aci/sessions', { sessions: [{ session_id: id }] })
    gateway.routes.set(`/v1/aci/sessions/${id}`, { ...document, upstream_name: 'another' })
    const outcome = await deep('--upstream-policy', pinned)
    expect(outcome.exit).toBe(10)
    expect(jsonOf(outcome)).toMatchObject({
      ok: false,
      sessions: [{ id, ok: false, error: { code: 'session_id_mismatch' } }],
      error: { code: 'upstream_not_verified' },
    })
  })

  test('needs a policy for the providers', async () => {
    expect((await deep()).exit).toBe(2)
  })
})

describe('verify-session', () => {
  test('judges a kept session again', async () => {
    const { id, document } = await session()
    const file = write('session.json', document)
    const outcome = await vouchgate(['verify-session', file, '--policy', pinned, '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([0, { ok: true, id, proven: 'identity' }])
    const { out } = await vouchgate(['verify-session', file, '--policy', pinned])
    expect(out).toContain('provider-1')
  })

  test.for([
    ['no session', '{}', 30, 'session_malformed'],
    ['no JSON', '{', 30, 'json_malformed'],
    ['a duplicate member', '{"a":1,"a":2}', 30, 'json_malformed'],
  ] as const)('%s is malformed', async ([, text, exit, code]) => {
    const outcome = await vouchgate(['verify-session', write('session.json', text), '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([exit, { error: { code } }])
  })

  test("under Intel's root the evidence of a test vendor is rejected", async () => {
    const file = write('session.json', (await session()).document)
    const outcome = await vouchgate(['verify-session', file, '--json'])
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      10,
      { error: { code: 'certificate_root_untrusted' } },
    ])
  })
})

describe('verify-receipt', () => {
  const request = encodeUtf8('{"model":"m"}')
  const response = encodeUtf8('{"ok":true}')

  async function kept() {
    const verified = await verifyGateway(gateway.origin, world.options)
    const { id, document } = await session()
    const { keysetDigest } = verified.endpoint
    const receipt = await signReceipt(keysetDigest, { request, response, session: id })
    writeFileSync(path('evidence.json'), verified.evidence)
    writeFileSync(path('request'), request)
    writeFileSync(path('response'), response)
    write('session.json', document)
    return receipt
  }

  const check = (...argv: string[]) =>
    vouchgate(['verify-receipt', ...argv, '--evidence', path('evidence.json'), '--json'])

  test('checks signature, both bodies and the session', async () => {
    const file = write('receipt.json', await kept())
    const bodies = ['--request', path('request'), '--response', path('response')]
    const all = [...bodies, '--session', path('session.json')]
    const outcome = await check(file, '--policy', pinned, ...all)
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      0,
      {
        ok: true,
        receiptId: 'r-1',
        checked: { request: true, response: true, session: true },
        proven: 'identity',
      },
    ])
  })

  test('says what it was not given to compare', async () => {
    const file = write('receipt.json', await kept())
    const outcome = await check(file, '--policy', any)
    expect(jsonOf(outcome)).toMatchObject({
      checked: { request: false, response: false, session: false },
      proven: 'genuineness',
    })
    const argv = ['verify-receipt', file, '--evidence', path('evidence.json'), '--policy', any]
    expect((await vouchgate(argv)).out).toContain('Not compared with a request')
  })

  test('a changed byte, another body and other keys are rejected', async () => {
    const receipt = await kept()
    const changed = write('changed.json', { ...receipt, model: 'n' })
    expect(jsonOf(await check(changed, '--policy', pinned))).toMatchObject({
      error: { code: 'receipt_signature_invalid', step: 'receipt' },
    })
    const file = write('receipt.json', receipt)
    const swapped = await check(file, '--policy', pinned, '--request', path('response'))
    expect([swapped.exit, jsonOf(swapped)]).toMatchObject([
      10,
      { error: { code: 'receipt_request_mismatch' } },
    ])
    const other = write(
      'other.json',
      await signReceipt(`sha256:${'00'.repeat(32)}`, { request, response }),
    )
    expect(jsonOf(await check(other, '--policy', pinned))).toMatchObject({
      error: { code: 'receipt_keyset_mismatch' },
    })
  })

  test('a file that is no receipt is malformed', async () => {
    await kept()
    const outcome = await check(write('receipt.json', '[]'), '--policy', pinned)
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      30,
      { error: { code: 'receipt_malformed' } },
    ])
  })
})

describe('connect', () => {
  test('proxies a verified gateway until it is stopped', async () => {
    gateway.routes.set('/v1/models', { object: 'list', data: [] })
    let body: unknown
    const printed = { out: '' }
    const outcome = await vouchgate(
      ['connect', gateway.origin, '--policy', pinned, '--listen', '127.0.0.1:0', '--json'],
      {
        ...io,
        out: (text) => {
          printed.out += text
        },
        stopped: async () => {
          const { baseUrl }: { baseUrl: string } = JSON.parse(printed.out)
          body = await (await fetch(`${baseUrl}/models`)).json()
        },
      },
    )
    expect(outcome.exit).toBe(0)
    expect(body).toEqual({ object: 'list', data: [] })
  })

  test.for([
    ['no policy', [], 2],
    ['a listener beyond loopback', ['--listen', '0.0.0.0:0'], 10],
    ['an address that is none', ['--listen', 'here'], 2],
    ['a port that is none', ['--listen', '127.0.0.1:70000'], 2],
  ] as const)('%s is refused', async ([, options, exit]) => {
    const policy = exit === 2 && options.length === 0 ? [] : ['--policy', pinned]
    const outcome = await vouchgate(['connect', gateway.origin, ...policy, ...options], io)
    expect(outcome.exit).toBe(exit)
  })

  test('a gateway that is not wanted is not proxied', async () => {
    gateway.aci.evidence.quote = { mrtd: 'ee'.repeat(48) }
    const argv = [
      'connect',
      gateway.origin,
      '--policy',
      pinned,
      '--listen',
      '127.0.0.1:0',
      '--json',
    ]
    const outcome = await vouchgate(argv, io)
    expect([outcome.exit, jsonOf(outcome)]).toMatchObject([
      10,
      { error: { code: 'workload_not_expected' } },
    ])
  })
})

test('the policies of these tests are what they should be', () => {
  expect(parsePolicy({ trusted_root, workload: [pinnedRow] })).toEqual(world.policy)
})
