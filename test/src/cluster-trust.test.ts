import { createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { parseReport } from '@vouchgate/attestation'
import { readFromWorker } from '../../src/cluster/messages.ts'
import { SelfCheckError } from '../../src/boot.ts'
import type { Config } from '../../src/config/index.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { startCluster, type ClusterOptions, type ClusterWorld } from './cluster-world.ts'
import { member } from './harness.ts'

/* What the leader believes of a worker: nothing. Who gets the keys: what runs as it was attested. */

let world: ClusterWorld | null = null
const start = async (options: ClusterOptions = {}): Promise<ClusterWorld> => {
  world = await startCluster(options)
  return world
}
afterEach(async () => {
  await world?.close()
  world = null
})

const hello = ({ digest }: Config) => ({ type: 'hello', configDigest: digest, facts: {} })

/** A third worker in the hands of the test, in the place of the first. */
async function replaced(options: ClusterOptions = {}) {
  const cluster = await start({ silent: (number) => number > 2, ...options })
  cluster.workers[0]?.end(1, null)
  await expect.poll(() => cluster.workers.length).toBe(3)
  const [, , worker] = cluster.workers
  if (worker === undefined) throw new Error('no third worker')
  return { cluster, worker }
}

const refusals = ({ logs }: ClusterWorld): unknown[] =>
  logs
    .filter((line) => line.includes('"worker_refused"'))
    .map((line) => member(JSON.parse(line), 'reason'))

const ask = (question: unknown, id: unknown = 1) => ({ type: 'ask', id, question })
const metrics = (...sample: unknown[]) => ({
  type: 'answer',
  id: 1,
  answer: { kind: 'metrics', samples: [sample] },
})
const zeros = '0'.repeat(64)

describe('what is no message of a worker', () => {
  const facts = (all: object) => ({ type: 'hello', configDigest: `sha256:${zeros}`, facts: all })
  const documentOf = (length: number) => ({
    type: 'answer',
    id: 1,
    answer: { kind: 'document', json: 'x'.repeat(length) },
  })
  const receipt = (id: string, credential: string) => ask({ kind: 'receipt', id, credential })
  const round = (provider: string, after: unknown) => ask({ kind: 'round', provider, after })

  test.each([
    ['nothing', null],
    ['a text', 'hello'],
    ['no type', {}],
    ['an unknown type', { type: 'eval' }],
    ['a member more', { ...ask({ kind: 'collateral' }), more: 1 }],
    ['a fraction as id', ask({ kind: 'collateral' }, 0.5)],
    ['a port that is none', { type: 'serving', port: 65_536 }],
    ['an unknown question', ask({ kind: 'fetch', url: 'https://example.com' })],
    ['a quote over data of its own', ask({ kind: 'report', nonce: 'ff'.repeat(64) })],
    ['collateral of another platform', ask({ kind: 'collateral', quote: '00' })],
    ['a provider that is no name', round('../x', 0)],
    ['a round with an origin', ask({ kind: 'round', provider: 'tee', after: 0, origin: 'x' })],
    ['a negative round', round('tee', -1)],
    ['a receipt by a long id', receipt('x'.repeat(513), zeros)],
    ['a receipt for no credential', receipt('x', 'key')],
    ['a session by another id', ask({ kind: 'session', id: 'x' })],
    ['a family that is none', metrics('other', '', 1)],
    ['labels with a line of their own', metrics('vouchgate_receipts', '{a="b"} 1\nx', 1)],
    ['a value that is no number', metrics('vouchgate_receipts', '', '1')],
    ['a value that is not finite', metrics('vouchgate_receipts', '', Infinity)],
    ['a document without end', documentOf((1 << 24) + 1)],
    ['a fact that says more', facts({ no_swap: 'yes' })],
    ['a fact by another name', facts({ 'no swap': 'held' })],
    [
      'facts without end',
      facts(
        Object.fromEntries(
          [...Array(65).keys()].map((at) => [
            `f_${'a'.repeat(at % 50)}${at > 49 ? 'b' : ''}`,
            'held',
          ]),
        ),
      ),
    ],
    ['a digest that is none', { type: 'hello', configDigest: 'x', facts: {} }],
  ])('%s', (_name, message) => {
    expect(readFromWorker(message)).toBe(null)
  })

  test.each([
    [facts({ no_swap: 'held' })],
    [{ type: 'serving', port: 8443 }],
    [ask({ kind: 'report', nonce: zeros })],
    [ask({ kind: 'collateral' })],
    [round('tee', 0)],
    [receipt('x'.repeat(512), zeros)],
    [ask({ kind: 'session', id: zeros })],
    [metrics('vouchgate_prompts_total', '{end="complete",code="none"}', 2)],
    [
      metrics(
        'vouchgate_prompts_metered_total',
        '{provider="a",model="org/m:1@x",cost="known"}',
        2,
      ),
    ],
    [documentOf(1 << 24)],
  ])('and this is one: %#', (message) => {
    expect(readFromWorker(message)).toEqual(message)
  })
})

describe('a worker that says what no worker of ours says is ended', () => {
  test.each([
    ['no message', { type: 'eval' }],
    ['a second greeting', { type: 'hello', configDigest: `sha256:${zeros}`, facts: {} }],
    ['that it serves twice', { type: 'serving', port: 2 }],
    ['that it failed, while it serves', { type: 'failed', reason: 'internal' }],
    ['a provider that is not configured', ask({ kind: 'round', provider: 'other', after: 0 })],
  ])('%s', async (_name, message) => {
    const { cluster, worker } = await replaced()
    worker.say(hello(cluster.config))
    await expect.poll(() => worker.heard.map(({ type }) => type)).toContain('start')
    worker.say({ type: 'serving', port: 1 })
    await expect.poll(() => cluster.logs.join('')).toContain('"worker_serving","worker":3')
    expect(worker.killed).toBe(false)
    worker.say(message)
    await expect.poll(() => worker.killed).toBe(true)
    expect(refusals(cluster)).toEqual(['malformed_message'])
  })

  test.each([
    ['a question', ask({ kind: 'collateral' })],
    ['that it serves', { type: 'serving', port: 1 }],
  ])('before it has keys: %s', async (_name, message) => {
    const { cluster, worker } = await replaced()
    worker.say(message)
    await expect.poll(() => worker.killed).toBe(true)
    expect(refusals(cluster)).toEqual(['malformed_message'])
    expect(worker.heard).toEqual([{ type: 'drain' }])
  })

  test('more questions at a time than any worker asks', async () => {
    const held = Promise.withResolvers<void>()
    let hold = Promise.resolve()
    const { cluster, worker } = await replaced({
      edit: (file) => Object.assign(file.enclave, { max_waiting_quotes: 1024 }),
      source: (source) => ({
        ...source,
        quote: async (data) => hold.then(() => source.quote(data)),
      }),
    })
    worker.say(hello(cluster.config))
    await expect.poll(() => worker.heard.map(({ type }) => type)).toContain('start')
    hold = held.promise
    cluster.model.evidence.hang = true
    cluster.clock.advance(450)
    void cluster.leader.tick()
    for (let id = 0; id < 2048; id++)
      worker.say(ask({ kind: 'round', provider: 'tee', after: 9 }, id))
    worker.say(ask({ kind: 'round', provider: 'tee', after: 9 }, 2048))
    await expect.poll(() => worker.killed).toBe(true)
    expect(refusals(cluster)).toEqual(['too_many_questions'])
    held.resolve()
  })
})

test('a worker that has not seen the last round is not given another one', async () => {
  const { cluster, worker } = await replaced()
  const collections = () =>
    cluster.model.requests.filter(({ path }) => path.startsWith('/v1/aci/attestation')).length
  worker.say(hello(cluster.config))
  await expect.poll(() => worker.heard.map(({ type }) => type)).toContain('start')
  await cluster.leader.tick()
  expect(collections()).toBe(1)
  worker.say(ask({ kind: 'round', provider: 'tee', after: 0 }))
  const answers = () => worker.heard.filter(({ type }) => type === 'answer')
  await expect
    .poll(answers)
    .toEqual([{ type: 'answer', id: 1, answer: { kind: 'round', failure: null } }])
  expect(collections()).toBe(1)
  worker.say(ask({ kind: 'round', provider: 'tee', after: 1 }, 2))
  await expect.poll(() => answers().length).toBe(2)
  expect(collections()).toBe(2)
})

describe('the keys go to no worker', () => {
  test('of another configuration', async () => {
    const { cluster, worker } = await replaced()
    worker.say({ ...hello(cluster.config), configDigest: `sha256:${'0'.repeat(64)}` })
    await expect.poll(() => worker.killed).toBe(true)
    expect(refusals(cluster)).toEqual(['config_changed'])
    expect(worker.heard).toEqual([{ type: 'drain' }])
  })

  test.each([
    ['a fact that does not hold any more', { no_swap: 'not_held' }],
    ['a fact that cannot be looked at', { no_swap: 'unknown' }],
    ['a fact that it does not know', {}],
    ['a fact that the keyset does not name', { no_swap: 'held', other: 'held' }],
  ])('with %s', async (_name, facts) => {
    const held = { no_swap: 'held' } as const
    const { cluster, worker } = await replaced({ leaderFacts: held, workerFacts: () => held })
    worker.say({ ...hello(cluster.config), facts })
    await expect.poll(() => worker.killed).toBe(true)
    expect(refusals(cluster)).toEqual(['facts_worse'])
    expect(worker.heard).toEqual([{ type: 'drain' }])
  })
})

describe('the facts that are attested', () => {
  const boot = async (cluster: ClusterWorld): Promise<unknown> => {
    const { text } = await cluster.call(1, '/v1/aci/attestation', { key: null })
    return parseReport(Buffer.from(text)).attestation.evidence.boot?.self_check
  }

  test('are the worst of leader and workers', async () => {
    const cluster = await start({
      leaderFacts: { first: 'not_held', second: 'held', third: 'held', last: 'held' },
      workerFacts: (number) => ({
        first: 'held',
        second: number === 2 ? 'unknown' : 'held',
        third: number === 1 ? 'not_held' : 'unknown',
        last: 'held',
      }),
    })
    expect(await boot(cluster)).toEqual({
      first: 'not_held',
      second: 'unknown',
      third: 'not_held',
      last: 'held',
    })
  })

  test('keep the gateway from starting where one worker alone does not hold them', async () => {
    const starting = startCluster({
      edit: (file) => Object.assign(file.enclave, { self_check: 'enforce' }),
      leaderFacts: { no_swap: 'held' },
      workerFacts: (number) => ({ no_swap: number === 2 ? 'not_held' : 'held' }),
    })
    await expect(starting).rejects.toThrow(SelfCheckError)
    await expect(starting).rejects.toMatchObject({ facts: ['no_swap'] })
  })
})

test('a gateway does not start where the address cannot be listened on', async () => {
  const taken = createServer()
  await listen(taken)
  const port = portOf(taken)
  const starting = startCluster({ edit: (file) => Object.assign(file.listen, { port }) })
  await expect(starting).rejects.toMatchObject({ code: 'listen_failed' })
  await stop(taken)
})
