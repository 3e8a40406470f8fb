import { parseProviderPolicy } from '@vouchgate/attestation'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { afterAll, describe, expect, test } from 'vitest'
import { appraiseSession } from '../../client/index.ts'
import { jsonOf, vouchgate } from '../cli/console.ts'
import { policyDocument } from '../support/tinfoil-world.ts'
import { CANARY, member, UPSTREAM_SECRET } from './harness.ts'
import { startWorld, type World } from './tinfoil-harness.ts'

const folder = mkdtempSync(join(tmpdir(), 'tinfoil-audit-'))
afterAll(() => rmSync(folder, { recursive: true }))

const messages = [{ role: 'user' as const, content: CANARY }]

/** The session that the gateway publishes of its provider. */
async function session({ gateway, agent, client }: World): Promise<unknown> {
  await client.chat.completions.create({ model: 'private', messages })
  const get = async (path: string): Promise<unknown> =>
    (await request(gateway.url + path, { dispatcher: agent })).body.json()
  const id = member(await get('/v1/aci/sessions'), 'sessions.0.session_id')
  return get(`/v1/aci/sessions/${String(id)}`)
}

describe.each(['tdx', 'sev-snp'] as const)(
  'an audit of a gateway before an enclave on %s',
  (platform) => {
    test('comes to the verdict that the gateway came to, from the bytes that it kept', async () => {
      const world = await startWorld({ platform })
      const { endpoint } = await appraiseSession(await session(world), () =>
        parseProviderPolicy(world.policy),
      )
      expect(endpoint.kind).toBe('tinfoil')
      expect(endpoint.claims).toMatchObject({
        os_known_good: { status: 'asserted' },
        extra: { release_tag: 'v1.0.0' },
      })
    })

    test('and refuses what the auditor does not want', async () => {
      const world = await startWorld({ platform })
      const release = { ...policyDocument.release, tags: ['v2.0.0'] }
      const wanted = parseProviderPolicy({ ...world.policy, release })
      await expect(appraiseSession(await session(world), () => wanted)).rejects.toMatchObject({
        code: 'release_not_expected',
      })
    })

    test('a recorded verification can be judged without anybody being asked', async () => {
      const recordTo = mkdtempSync(join(folder, 'captures-'))
      const world = await startWorld({ platform, recordTo })
      await session(world)
      const [name = ''] = readdirSync(recordTo).filter((entry) => entry.startsWith('tinfoil'))
      const policy = join(recordTo, 'policy.json')
      writeFileSync(policy, JSON.stringify(world.policy))
      const capture = join(recordTo, name)
      const outcome = await vouchgate([
        'appraise',
        '--capture',
        capture,
        '--policy',
        policy,
        '--json',
      ])
      expect(jsonOf(outcome)).toMatchObject({
        provider: 'tinfoil',
        accepted: true,
        nonceFresh: true,
        extra: { release_tag: 'v1.0.0', release_trusted_root: 'test' },
        error: null,
      })
      expect(JSON.stringify(jsonOf(outcome))).not.toContain(UPSTREAM_SECRET)
    })
  },
)
