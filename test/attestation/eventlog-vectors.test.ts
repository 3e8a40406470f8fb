import {
  isVerificationError,
  launchClaims,
  parseCcel,
  parseDstackLog,
  parseQuote,
  replay,
  testPkiRoot,
  toHex,
  verifyEventLog,
  verifyQuote,
  type EventLog,
  type GenuineQuote,
  type TdReport,
  type VerifiedEventLog,
} from '@vouchgate/attestation'
import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createTeeVendor } from '../support/tee-vendor.ts'
import {
  hasVectors,
  vectorBytes,
  vectorCases,
  vectorJson,
  vectorPath,
  vectorText,
} from '../support/vectors.ts'

const vendor = createTeeVendor()

function tdReport(quote: Uint8Array): TdReport {
  const { body } = parseQuote(quote)
  if (body.tee !== 'tdx') throw new TypeError('not a TDX quote')
  return body.report
}

/**
 * A quote by the simulated vendor with the registers of a real one: some real quotes came without collateral,
 * and whether they are genuine is another test's question.
 */
async function sameRegisters(real: Uint8Array): Promise<GenuineQuote> {
  const { mrtd, mrConfigId, rtmr0, rtmr1, rtmr2, rtmr3, reportData } = tdReport(real)
  return verifyQuote({
    quote: await vendor.quote({ mrtd, mrConfigId, rtmr0, rtmr1, rtmr2, rtmr3, reportData }),
    collateral: vendor.collateral(),
    now: vendor.now,
    trustedRoot: await testPkiRoot(vendor.rootPem),
  })
}

const replayed = async (log: EventLog): Promise<string[]> =>
  (await Promise.all(([0, 1, 2, 3] as const).map(async (rtmr) => replay(log, rtmr)))).map(toHex)

const quotedRegisters = ({ rtmr0, rtmr1, rtmr2, rtmr3 }: TdReport): string[] =>
  [rtmr0, rtmr1, rtmr2, rtmr3].map(toHex)

/** Every comparison that a real log must pass or, for a negative, fail exactly where expected. */
async function checkAgainstQuote(
  log: EventLog,
  quote: Uint8Array,
  match: boolean[],
): Promise<void> {
  const registers = quotedRegisters(tdReport(quote))
  expect((await replayed(log)).map((value, at) => value === registers[at])).toEqual(match)
  const verdict = await verifyEventLog(log, await sameRegisters(quote)).then(
    () => 'verified',
    (error: unknown) => (isVerificationError(error) ? error.code : error),
  )
  expect(verdict).toBe(match.every(Boolean) ? 'verified' : 'eventlog_rtmr_mismatch')
}

const ccelCase = z.object({
  expected: z.object({
    replayed_rtmr: z.array(z.string()),
    match: z.array(z.boolean()).optional(),
    events_list: z.array(
      z.object({
        mr_index: z.number(),
        type: z.string(),
        sha384: z.string(),
        data_len: z.number(),
      }),
    ),
  }),
})
const ccelCases = vectorCases('tdx', 'eventlog-ccel-', ['ccel.bin', 'expected.json'])

describe.skipIf(!hasVectors)('real CCELs replay as expected', () => {
  test.for(ccelCases)('%s', async (name) => {
    const { expected } = ccelCase.parse(vectorJson('tdx', name, 'expected.json'))
    const log = await parseCcel(vectorBytes('tdx', name, 'ccel.bin'))
    expect(await replayed(log)).toEqual(expected.replayed_rtmr)
    expect(
      log.events.map((event) => [
        event.rtmr + 1,
        event.kind === 'boot' ? event.type : 0,
        toHex(event.digest),
      ]),
    ).toEqual(
      expected.events_list
        .filter(({ mr_index, type }) => mr_index > 0 && Number(type) !== 3)
        .map(({ mr_index, type, sha384 }) => [mr_index, Number(type), sha384]),
    )
    if (expected.match === undefined) return
    await checkAgainstQuote(log, vectorBytes('tdx', name, 'quote.bin'), expected.match)
  })
})

const dstackCase = z.object({
  expected: z.object({
    replayed_rtmr: z.array(z.string()),
    match: z.array(z.boolean()),
    runtime_events: z.array(z.tuple([z.string(), z.string()])),
  }),
})
/** How much of a payload `expected.json` shows. */
const SHOWN = 130
const dstackCases = vectorCases('tdx', 'eventlog-dstack-', ['event_log.json', 'expected.json'])

/** The platform of a log, as a policy that knows it would list it. */
const platformOf = ({ report }: VerifiedEventLog) => ({
  mrtd: toHex(report.mrtd),
  rtmr0: toHex(report.rtmr0),
  rtmr1: toHex(report.rtmr1),
  rtmr2: toHex(report.rtmr2),
})

describe.skipIf(!hasVectors)('real dstack logs replay as expected', () => {
  test.for(dstackCases)('%s', async (name) => {
    const { expected } = dstackCase.parse(vectorJson('tdx', name, 'expected.json'))
    const log = await parseDstackLog(vectorText('tdx', name, 'event_log.json'))
    expect(await replayed(log)).toEqual(expected.replayed_rtmr)
    expect(
      log.events.flatMap((event) =>
        event.kind === 'runtime' ? [[event.name, toHex(event.payload).slice(0, SHOWN)]] : [],
      ),
    ).toEqual(expected.runtime_events)
    const quote = vectorBytes('tdx', name, 'quote.bin')
    await checkAgainstQuote(log, quote, expected.match)
    const verified = await verifyEventLog(log, await sameRegisters(quote))
    const claims = await launchClaims({ log: verified, platforms: [platformOf(verified)] })
    const payloads = new Map(expected.runtime_events)
    expect(claims.composeHash).toEqual({ status: 'asserted', value: payloads.get('compose-hash') })
    expect(claims.appId).toEqual({ status: 'asserted', value: payloads.get('app-id') })
    expect(claims.keyProvider.status).toBe('asserted')
  })
})

/** A document of a provider, anywhere in which a quote may stand beside its event log. */
const capture = z.looseObject({
  event_log: z.union([z.string(), z.array(z.unknown())]),
  quote: z.string().optional(),
  intel_quote: z.string().optional(),
  info: z
    .looseObject({ tcb_info: z.looseObject({ app_compose: z.string() }).optional() })
    .optional(),
})

interface Capture {
  readonly quote: string
  readonly log: string
  readonly appCompose: string | undefined
}

function capturesIn(value: unknown): Capture[] {
  if (typeof value !== 'object' || value === null) return []
  const inner = Object.values(value).flatMap(capturesIn)
  const found = capture.safeParse(value)
  const quote = found.data?.intel_quote ?? found.data?.quote
  if (!found.success || quote === undefined) return inner
  const { event_log, info } = found.data
  const log = typeof event_log === 'string' ? event_log : JSON.stringify(event_log)
  return [{ quote, log, appCompose: info?.tcb_info?.app_compose }, ...inner]
}

function captureFiles(): string[][] {
  if (!hasVectors) return []
  const folders = readdirSync(vectorPath('providers')).filter((name) => name.startsWith('teep-'))
  return [
    ['providers', 'dstack-fixtures', 'quote-report.json'],
    ['providers', 'dstack-fixtures', 'tdx-lite-getquote.json'],
    ['providers', 'dstack-vllm-proxy-sample', 'SAMPLE_DSTACK_QUOTE.json'],
    ...folders.flatMap((folder) =>
      [
        ['providers', folder],
        ['providers', folder, 'responses'],
      ].flatMap((path) =>
        existsSync(vectorPath(...path))
          ? readdirSync(vectorPath(...path))
              .filter((name) => /_report\.body$|attestation\.(?:body|json)$/.test(name))
              .map((name) => [...path, name])
          : [],
      ),
    ),
  ]
}

const captures = [
  ...new Map(
    captureFiles()
      .flatMap((path) => capturesIn(vectorJson(...path)))
      .map((found) => [found.quote + found.log, found]),
  ).values(),
]

describe.skipIf(!hasVectors)('logs that providers served replay to their quotes', () => {
  test.for(captures.map((found, at) => ({ ...found, at })))(
    'capture $at',
    async ({ quote, log, appCompose }) => {
      const bytes = Uint8Array.from(Buffer.from(quote, 'hex'))
      const verified = await verifyEventLog(await parseDstackLog(log), await sameRegisters(bytes))
      const platforms = [platformOf(verified)]
      const claims = await launchClaims({ log: verified, platforms, appCompose })
      expect(claims.composeHash.status).toBe('asserted')
      expect(claims.appCompose).toEqual(
        appCompose === undefined
          ? { status: 'unknown', reason: 'app_compose_absent' }
          : { status: 'asserted', value: appCompose },
      )
      expect(claims.configId).toEqual(
        verified.report.mrConfigId[0] === 1
          ? { status: 'asserted', value: 1 }
          : { status: 'unknown', reason: 'config_id_absent' },
      )
    },
  )
})

test.skipIf(!hasVectors)('every case of each family was found', () => {
  expect(ccelCases).toHaveLength(11)
  expect(dstackCases).toHaveLength(6)
  expect(captures).toHaveLength(32)
  expect(captures.filter(({ appCompose }) => appCompose !== undefined)).toHaveLength(24)
})
