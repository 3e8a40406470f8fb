import {
  buildSession,
  parseSession,
  verifySession,
  type VerifiedEndpoint,
} from '@vouchgate/attestation'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { failureOf } from '../../cli/exit.ts'
import { describeConfig } from '../../src/config/index.ts'
import { isProviderId, isSessionId, type SessionId } from '../../src/ids.ts'
import type { LogEvent } from '../../src/log.ts'
import { SessionFileError } from '../../src/session-file-error.ts'
import { SessionFile } from '../../src/session-file.ts'
import { SessionStore } from '../../src/session-store.ts'
import { fakeClock, TEST_TIME } from '../support/clock.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'
import {
  configFile,
  eventOf,
  prompt,
  readConfig,
  receiptOf,
  sessionIds,
  startWorld,
  type World,
  type WorldOptions,
} from './harness.ts'
import { verifiedEndpoint } from './endpoint.ts'

const clock = fakeClock()
let endpoint: VerifiedEndpoint
let folder: string
let path: string
let events: LogEvent[]
beforeAll(async () => {
  endpoint = await verifiedEndpoint(clock)
})
beforeEach(() => {
  clock.set(TEST_TIME)
  folder = mkdtempSync(join(tmpdir(), 'vouchgate-sessions-'))
  path = join(folder, 'sessions.db')
  events = []
})
const opened: SessionFile[] = []
afterEach(() => {
  for (const file of opened.splice(0)) file.close()
  rmSync(folder, { recursive: true })
})

const RECEIPTS = 3600
async function open(maxBytes = 1 << 20): Promise<SessionFile> {
  const log = (event: LogEvent): void => void events.push(event)
  const file = await SessionFile.open({ path, maxBytes, receiptSeconds: RECEIPTS, clock, log })
  opened.push(file)
  return file
}

let serial = 0
/** A session of 600 seconds over `size` bytes of evidence. */
async function session(size = 1000, evidence: Uint8Array = randomBytes(size)) {
  const { id, document } = await buildSession({
    endpoint,
    upstreamName: `provider-${serial++}`,
    evidence,
    establishedAt: clock.now(),
    expiresAt: clock.now() + 600,
  })
  if (!isSessionId(id)) throw new Error('no id')
  return { id, document }
}

async function kept(file: SessionFile, options: { citedFor?: number; size?: number } = {}) {
  const { id, document } = await session(options.size)
  file.keep(id, document)
  if (options.citedFor !== undefined) file.cite(id, clock.now() + options.citedFor)
  return { id, document }
}

const rows = (table: string): number => {
  const database = new DatabaseSync(path, { readOnly: true })
  const [row] = database.prepare(`SELECT count(*) AS n FROM ${table}`).all()
  database.close()
  return Number(row?.['n'])
}

describe('after a restart', () => {
  test('a cited session is what it was, until the last receipt that cites it ends', async () => {
    const before = await open()
    const { id, document } = await kept(before, { citedFor: 100 })
    before.cite(id, clock.now() + 500)
    before.cite(id, clock.now() + 200)
    before.close()
    const after = await open()
    expect(await after.find(id)).toEqual(document)
    clock.advance(499)
    expect(await after.find(id)).toEqual(document)
    clock.advance(1)
    expect(await after.find(id)).toBeNull()
    after.flush()
    after.close()
    expect([rows('sessions'), rows('evidence')]).toEqual([0, 0])
  })

  test('what no receipt cited is gone', async () => {
    const before = await open()
    const { id } = await kept(before)
    before.flush()
    before.close()
    const after = await open()
    expect(await after.find(id)).toBeNull()
  })

  test('what a killed process held is kept for as long as a receipt could cite it', async () => {
    const before = await open()
    const { id } = await kept(before)
    before.flush()
    const copy = join(folder, 'copy.db')
    copyFileSync(path, copy)
    copyFileSync(`${path}-wal`, `${copy}-wal`)
    path = copy
    const after = await open()
    expect(await after.find(id)).not.toBeNull()
    clock.advance(600 + RECEIPTS)
    expect(await after.find(id)).toBeNull()
  })

  test('a process that was killed between two flushes has lost no more than that', async () => {
    const before = await open()
    await kept(before, { citedFor: 100 })
    before.flush()
    await kept(before, { citedFor: 100 })
    const copy = join(folder, 'copy.db')
    copyFileSync(path, copy)
    copyFileSync(`${path}-wal`, `${copy}-wal`)
    path = copy
    const after = await open()
    after.close()
    expect(rows('sessions')).toBe(1)
  })

  test('the machines that were seen are known, oldest first', async () => {
    const before = await open()
    const provider = 'tee'
    if (!isProviderId(provider)) throw new Error('no id')
    const seen = ['ab', 'cd'].map((value) => ({ provider, member: 'ppid' as const, value }))
    for (const identity of [...seen, ...seen]) before.remember(identity)
    before.close()
    const after = await open()
    expect(after.identities()).toEqual(seen)
  })
})

describe('a file of this run', () => {
  test('holds evidence once, however many sessions are made of it', async () => {
    const file = await open()
    const evidence = randomBytes(5000)
    for (let each = 0; each < 5; each++) {
      const { id, document } = await session(0, evidence)
      file.keep(id, document)
      file.cite(id, clock.now() + 100)
    }
    file.close()
    expect([rows('sessions'), rows('evidence')]).toEqual([5, 1])
  })

  test('writes nothing of what has come and gone between two flushes', async () => {
    const file = await open()
    const { id } = await kept(file)
    file.drop(id)
    file.flush()
    file.close()
    expect(rows('sessions')).toBe(0)
  })

  test('forgets what nothing cites any more, also where a receipt said longer', async () => {
    const file = await open()
    const { id } = await kept(file, { citedFor: 1000 })
    file.flush()
    file.drop(id)
    file.close()
    expect([rows('sessions'), rows('evidence')]).toEqual([0, 0])
  })

  test('shows only what earlier runs kept: what this run has dropped is gone before it is written', async () => {
    const file = await open()
    const { id } = await kept(file, { citedFor: 1000 })
    file.flush()
    file.drop(id)
    expect(await file.find(id)).toBeNull()
  })

  test('holds the live set and what receipts cite after a thousand rounds', async () => {
    const file = await open(8 << 20)
    const store = new SessionStore(file)
    let live: SessionId | null = null
    let largest = 0
    for (let round = 0; round < 1000; round++) {
      const { id, document } = await session(2000)
      store.add(id, document)
      if (live !== null) store.release(live)
      live = id
      if (round % 100 === 0) store.cite(id, clock.now() + 100_000)
      if (round % 7 === 0) file.flush()
      largest = Math.max(largest, statSync(path).size)
    }
    expect(store.size).toBe(11)
    file.close()
    expect([rows('sessions'), rows('evidence')]).toEqual([10, 10])
    expect(largest).toBeLessThan(256 * 1024)
    expect(statSync(path).size).toBeLessThan(128 * 1024)
  })

  test('past its size gives up what earlier runs kept, soonest to end first', async () => {
    const before = await open()
    const ids: SessionId[] = []
    for (let each = 0; each < 8; each++) {
      ids.push((await kept(before, { citedFor: 1000 + each, size: 70_000 })).id)
    }
    before.close()
    const file = await open()
    const added = await kept(file, { citedFor: 1000, size: 300_000 })
    file.flush()
    const found = await Promise.all(ids.map((id) => file.find(id)))
    expect(found[0]).toBeNull()
    expect(found.at(-1)).not.toBeNull()
    expect(events).toEqual([])
    file.close()
    expect(statSync(path).size).toBeLessThanOrEqual(1 << 20)
    const after = await open()
    expect(await after.find(added.id)).toEqual(added.document)
  })

  test('past its size with nothing to give up says so once, and writes when there is room', async () => {
    const file = await open()
    const store = new SessionStore(file)
    const huge = await session(900_000)
    store.add(huge.id, huge.document)
    file.flush()
    file.flush()
    expect(events).toEqual([{ event: 'session_file_failed', reason: 'session_file_full' }])
    expect(await store.document(huge.id)).toEqual(huge.document)
    store.release(huge.id)
    const { id } = await kept(file, { citedFor: 100 })
    file.close()
    const after = await open()
    expect(await after.find(id)).not.toBeNull()
  })

  test('is opened by one process alone', async () => {
    await open()
    await expect(open()).rejects.toMatchObject({ code: 'session_file_busy' })
  })

  test('may be flushed and closed after it was closed', async () => {
    const file = await open()
    file.close()
    file.flush()
    file.close()
    expect(events).toEqual([])
  })
})

describe('a file that is not ours, or not whole', () => {
  const bytes = () => readFileSync(path)
  /** The code that opening it ends with, and whether the file is what it was. */
  const refusal = async (): Promise<readonly [code: unknown, before: string]> => {
    const before = bytes()
    const error: unknown = await open().then(
      () => null,
      (reason: unknown) => reason,
    )
    const code = error instanceof SessionFileError ? error.code : error
    return [code, bytes().equals(before) ? 'left alone' : 'changed']
  }
  const write = (sql: string): void => {
    const database = new DatabaseSync(path)
    database.exec(sql)
    database.close()
  }
  const filled = async (): Promise<SessionId> => {
    const file = await open()
    const { id } = await kept(file, { citedFor: 1000, size: 40_000 })
    file.close()
    return id
  }

  test('of any bytes is refused and left alone', async () => {
    writeFileSync(path, randomBytes(10_000))
    expect(await refusal()).toEqual(['session_file_corrupt', 'left alone'])
  })

  test('of another application is refused and left alone', async () => {
    write('CREATE TABLE sessions (id TEXT)')
    expect(await refusal()).toEqual(['session_file_foreign', 'left alone'])
  })

  test('of another application keeps what it has not yet moved out of its own log', async () => {
    const theirs = join(folder, 'theirs.db')
    const database = new DatabaseSync(theirs)
    database.exec('PRAGMA journal_mode = WAL; CREATE TABLE a (b)')
    database.exec('PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO a VALUES (1)')
    copyFileSync(theirs, path)
    copyFileSync(`${theirs}-wal`, `${path}-wal`)
    database.close()
    const log = readFileSync(`${path}-wal`)
    expect(await refusal()).toEqual(['session_file_foreign', 'left alone'])
    expect(readFileSync(`${path}-wal`).equals(log)).toBe(true)
  })

  test('with our id and another version is refused', async () => {
    await filled()
    write('PRAGMA user_version = 2')
    expect(await refusal()).toEqual(['session_file_foreign', 'left alone'])
  })

  test('with our version and another id is refused', async () => {
    await filled()
    write('PRAGMA application_id = 1')
    expect(await refusal()).toEqual(['session_file_foreign', 'left alone'])
  })

  test.each([
    ['a trigger', 'CREATE TRIGGER t AFTER INSERT ON sessions BEGIN DELETE FROM sessions; END'],
    ['another table', 'CREATE TABLE more (a)'],
    ['another column', 'ALTER TABLE sessions ADD COLUMN more TEXT'],
  ])('with our id and %s is refused', async (_, sql) => {
    await filled()
    write(sql)
    expect(await refusal()).toEqual(['session_file_foreign', 'left alone'])
  })

  test('over the limit is refused before it is read', async () => {
    writeFileSync(path, Buffer.alloc((1 << 20) + 1))
    expect(await refusal()).toEqual(['session_file_too_large', 'left alone'])
  })

  test('that is cut off is refused', async () => {
    await filled()
    writeFileSync(path, bytes().subarray(0, 3 * 4096))
    expect(await refusal()).toEqual(['session_file_corrupt', 'left alone'])
  })

  test('with a damaged page is refused', async () => {
    await filled()
    const damaged = bytes()
    damaged.fill(0xff, 4096, damaged.length)
    writeFileSync(path, damaged)
    expect(await refusal()).toEqual(['session_file_corrupt', 'left alone'])
  })

  test('whose evidence is damaged, though everything else can be read, is refused', async () => {
    await filled()
    const damaged = bytes()
    // The pointer to the next page of one long value.
    damaged.fill(0xff, damaged.length - 3 * 4096, damaged.length - 3 * 4096 + 4)
    writeFileSync(path, damaged)
    expect(await refusal()).toEqual(['session_file_corrupt', 'left alone'])
  })

  test('that is a device is unavailable, and nothing is written to it', async () => {
    path = '/dev/null'
    await expect(open()).rejects.toMatchObject({ code: 'session_file_unavailable' })
  })

  test('in a folder that is not there is unavailable', async () => {
    path = join(folder, 'none', 'sessions.db')
    await expect(open()).rejects.toMatchObject({ code: 'session_file_unavailable' })
  })

  test.each([
    ['without', [], 'session_file_unavailable', false],
    ['with', ['--allow-fs-write='], 'opened', true],
  ])('%s the right to write it', async (_, flags, expected, there) => {
    const script = `
      import('./src/session-database.ts')
        .then(({ openSessionDatabase }) => openSessionDatabase(process.argv[1], 1 << 20))
        .then(() => 'opened', ({ code }) => code)
        .then((text) => process.stdout.write(text))`
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--permission',
      '--allow-fs-read=*',
      ...flags.map((flag) => flag + path),
      '--no-warnings',
      '--conditions=vouchgate-source',
      '--input-type=module',
      '--eval',
      script,
      path,
    ])
    expect([stdout, existsSync(path)]).toEqual([expected, there])
  })

  test('that is a folder is unavailable', async () => {
    path = folder
    await expect(open()).rejects.toMatchObject({ code: 'session_file_unavailable' })
  })

  test.each([
    ['another claim', `UPDATE sessions SET summary = replace(summary, 'asserted', 'refuted')`],
    ['other evidence', `UPDATE evidence SET data = 'data:application/json;base64,e30='`],
    ['no document', `UPDATE sessions SET summary = '{}'`],
    ['no JSON', `UPDATE sessions SET summary = 'x'`],
    ['evidence that is no data', `UPDATE evidence SET data = 'x'`],
  ])('whose session was given %s shows it to nobody', async (_, sql) => {
    const id = await filled()
    write(sql)
    const file = await open()
    expect(await file.find(id)).toBeNull()
    expect(events).toEqual([{ event: 'session_file_failed', reason: 'session_file_corrupt' }])
  })

  test('whose machines are no machines names none', async () => {
    await filled()
    write(`INSERT INTO identities VALUES ('Not An Id', 'ppid', 'ab'), ('tee', 'serial', 'ab')`)
    expect((await open()).identities()).toEqual([])
  })
})

describe('a gateway that is restarted', () => {
  let world: World
  const options = (): WorldOptions => ({
    clock,
    edit: (file) => Object.assign(file, { sessions: { path }, receipts: { ttl_seconds: 3600 } }),
  })
  beforeEach(async () => {
    world = await startWorld(options())
    await world.gateway.tick()
  })
  afterEach(() => world.close())

  test('shows the sessions that its receipts cite, and serves with none of them', async () => {
    const receipt = await receiptOf(world, await world.chat(prompt('secure')))
    const id = String(eventOf(receipt, 'upstream.verified')?.['session_id'])
    const [uncited = ''] = await sessionIds(world, '?upstream_name=tee-backup')
    await world.close()
    world = await startWorld(options())
    await world.gateway.tick()
    const { text, status } = await world.call(`/v1/aci/sessions/${id}`, { key: null })
    expect(status).toBe(200)
    expect((await verifySession(parseSession(JSON.parse(text)))).id).toBe(id)
    expect((await world.call(`/v1/aci/sessions/${uncited}`)).status).toBe(404)
    expect(await sessionIds(world)).not.toContain(id)
    const pinned = { ...prompt('secure'), provider: { aci_session_ids: [id] } }
    const answer = await world.chat(pinned)
    expect([answer.status, answer.at('error.code')]).toEqual([412, 'session_not_accepted'])
    clock.advance(3600)
    expect((await world.call(`/v1/aci/sessions/${id}`)).status).toBe(404)
  })

  test('writes no prompt and no key, and attests that it may write', async () => {
    await world.chat(prompt('secure'))
    await world.gateway.tick()
    const written = readFileSync(path, 'latin1') + readFileSync(`${path}-wal`, 'latin1')
    expect(written).toContain('upstream_name')
    expect(written).not.toContain('canary')
    expect(written).not.toContain('upstream-secret')
    const report = await world.call('/v1/aci/attestation')
    expect(report.at('attestation.evidence.boot.self_check.fs_write_denied')).toBe('not_held')
  })
})

test('a gateway whose file is damaged does not start, and says why in a code', async () => {
  writeFileSync(path, randomBytes(10_000))
  const started = startWorld({ clock, edit: (file) => Object.assign(file, { sessions: { path } }) })
  await expect(started).rejects.toMatchObject({ code: 'session_file_corrupt' })
  expect(failureOf(new SessionFileError('session_file_corrupt'))).toMatchObject({
    exit: 1,
    code: 'session_file_corrupt',
  })
})

test('a configuration names a file by its absolute path alone, and is told what it costs', async () => {
  const vendor = createTeeVendor({ now: clock.now() })
  const origin = 'https://127.0.0.1:1'
  const plain = 'http://127.0.0.1:1'
  const origins = { model: origin, backup: origin, plain, plainBackup: plain }
  const document = configFile(vendor, { ...origins, pcs: plain, rootCrl: plain })
  const config = readConfig({ ...document, sessions: { path: '/data/sessions.db' } })
  expect(config.sessions).toEqual({ path: '/data/sessions.db', max_bytes: 1 << 26 })
  expect(readConfig(document).sessions.path).toBeNull()
  expect(() => readConfig({ ...document, sessions: { path: 'sessions.db' } })).toThrow('not valid')
  expect(describeConfig(config).join('\n')).toContain('UNPROVEN: the process may write files')
  expect(describeConfig(config).join('\n')).not.toContain('WILL NOT START')
  const enforced = { ...document.enclave, quote_source: 'dstack', self_check: 'enforce' }
  const refused = readConfig({ ...document, enclave: enforced, sessions: { path: '/data/s.db' } })
  expect(describeConfig(refused).join('\n')).toContain('WILL NOT START')
})
