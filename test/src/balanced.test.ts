import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startBalancer, type Balancer } from '../support/balancer.ts'
import { startModelServer, type ModelServer } from '../support/model-server.ts'
import {
  eventOf,
  member,
  prompt,
  receiptOf,
  sessionIds,
  startWorld,
  type World,
} from './harness.ts'

let world: World
let balancer: Balancer
let first: ModelServer
let second: ModelServer
beforeEach(async () => {
  world = await startWorld({
    origin: async ({ origin }) => {
      balancer = await startBalancer([origin])
      return balancer.origin
    },
  })
  first = world.model
  second = await startModelServer({ vendor: world.vendor, clock: world.clock })
  await world.gateway.tick()
})
afterEach(async () => {
  await world.close()
  await balancer.close()
  await second.close()
})

const prompts = ({ requests }: ModelServer): number =>
  requests.filter(({ path }) => path === '/v1/chat/completions').length

const verifications = async (): Promise<number> => {
  const { text } = await world.admin('/metrics')
  const [, count] =
    /vouchgate_verifications_total\{provider="tee",result="verified"\} (\d+)/.exec(text) ?? []
  return Number(count)
}

/** The TLS key of the session that the receipt of an answer cites. */
async function citedKey(answer: Awaited<ReturnType<World['chat']>>): Promise<unknown> {
  const cited = eventOf(await receiptOf(world, answer), 'upstream.verified')
  const { text } = await world.call(`/v1/aci/sessions/${String(cited?.['session_id'])}`)
  return member(JSON.parse(text), 'channel_binding.0.spki_sha256')
}

describe('two nodes behind a balancer that alternates', () => {
  beforeEach(() => {
    balancer.point([first.origin, second.origin])
  })

  test('no request fails, one by one or many at a time, whatever connections are lost', async () => {
    for (let round = 0; round < 6; round++) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => world.chat(prompt('secure'))),
      )
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      balancer.dropAll()
    }
    expect(prompts(first) + prompts(second)).toBe(48)
  })

  test('each prompt is served by the node that its receipt names', async () => {
    for (let round = 0; round < 6; round++) {
      const before = prompts(first)
      const answer = await world.chat(prompt('secure'))
      const node = prompts(first) > before ? first : second
      expect(await citedKey(answer)).toBe(node.spkiSha256())
      // Every refresh meets the next node.
      world.clock.advance(450)
      await world.gateway.tick()
      balancer.dropAll()
    }
    expect(prompts(first)).toBeGreaterThan(0)
    expect(prompts(second)).toBeGreaterThan(0)
  })

  test('a node that cannot be verified gets no prompt byte', async () => {
    second.evidence.nonce = () => '1'.repeat(64)
    for (let round = 0; round < 12; round++) {
      await world.chat(prompt('secure'))
      world.clock.advance(450)
      await world.gateway.tick()
      balancer.dropAll()
    }
    expect(prompts(first)).toBeGreaterThan(0)
    expect(prompts(second)).toBe(0)
    expect(world.logs.join('')).toContain('report_data_mismatch')
  })

  test('what one node has shown stands while the other is verified', async () => {
    balancer.point([second.origin, first.origin])
    world.clock.advance(450)
    await world.gateway.tick()
    const [, older] = await sessionIds(world, '?upstream_name=tee')
    world.clock.advance(121)
    const ids = [older]
    const pinned = { ...prompt('secure'), provider: { aci_session_ids: ids } }
    const answer = await world.chat(pinned)
    expect(answer.status).toBe(200)
    expect(await citedKey(answer)).toBe(first.spkiSha256())
  })
})

test('a node that a balancer does not lead to keeps its streams while another one is verified', async () => {
  first.chat.chunkDelayMs = 50
  const running = world.chat(prompt('secure', { stream: true }))
  await expect.poll(() => prompts(first)).toBe(1)
  const [old] = await sessionIds(world, '?upstream_name=tee')
  balancer.point([second.origin], { drop: false })
  const answer = await world.chat(prompt('secure'))
  expect([answer.status, await citedKey(answer)]).toEqual([200, second.spkiSha256()])
  expect(await sessionIds(world, '?upstream_name=tee')).toContain(old)
  expect((await running).text.endsWith('data: [DONE]\n\n')).toBe(true)
  balancer.point([second.origin])
  const pinned = await world.chat({ ...prompt('secure'), provider: { aci_session_ids: [old] } })
  expect([pinned.status, pinned.at('error.code')]).toEqual([412, 'session_not_accepted'])
  expect(await sessionIds(world, '?upstream_name=tee')).not.toContain(old)
})

describe('a node that is gone', () => {
  test('is found to be, and the next one is verified before it gets a byte', async () => {
    const before = await verifications()
    await world.chat(prompt('secure'))
    balancer.point([second.origin])
    const answer = await world.chat(prompt('secure'))
    expect(answer.status).toBe(200)
    expect(await verifications()).toBe(before + 1)
    expect(await citedKey(answer)).toBe(second.spkiSha256())
    expect(await sessionIds(world, '?upstream_name=tee')).toHaveLength(1)
  })

  test('takes none of many waiting requests along, and is verified once for all of them', async () => {
    const before = await verifications()
    balancer.point([second.origin])
    const all = await Promise.all(Array.from({ length: 12 }, () => world.chat(prompt('secure'))))
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200))
    expect(await verifications()).toBe(before + 1)
  })

  test('is looked for eight times and then no more', async () => {
    balancer.point([second.origin])
    second.evidence.status = 503
    const before = balancer.connections()
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_verification_failed'])
    // Eight for the prompt and one for the evidence.
    expect(balancer.connections() - before).toBe(9)
    expect(prompts(second)).toBe(0)
  })

  test('that answers wherever the evidence was not taken is given up after three rounds', async () => {
    // Eight connections for the prompt, then one for the evidence, and so on.
    balancer.point([...Array.from({ length: 8 }, () => second.origin), first.origin])
    const before = balancer.connections()
    const answer = await world.chat(prompt('secure'))
    expect([answer.status, answer.at('error.code')]).toEqual([503, 'upstream_verification_failed'])
    expect(balancer.connections() - before).toBe(8 + 1 + 8 + 1 + 8)
    expect(eventOf(await receiptOf(world, answer), 'upstream.verified')).toMatchObject({
      result: 'failed',
      reason: 'channel_key_mismatch',
    })
    expect(prompts(first) + prompts(second)).toBe(0)
  })
})
