import {
  launchClaims,
  parseDstackLog,
  testPkiRoot,
  toHex,
  verifyEventLog,
  verifyQuote,
  type LaunchClaims,
  type LaunchInput,
  type VerifiedEventLog,
} from '@vouchgate/attestation'
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { concat } from '../support/der.ts'
import { bootEntry, registersOf, runtimeEntry, type DstackEntry } from '../support/eventlog.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()
const utf8 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const sha256Of = (...parts: Uint8Array[]): Uint8Array =>
  Uint8Array.from(
    createHash('sha256')
      .update(concat(...parts))
      .digest(),
  )

const COMPOSE = '{"name":"gateway","docker_compose_file":"services: {}"}'
const COMPOSE_HASH = sha256Of(utf8(COMPOSE))
const APP_ID = COMPOSE_HASH.slice(0, 20)
const INSTANCE_ID = new Uint8Array(20).fill(0x15)
const OS_IMAGE_HASH = new Uint8Array(32).fill(0x05)
const KEY_PROVIDER = { name: 'kms', id: '3059' }

const BOOT = [bootEntry(0, 'TD HOB'), bootEntry(1, 'kernel'), bootEntry(2, 'command line')]
const EVENTS: Readonly<Record<string, Uint8Array>> = {
  'system-preparing': new Uint8Array(0),
  'app-id': APP_ID,
  'compose-hash': COMPOSE_HASH,
  'instance-id': INSTANCE_ID,
  'os-image-hash': OS_IMAGE_HASH,
  'key-provider': utf8(JSON.stringify(KEY_PROVIDER)),
}
const READY = runtimeEntry('system-ready')
const entries = (events: Readonly<Record<string, Uint8Array>>): DstackEntry[] =>
  Object.entries(events).map(([name, payload]) => runtimeEntry(name, payload))
const LAUNCH = [...BOOT, ...entries(EVENTS), READY]
const launchWith = (changed: Readonly<Record<string, Uint8Array>>): DstackEntry[] => [
  ...BOOT,
  ...entries({ ...EVENTS, ...changed }),
  READY,
]

const MRTD = new Uint8Array(48).fill(0x4d)

async function verified(
  log: readonly DstackEntry[],
  fields: { readonly mrConfigId?: Uint8Array; readonly tdAttributes?: string } = {},
): Promise<VerifiedEventLog> {
  const quote = await verifyQuote({
    quote: await vendor.quote({
      reportData: new Uint8Array(64),
      mrtd: MRTD,
      ...fields,
      ...registersOf(log),
    }),
    collateral: vendor.collateral(),
    now: vendor.now,
    trustedRoot: await testPkiRoot(vendor.rootPem),
  })
  return verifyEventLog(await parseDstackLog(JSON.stringify(log)), quote)
}

const PLATFORM = {
  mrtd: toHex(MRTD),
  rtmr0: toHex(registersOf(BOOT).rtmr0),
  rtmr1: toHex(registersOf(BOOT).rtmr1),
  rtmr2: toHex(registersOf(BOOT).rtmr2),
}

interface Given extends Partial<Omit<LaunchInput, 'log'>> {
  readonly log?: readonly DstackEntry[]
  readonly mrConfigId?: Uint8Array
  readonly tdAttributes?: string
}

async function claimsOf({
  log = LAUNCH,
  mrConfigId = new Uint8Array(48),
  tdAttributes = '0000001000000000',
  ...input
}: Given): Promise<LaunchClaims> {
  const fields = { mrConfigId, tdAttributes }
  return launchClaims({ log: await verified(log, fields), platforms: [PLATFORM], ...input })
}

const asserted = (value: unknown) => ({ status: 'asserted', value })
const unknown = (reason: string) => ({ status: 'unknown', reason })

test('a launch on an expected platform gives its claims', async () => {
  expect(await claimsOf({ appCompose: COMPOSE })).toEqual({
    composeHash: asserted(toHex(COMPOSE_HASH)),
    appId: asserted(toHex(APP_ID)),
    instanceId: asserted(toHex(INSTANCE_ID)),
    osImageHash: asserted(toHex(OS_IMAGE_HASH)),
    keyProvider: asserted(KEY_PROVIDER),
    appCompose: asserted(COMPOSE),
    configId: unknown('config_id_absent'),
  })
})

describe('no claim stands', () => {
  const other = 'ee'.repeat(48)
  const PLATFORMS: Record<string, LaunchInput['platforms']> = {
    'where any platform will do': 'any',
    'where no platform is expected': [],
    ...Object.fromEntries(
      Object.keys(PLATFORM).flatMap((name) => [
        [`where ${name} is another`, [{ ...PLATFORM, [name]: other }]],
        [`where ${name} is left open`, [{ ...PLATFORM, [name]: 'any' }]],
      ]),
    ),
    'where two rows match by halves': [
      { ...PLATFORM, mrtd: other },
      { ...PLATFORM, rtmr2: other },
    ],
  }

  test.for(Object.entries(PLATFORMS))('%s', async ([, platforms]) => {
    const claims = await claimsOf({ platforms, appCompose: COMPOSE })
    expect(Object.values(claims)).toEqual(
      Array.from({ length: 7 }, () => unknown('platform_not_expected')),
    )
  })

  test('where the TD can be debugged', async () => {
    const claims = await claimsOf({ tdAttributes: '0100001000000000', appCompose: COMPOSE })
    expect(Object.values(claims)).toEqual(Array.from({ length: 7 }, () => unknown('debug_enabled')))
  })

  test('before the system is ready', async () => {
    const claims = await claimsOf({ log: LAUNCH.slice(0, -1), appCompose: COMPOSE })
    expect(Object.values(claims)).toEqual(
      Array.from({ length: 7 }, () => unknown('launch_not_finished')),
    )
  })
})

describe('a claim is unknown', () => {
  test('where its event is absent, or comes after the system was ready', async () => {
    const { 'compose-hash': _compose, 'app-id': _app, ...others } = EVENTS
    const late = [
      ...BOOT,
      ...entries(others),
      READY,
      runtimeEntry('compose-hash', COMPOSE_HASH),
      runtimeEntry('app-id', APP_ID),
    ]
    expect(await claimsOf({ log: late, appCompose: COMPOSE })).toMatchObject({
      composeHash: unknown('event_absent'),
      appId: unknown('event_absent'),
      appCompose: unknown('event_absent'),
      configId: unknown('event_absent'),
      instanceId: asserted(toHex(INSTANCE_ID)),
    })
  })

  test('where its event is in another register than RTMR3', async () => {
    const { 'app-id': appId, ...others } = EVENTS
    const moved = { ...runtimeEntry('app-id', appId), imr: 2 }
    const log = [...BOOT, moved, ...entries(others), READY]
    const platforms = [{ ...PLATFORM, rtmr2: toHex(registersOf(log).rtmr2) }]
    expect(await claimsOf({ log, platforms })).toMatchObject({ appId: unknown('event_absent') })
  })

  test('where its event is empty', async () => {
    const log = launchWith({ 'instance-id': new Uint8Array(0) })
    expect(await claimsOf({ log })).toMatchObject({ instanceId: unknown('event_empty') })
  })

  test('where the app compose is not published', async () => {
    expect(await claimsOf({})).toMatchObject({ appCompose: unknown('app_compose_absent') })
  })
})

test('what an application extends later changes no claim', async () => {
  const log = [...LAUNCH, runtimeEntry('compose-hash', new Uint8Array(32)), READY]
  expect(await claimsOf({ log })).toMatchObject({ composeHash: asserted(toHex(COMPOSE_HASH)) })
})

describe('a launch is refused, whatever the platform, for', () => {
  const REFUSALS: Record<string, [code: string, given: Given]> = {
    ...Object.fromEntries(
      ['app-id', 'compose-hash', 'instance-id', 'os-image-hash', 'key-provider'].map((name) => [
        `two events ${name}`,
        [
          'launch_event_duplicate',
          { log: [...BOOT, runtimeEntry(name, EVENTS[name]), ...entries(EVENTS), READY] },
        ],
      ]),
    ),
    ...Object.fromEntries(
      ['app-id', 'compose-hash', 'instance-id', 'os-image-hash'].map((name) => [
        `an ${name} of another length`,
        ['launch_event_malformed', { log: launchWith({ [name]: new Uint8Array(19) }) }],
      ]),
    ),
    'a key provider without an id': [
      'launch_event_malformed',
      { log: launchWith({ 'key-provider': utf8('{"name":"kms"}') }) },
    ],
    'a key provider that is no JSON': [
      'json_malformed',
      { log: launchWith({ 'key-provider': utf8('kms') }) },
    ],
    'a key provider that is no UTF-8': [
      'encoding_malformed',
      { log: launchWith({ 'key-provider': Uint8Array.of(0xff) }) },
    ],
    'another app compose': ['app_compose_mismatch', { appCompose: `${COMPOSE} ` }],
  }

  test.for(Object.entries(REFUSALS))('%s', async ([, [code, given]]) => {
    await expect(claimsOf(given)).rejects.toMatchObject({ code })
    await expect(claimsOf({ ...given, platforms: 'any' })).rejects.toMatchObject({ code })
  })
})

describe('MRCONFIGID', () => {
  const configId = (version: number, digest: Uint8Array, tail = new Uint8Array(15)): Uint8Array =>
    concat(Uint8Array.of(version), digest, tail)
  const DOCUMENT = {
    app_id: toHex(APP_ID),
    compose_hash: toHex(COMPOSE_HASH),
    instance_id: toHex(INSTANCE_ID),
    key_provider: 'kms',
    key_provider_id: KEY_PROVIDER.id,
    version: 3,
  }
  const v3 = (document: unknown): Given => {
    const configDocument = typeof document === 'string' ? document : JSON.stringify(document)
    const digest = sha256Of(utf8('dstack-mr-config-v3:\0'), utf8(configDocument))
    return { configDocument, mrConfigId: configId(3, digest) }
  }

  const keyProvider = (name: string, id = 'aabbccdd') => utf8(JSON.stringify({ name, id }))
  const counting = (length: number) => Uint8Array.from({ length }, (_, index) => index)
  const PUBLISHED_EVENTS = {
    'compose-hash': counting(32),
    'app-id': counting(20),
    'key-provider': keyProvider('kms'),
  }
  /** A digest that dstack's own SDK publishes for these values. */
  const PUBLISHED: Given = {
    log: launchWith(PUBLISHED_EVENTS),
    mrConfigId: configId(
      2,
      Buffer.from('e472ed80a08042f044ba63b53b798e98e3ea5219cd078007b1ac8b3dfc762b94', 'hex'),
    ),
  }

  const publishedBut = (changed: Readonly<Record<string, Uint8Array>>): Given => ({
    ...PUBLISHED,
    log: launchWith({ ...PUBLISHED_EVENTS, ...changed }),
  })

  const READ: Record<string, [claim: object, given: Given]> = {
    'of version 1 names the compose hash': [asserted(1), { mrConfigId: configId(1, COMPOSE_HASH) }],
    'of version 2 names compose hash, app and key provider': [asserted(2), PUBLISHED],
    'of version 2 says nothing without an app id': [
      unknown('event_empty'),
      publishedBut({ 'app-id': new Uint8Array(0) }),
    ],
    'of version 2 says nothing without a key provider': [
      unknown('event_empty'),
      publishedBut({ 'key-provider': new Uint8Array(0) }),
    ],
    'of version 2 with a key provider of an unknown kind is not judged': [
      unknown('config_id_unrecognised'),
      publishedBut({ 'key-provider': keyProvider('other') }),
    ],
    'of version 3 names a document that agrees': [asserted(3), v3(DOCUMENT)],
    'of version 3 may pin no more than the compose hash': [
      asserted(3),
      v3({ compose_hash: DOCUMENT.compose_hash }),
    ],
    'of version 3 says nothing without its document': [
      unknown('config_id_document_absent'),
      { mrConfigId: configId(3, COMPOSE_HASH) },
    ],
    'of another version is not judged': [
      unknown('config_id_unrecognised'),
      { mrConfigId: configId(4, COMPOSE_HASH) },
    ],
    'with more than a digest is not judged': [
      unknown('config_id_unrecognised'),
      { mrConfigId: configId(1, COMPOSE_HASH, new Uint8Array(15).fill(1)) },
    ],
  }

  test.for(Object.entries(READ))('%s', async ([, [claim, given]]) => {
    expect((await claimsOf(given)).configId).toEqual(claim)
  })

  const other = 'dd'.repeat(20)
  const log = launchWith({ 'instance-id': new Uint8Array(0) })
  const REFUSALS: Record<string, [code: string, given: Given]> = {
    'of version 1 for another compose': [
      'config_id_mismatch',
      { mrConfigId: configId(1, new Uint8Array(32).fill(1)) },
    ],
    'of version 2 for another compose': [
      'config_id_mismatch',
      publishedBut({ 'compose-hash': COMPOSE_HASH }),
    ],
    'of version 2 for another app': ['config_id_mismatch', publishedBut({ 'app-id': APP_ID })],
    'of version 2 for another kind of key provider': [
      'config_id_mismatch',
      publishedBut({ 'key-provider': keyProvider('tpm') }),
    ],
    'of version 2 for another key provider': [
      'config_id_mismatch',
      publishedBut({ 'key-provider': keyProvider('kms', 'aabbccde') }),
    ],
    'of version 2 with a key provider whose id is no hex': [
      'encoding_malformed',
      publishedBut({ 'key-provider': keyProvider('kms', 'mykms') }),
    ],
    'of version 3 for another document': [
      'config_id_mismatch',
      { ...v3(DOCUMENT), configDocument: JSON.stringify(DOCUMENT, null, 1) },
    ],
    'for a document with another compose hash': [
      'config_id_mismatch',
      v3({ ...DOCUMENT, compose_hash: 'dd'.repeat(32) }),
    ],
    'for a document with another app id': [
      'config_id_mismatch',
      v3({ ...DOCUMENT, app_id: other }),
    ],
    'for a document with another instance id': [
      'config_id_mismatch',
      v3({ ...DOCUMENT, instance_id: other }),
    ],
    'for a document with another key provider': [
      'config_id_mismatch',
      v3({ ...DOCUMENT, key_provider_id: other }),
    ],
    'for a document that pins what was not measured': [
      'config_id_mismatch',
      { ...v3(DOCUMENT), log },
    ],
    'for a document of another version': ['config_id_mismatch', v3({ ...DOCUMENT, version: 4 })],
    'for a document that is no JSON': ['json_malformed', v3('compose')],
  }

  test.for(Object.entries(REFUSALS))('%s is refused', async ([, [code, given]]) => {
    await expect(claimsOf(given)).rejects.toMatchObject({ code })
  })
})

test('no claims are made of a log that nobody verified', async () => {
  const forged = Object.create(await verified(LAUNCH))
  await expect(launchClaims({ log: forged, platforms: [PLATFORM] })).rejects.toThrow(
    'not a VerifiedEventLog',
  )
})
