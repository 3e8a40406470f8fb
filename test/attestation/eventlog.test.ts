import {
  EvidenceError,
  parseCcel,
  parseDstackLog,
  replay,
  testPkiRoot,
  toHex,
  verifyEventLog,
  verifyQuote,
} from '@vouchgate/attestation'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { VerifiedEventLog } from '../../attestation/eventlog/replay.ts'
import { parseEnclaveReport } from '../../attestation/tdx/body.ts'
import { GenuineQuote } from '../../attestation/tdx/verdict.ts'
import { concat } from '../support/der.ts'
import {
  ascii,
  bootEntry,
  ccel,
  ccelRecord,
  efiVariable,
  EV,
  extended,
  registersOf,
  runtimeEntry,
  runtimePreimage,
  SHA256,
  SHA384,
  sha384Of,
  type CcelRecord,
  type DstackEntry,
  type Registers,
} from '../support/eventlog.ts'
import { createTeeVendor } from '../support/tee-vendor.ts'

const vendor = createTeeVendor()

async function genuine(registers: Registers): Promise<GenuineQuote> {
  return verifyQuote({
    quote: await vendor.quote({ reportData: new Uint8Array(64), ...registers }),
    collateral: vendor.collateral(),
    now: vendor.now,
    trustedRoot: await testPkiRoot(vendor.rootPem),
  })
}

const codeOf = async (parsed: Promise<unknown>): Promise<string> =>
  parsed.then(
    () => 'read',
    (error: unknown) => (error instanceof EvidenceError ? error.code : String(error)),
  )

const separator: CcelRecord = { register: 1, type: EV.separator, data: new Uint8Array(4) }
const action: CcelRecord = { register: 2, type: EV.efiAction, data: ascii('Exit Boot Services') }
const image: CcelRecord = {
  register: 2,
  type: EV.bootServicesApplication,
  data: ascii('a device path'),
  digests: [[SHA384, sha384Of(ascii('an image'))]],
}
const note: CcelRecord = { register: 3, type: EV.noAction, data: ascii('StartupLocality') }
const beforeLaunch: CcelRecord = { register: 0, type: EV.separator, data: new Uint8Array(4) }
const command: CcelRecord = {
  register: 3,
  type: EV.ipl,
  data: ascii('grub_cmd: linux /vmlinuz\0'),
  digests: [[SHA384, sha384Of(ascii('linux /vmlinuz'))]],
}
const RECORDS = [beforeLaunch, separator, action, image, note, command]

const digestOf = ({ data, digests }: CcelRecord): Uint8Array => digests?.[0]?.[1] ?? sha384Of(data)
const registersOfRecords = (records: readonly CcelRecord[]): Registers =>
  extended(records.map((record) => [record.register - 1, digestOf(record)]))
/** What a guest extends: neither EV_NO_ACTION nor MRTD. */
const EXTENDED = RECORDS.filter((record) => record !== note && record !== beforeLaunch)

describe('a CCEL', () => {
  test('gives the events that were extended, and says which text their digest covers', async () => {
    const { format, events } = await parseCcel(ccel(RECORDS))
    expect(format).toBe('ccel')
    expect(
      events.map((event) =>
        event.kind === 'boot'
          ? [event.rtmr, event.type, event.content.status, toHex(event.content.bytes)]
          : [],
      ),
    ).toEqual([
      [0, EV.separator, 'measured', '00000000'],
      [1, EV.efiAction, 'measured', toHex(ascii('Exit Boot Services'))],
      [1, EV.bootServicesApplication, 'label', toHex(ascii('a device path'))],
      // The prefix is not measured: another log could call the same text a kernel command line.
      [2, EV.ipl, 'measured', toHex(ascii('linux /vmlinuz'))],
    ])
  })

  test.for([
    ['nothing', new Uint8Array(0)],
    ['zeros', new Uint8Array(100)],
    ['ones', new Uint8Array(100).fill(0xff)],
    ['the end marker alone', new Uint8Array(4).fill(0xff)],
    ['the end marker and zeros', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0)],
  ] as const)('may be followed by %s', async ([, tail]) => {
    expect((await parseCcel(ccel(RECORDS, { tail }))).events).toHaveLength(EXTENDED.length)
  })

  test('may hold further digests that it declares, and vendor data', async () => {
    const digests = [
      [SHA256, new Uint8Array(32)],
      [SHA384, sha384Of(separator.data)],
    ] as const
    const log = ccel([{ ...separator, digests }], {
      algorithms: [
        [SHA384, 48],
        [SHA256, 32],
      ],
      vendor: ascii('vendor'),
    })
    expect((await parseCcel(log)).events).toHaveLength(1)
  })

  const tagged = concat(ascii('LEAA'), Uint8Array.of(5, 0, 0, 0), ascii('event'))
  const value = ascii('a value')
  const CONTENTS: readonly (readonly [string, number, Uint8Array, Uint8Array, string])[] = [
    ['an event tag that holds its data', EV.eventTag, tagged, tagged, 'measured'],
    ['an event tag that names its data', EV.eventTag, tagged, ascii('an initrd'), 'label'],
    ['a MOK variable', EV.ipl, ascii('MokList\0'), ascii('the list'), 'label'],
    ['a loader text without a prefix', EV.ipl, ascii('text\0'), ascii('text'), 'measured'],
    ['a loader text without a NUL', EV.ipl, ascii('cmd text'), ascii('text'), 'measured'],
    [
      'a boot variable, of which the name is not measured',
      EV.variableBoot,
      efiVariable('Boot0000', value),
      value,
      'measured',
    ],
    [
      'a boot variable measured whole',
      EV.variableBoot,
      efiVariable('Boot0000', value),
      efiVariable('Boot0000', value),
      'measured',
    ],
    ['an unknown type', 0x1234, ascii('text'), ascii('text'), 'label'],
  ]

  test.for(CONTENTS)('reads %s', async ([, type, data, covered, status]) => {
    const log = ccel([{ register: 1, type, data, digests: [[SHA384, sha384Of(covered)]] }])
    const [event] = (await parseCcel(log)).events
    expect(event).toMatchObject({
      content: { status, bytes: status === 'measured' ? covered : data },
    })
  })

  const kept = (type: number, data: Uint8Array): CcelRecord => ({
    register: 1,
    type,
    data,
    digests: [[SHA384, sha384Of(ascii('what was measured'))]],
  })
  const REFUSALS: Record<string, [code: string, log: Uint8Array]> = {
    'more than 4 MiB': ['eventlog_too_large', ccel([], { tail: new Uint8Array(1 << 22) })],
    'more than 10 000 records': [
      'eventlog_too_large',
      ccel(Array.from({ length: 10_001 }, () => separator)),
    ],
    'a first record of another type': ['eventlog_malformed', ccel(RECORDS, { firstType: 4 })],
    'a first record with a digest': [
      'eventlog_malformed',
      ccel(RECORDS, { sha1: new Uint8Array(20).fill(1) }),
    ],
    'another signature': ['eventlog_malformed', ccel(RECORDS, { signature: 'Spec ID Event02\0' })],
    'seventeen algorithms': [
      'eventlog_malformed',
      ccel(RECORDS, {
        algorithms: Array.from({ length: 17 }, (_, at) => [SHA384 + at, 48] as const),
      }),
    ],
    'an algorithm count of 0xffffffff': [
      'eventlog_malformed',
      ccel(RECORDS, { algorithmCount: 0xffff_ffff }),
    ],
    'an algorithm declared twice': [
      'eventlog_malformed',
      ccel(RECORDS, {
        algorithms: [
          [SHA384, 48],
          [SHA384, 48],
        ],
      }),
    ],
    'SHA-384 of another size': ['eventlog_malformed', ccel([], { algorithms: [[SHA384, 32]] })],
    'no SHA-384': ['eventlog_malformed', ccel([], { algorithms: [[SHA256, 32]] })],
    'vendor data beyond the event': ['eventlog_malformed', ccel(RECORDS, { vendorLength: 1 })],
    'bytes after the vendor data': [
      'eventlog_malformed',
      ccel(RECORDS, { afterVendor: Uint8Array.of(0) }),
    ],
    'a digest count of 0xffffffff': [
      'eventlog_malformed',
      ccel([{ ...separator, digestCount: 0xffff_ffff }]),
    ],
    'more digests than algorithms': [
      'eventlog_malformed',
      ccel([
        {
          ...separator,
          digests: [
            [SHA384, sha384Of(separator.data)],
            [SHA384, sha384Of(separator.data)],
          ],
        },
      ]),
    ],
    'an algorithm that is not declared': [
      'eventlog_algorithm_unknown',
      ccel([{ ...separator, digests: [[SHA256, new Uint8Array(32)]] }]),
    ],
    'a digest given twice': [
      'eventlog_malformed',
      ccel(
        [
          {
            ...separator,
            digests: [
              [SHA384, new Uint8Array(48)],
              [SHA384, sha384Of(separator.data)],
            ],
          },
        ],
        {
          algorithms: [
            [SHA384, 48],
            [SHA256, 32],
          ],
        },
      ),
    ],
    'a record without SHA-384': [
      'eventlog_malformed',
      ccel([{ ...separator, digests: [[SHA256, new Uint8Array(32)]] }], {
        algorithms: [
          [SHA384, 48],
          [SHA256, 32],
        ],
      }),
    ],
    'a record without digests': ['eventlog_malformed', ccel([{ ...separator, digests: [] }])],
    'data beyond the end': [
      'eventlog_malformed',
      ccel([{ ...separator, dataLength: 0xffff_ffff }]),
    ],
    'a register after RTMR3': ['eventlog_register_unknown', ccel([{ ...separator, register: 5 }])],
    'a record after the end marker': [
      'eventlog_trailing_bytes',
      ccel(RECORDS, { tail: concat(new Uint8Array(4).fill(0xff), ccelRecord(separator)) }),
    ],
    'half an end marker': [
      'eventlog_malformed',
      ccel(RECORDS, { tail: Uint8Array.of(0xff, 0xff) }),
    ],
    'a separator changed with its digest kept': [
      'eventlog_digest_mismatch',
      ccel([kept(EV.separator, Uint8Array.of(0, 0, 0, 1))]),
    ],
    'a separator whose digest was changed': [
      'eventlog_digest_mismatch',
      ccel([{ ...separator, digests: [[SHA384, new Uint8Array(48)]] }]),
    ],
    'an EFI variable changed with its digest kept': [
      'eventlog_digest_mismatch',
      ccel([kept(EV.variableDriverConfig, efiVariable('SecureBoot', Uint8Array.of(1)))]),
    ],
    'a boot variable changed with its digest kept': [
      'eventlog_digest_mismatch',
      ccel([kept(EV.variableBoot, efiVariable('BootOrder', Uint8Array.of(0, 0)))]),
    ],
    'a boot variable too short to be one': [
      'eventlog_digest_mismatch',
      ccel([kept(EV.variableBoot, new Uint8Array(31))]),
    ],
    'a boot variable whose name would be longer than memory': [
      'eventlog_digest_mismatch',
      ccel([kept(EV.variableBoot, new Uint8Array(40).fill(0xff))]),
    ],
  }

  test.for(Object.entries(REFUSALS))('is refused for %s', async ([, [code, log]]) => {
    await expect(parseCcel(log)).rejects.toMatchObject({ code, step: 'event_log' })
  })

  test.for([
    EV.separator,
    EV.action,
    EV.variableDriverConfig,
    EV.gptEvent,
    EV.efiAction,
    EV.variableBoot2,
    EV.variableAuthority,
  ])('is refused for changed data where type %d defines the digest', async (type) => {
    await expect(parseCcel(ccel([kept(type, ascii('what is told'))]))).rejects.toMatchObject({
      code: 'eventlog_digest_mismatch',
    })
  })

  test('cut anywhere but between two records is refused', async () => {
    // Not with a record of MRTD, whose first bytes are zero and so padding.
    const records = RECORDS.slice(1)
    const log = ccel(records, { tail: new Uint8Array(0) })
    const after = (count: number): number => concat(...records.slice(count).map(ccelRecord)).length
    const ends = records.map((_, count) => log.length - after(count))
    const uncut = await Promise.all(
      Array.from({ length: log.length }, async (_, end) => codeOf(parseCcel(log.slice(0, end)))),
    )
    expect(uncut).toEqual(
      Array.from({ length: log.length }, (_, end) =>
        ends.includes(end) ? 'read' : 'eventlog_malformed',
      ),
    )
  })
})

const COMPOSE_HASH = sha384Of(ascii('compose')).slice(0, 32)
const LAUNCH: readonly DstackEntry[] = [
  bootEntry(0, 'TD HOB'),
  bootEntry(0, 'ACPI'),
  bootEntry(1, 'kernel'),
  bootEntry(2, 'command line'),
  runtimeEntry('system-preparing'),
  runtimeEntry('compose-hash', COMPOSE_HASH),
  runtimeEntry('instance-id', new Uint8Array(20).fill(7), 2),
  runtimeEntry('system-ready'),
]
const COMPOSE = 5
const json = (entries: readonly unknown[]): string => JSON.stringify(entries)
const edited = (at: number, change: Partial<DstackEntry>): readonly DstackEntry[] =>
  LAUNCH.map((entry, index) => (index === at ? { ...entry, ...change } : entry))

describe('a dstack log', () => {
  test('gives runtime events of both versions with the digest that was computed', async () => {
    const { format, events } = await parseDstackLog(json(LAUNCH))
    expect(format).toBe('dstack')
    expect(events.map(({ digest }) => toHex(digest))).toEqual(LAUNCH.map(({ digest }) => digest))
    expect(events[COMPOSE]).toMatchObject({
      kind: 'runtime',
      rtmr: 3,
      name: 'compose-hash',
      payload: COMPOSE_HASH,
    })
  })

  test('may leave out the digests of runtime events, not what they stand for', async () => {
    const stripped = LAUNCH.map((entry) =>
      entry.event_type === EV.runtime ? { ...entry, digest: '', preimage: undefined } : entry,
    )
    const absent = stripped.map(({ digest, ...entry }) =>
      digest === '' ? entry : { ...entry, digest },
    )
    const want = await parseDstackLog(json(LAUNCH))
    expect(await parseDstackLog(json(stripped))).toEqual(want)
    expect(await parseDstackLog(json(absent))).toEqual(want)
  })

  test('pads digests shorter than a register with zeros', async () => {
    const [event] = (
      await parseDstackLog(json([{ ...bootEntry(0, 'x'), digest: 'ab'.repeat(20) }]))
    ).events
    expect(toHex(event?.digest ?? new Uint8Array(0))).toBe('ab'.repeat(20) + '00'.repeat(28))
  })

  const colon = runtimeEntry('compose-hash:x', COMPOSE_HASH)
  const REFUSALS: Record<string, [code: string, text: string]> = {
    'more than 4 MiB': ['eventlog_too_large', `[]${' '.repeat(1 << 22)}`],
    'more than 10 000 events': [
      'eventlog_too_large',
      json(Array.from({ length: 10_001 }, () => runtimeEntry('x'))),
    ],
    'text that is no JSON': ['json_malformed', 'log'],
    'a member given twice': [
      'json_malformed',
      json(LAUNCH).replace('"event":"compose-hash"', '"event":"compose-hash","event":"app-id"'),
    ],
    'an object': ['eventlog_malformed', '{}'],
    'an entry without a payload': [
      'eventlog_malformed',
      json([{ ...runtimeEntry('x'), event_payload: undefined }]),
    ],
    'a payload that is no hex': [
      'eventlog_malformed',
      json(edited(COMPOSE, { event_payload: 'x' })),
    ],
    'a digest longer than a register': [
      'eventlog_malformed',
      json(edited(0, { digest: 'ab'.repeat(49) })),
    ],
    'an event type that is no u32': [
      'eventlog_malformed',
      json(edited(0, { event_type: 2 ** 32 })),
    ],
    'a name that has no UTF-8 form': [
      'eventlog_malformed',
      json([{ ...runtimeEntry('x'), event: '\ud800', digest: '' }]),
    ],
    'a boot event without a digest': ['eventlog_malformed', json(edited(0, { digest: '' }))],
    'a register after RTMR3': ['eventlog_register_unknown', json(edited(0, { imr: 4 }))],
    'a payload changed with the digest kept': [
      'eventlog_digest_mismatch',
      json(edited(COMPOSE, { event_payload: '00'.repeat(32) })),
    ],
    'a name changed with the digest kept': [
      'eventlog_digest_mismatch',
      json(edited(COMPOSE, { event: 'app-id' })),
    ],
    'a digest that was changed': [
      'eventlog_digest_mismatch',
      json(edited(COMPOSE, { digest: '00'.repeat(48) })),
    ],
    'the digest of the other version': [
      'eventlog_digest_mismatch',
      json(edited(COMPOSE, { version: 2 })),
    ],
    'a preimage of another event': [
      'eventlog_digest_mismatch',
      json(edited(COMPOSE, { preimage: toHex(runtimePreimage('app-id', COMPOSE_HASH, 1)) })),
    ],
    'a version 3': ['eventlog_version_unsupported', json(edited(COMPOSE, { version: 3 }))],
    'a name that could be split elsewhere': ['eventlog_malformed', json([colon])],
    'an event of RTMR3 that only states its digest': [
      'eventlog_event_unsupported',
      json([...LAUNCH, bootEntry(3, 'anything')]),
    ],
    'a runtime event disguised as a tag that holds its preimage': [
      'eventlog_event_unsupported',
      json(
        edited(COMPOSE, {
          event_type: EV.eventTag,
          event: '',
          event_payload: toHex(runtimePreimage('compose-hash', COMPOSE_HASH, 1)),
        }),
      ),
    ],
    'a boot event changed with the digest kept': [
      'eventlog_digest_mismatch',
      json([
        {
          ...bootEntry(1, 'x'),
          event_type: EV.efiAction,
          event_payload: toHex(ascii('Exit Boot Services')),
        },
      ]),
    ],
  }

  test.for(Object.entries(REFUSALS))('is refused for %s', async ([, [code, text]]) => {
    await expect(parseDstackLog(text)).rejects.toMatchObject({ code })
  })
})

describe('a log is verified', () => {
  test('where it replays to all four registers of a genuine quote', async () => {
    const registers = registersOf(LAUNCH)
    const quote = await genuine(registers)
    const log = await verifyEventLog(await parseDstackLog(json(LAUNCH)), quote)
    expect(VerifiedEventLog.is(log)).toBe(true)
    expect([log.format, log.events.length]).toEqual(['dstack', LAUNCH.length])
    expect(toHex(log.report.rtmr3)).toBe(toHex(registers.rtmr3))
    expect(toHex(await replay({ format: log.format, events: log.events }, 3))).toBe(
      toHex(registers.rtmr3),
    )
  })

  test('where EV_NO_ACTION and MRTD records are left out of the replay', async () => {
    const quote = await genuine(registersOfRecords(EXTENDED))
    const log = await verifyEventLog(await parseCcel(ccel(RECORDS)), quote)
    expect(log.format).toBe('ccel')
  })

  test('and a look-alike is not a verified log', async () => {
    const log = await verifyEventLog(
      await parseDstackLog(json(LAUNCH)),
      await genuine(registersOf(LAUNCH)),
    )
    for (const forged of [{ ...log }, Object.create(log), null]) {
      expect(VerifiedEventLog.is(forged)).toBe(false)
    }
  })

  const [hob, acpi, ...rest] = LAUNCH
  const swapped = [acpi, hob, ...rest]
  const CHANGES: Record<string, readonly unknown[]> = {
    'an event removed': LAUNCH.toSpliced(COMPOSE, 1),
    'a boot event removed': LAUNCH.slice(1),
    'an event duplicated': LAUNCH.toSpliced(COMPOSE, 0, ...LAUNCH.slice(COMPOSE, COMPOSE + 1)),
    'two events reordered': swapped,
    'an event moved to another register': edited(COMPOSE, { imr: 2 }),
    'a boot event moved to another register': edited(0, { imr: 1 }),
    'the digest of a boot event changed': edited(0, { digest: '00'.repeat(48) }),
    'an event told with its digest computed anew': [
      ...LAUNCH.slice(0, COMPOSE),
      runtimeEntry('compose-hash', new Uint8Array(32)),
      ...LAUNCH.slice(COMPOSE + 1),
    ],
    'an event added': [...LAUNCH, runtimeEntry('app')],
    'no events': [],
  }

  test.for(Object.entries(CHANGES))('but not with %s', async ([, entries]) => {
    const quote = await genuine(registersOf(LAUNCH))
    await expect(verifyEventLog(await parseDstackLog(json(entries)), quote)).rejects.toMatchObject({
      code: 'eventlog_rtmr_mismatch',
    })
  })

  test.for(['rtmr0', 'rtmr1', 'rtmr2', 'rtmr3'] as const)(
    'but not where only %s differs',
    async (name) => {
      const quote = await genuine({ ...registersOf(LAUNCH), [name]: new Uint8Array(48).fill(1) })
      await expect(verifyEventLog(await parseDstackLog(json(LAUNCH)), quote)).rejects.toMatchObject(
        {
          code: 'eventlog_rtmr_mismatch',
        },
      )
    },
  )

  test('but not where the quote counts EV_NO_ACTION as extended', async () => {
    const quote = await genuine(registersOfRecords(RECORDS))
    await expect(verifyEventLog(await parseCcel(ccel(RECORDS)), quote)).rejects.toMatchObject({
      code: 'eventlog_rtmr_mismatch',
    })
  })

  test('but not against an SGX enclave', async () => {
    const { root, verifiedAt, quoteVersion, padding, tcb, fmspc, ppid, expiresAt } = await genuine(
      registersOf(LAUNCH),
    )
    const report = parseEnclaveReport(new Uint8Array(384))
    const body = { tee: 'sgx' as const, report }
    const facts = { root, verifiedAt, quoteVersion, padding, tcb, fmspc, ppid, expiresAt, body }
    const log = await parseDstackLog('[]')
    await expect(verifyEventLog(log, new GenuineQuote(facts))).rejects.toMatchObject({
      code: 'eventlog_rtmr_mismatch',
    })
  })

  test('but not against a quote that nobody verified', async () => {
    const forged = Object.create(await genuine(registersOf(LAUNCH)))
    await expect(verifyEventLog(await parseDstackLog('[]'), forged)).rejects.toThrow(
      'not a GenuineQuote',
    )
  })
})

describe('hostile logs are refused with a code, never a crash:', () => {
  async function refusesOrReads(parsed: Promise<{ events: readonly unknown[] }>): Promise<void> {
    try {
      expect((await parsed).events.length).toBeLessThanOrEqual(10_000)
    } catch (error) {
      if (!(error instanceof EvidenceError)) throw error
    }
  }
  const valid = ccel(RECORDS)
  const header = ccel([], { tail: new Uint8Array(0) })

  test('CCEL bytes', async () => {
    const mutated = fc
      .tuple(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length))
      .map(([at, value, end]) => valid.with(at, value).slice(0, Math.max(end, at + 1)))
    const records = fc.uint8Array({ maxLength: 400 }).map((bytes) => concat(header, bytes))
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(mutated, records, fc.uint8Array({ maxLength: 400 })),
        async (bytes) => refusesOrReads(parseCcel(bytes)),
      ),
      { numRuns: 1000 },
    )
  })

  test('dstack text', async () => {
    const entry = fc.record(
      {
        imr: fc.oneof(fc.nat(5), fc.anything()),
        event_type: fc.oneof(fc.constant(EV.runtime), fc.nat()),
        digest: fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme-ascii' })),
        event: fc.oneof(fc.string({ unit: 'binary' }), fc.anything()),
        event_payload: fc.oneof(fc.constant('00'), fc.string()),
        version: fc.nat(3),
        preimage: fc.string(),
      },
      { requiredKeys: ['imr'] },
    )
    const text = fc.oneof(
      fc.array(entry, { maxLength: 4 }).map((entries) => JSON.stringify(entries, bigints)),
      fc.string(),
    )
    await fc.assert(
      fc.asyncProperty(text, async (log) => refusesOrReads(parseDstackLog(log))),
      { numRuns: 1000 },
    )
  })

  const bigints = (_name: string, value: unknown): unknown =>
    typeof value === 'bigint' ? value.toString() : value
})

test('what a guest extends is what a log of it replays to', async () => {
  const guest = fc.array(
    fc.tuple(fc.constantFrom('a', 'b'), fc.uint8Array({ maxLength: 8 }), fc.constantFrom(1, 2)),
    { maxLength: 6 },
  )
  await fc.assert(
    fc.asyncProperty(guest, async (events) => {
      const entries = events.map(([name, payload, version]) =>
        runtimeEntry(name, payload, version === 1 ? 1 : 2),
      )
      const log = await parseDstackLog(json(entries))
      expect(toHex(await replay(log, 3))).toBe(toHex(registersOf(entries).rtmr3))
    }),
  )
})
