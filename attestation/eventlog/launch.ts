import { z } from 'zod'
import {
  concatBytes,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  fromHex,
  isZero,
  sha256,
  toHex,
} from '../bytes.ts'
import type { Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { keccak256 } from '../keccak.ts'
import type { RuntimeEvent } from './event.ts'
import { VerifiedEventLog } from './replay.ts'

/** Why a claim cannot be made. None of these is a contradiction; contradictions are errors. */
export type LaunchUnknown =
  | 'debug_enabled'
  | 'platform_not_expected'
  | 'launch_not_finished'
  | 'event_absent'
  | 'event_empty'
  | 'app_compose_absent'
  | 'config_id_absent'
  | 'config_id_document_absent'
  | 'config_id_unrecognised'

/** The value exists only where the claim is asserted, so it cannot be read past the status. */
export type LaunchClaim<Value> =
  | { readonly status: 'asserted'; readonly value: Value }
  | { readonly status: 'unknown'; readonly reason: LaunchUnknown }

/** Who gives the guest its keys: `kms`, `local-sgx`, `tpm` or `none`, and the hex id of its key. */
export interface KeyProvider {
  readonly name: string
  readonly id: string
}

/** What dstack measured before it declared the system ready. Digests and ids are lower-case hex. */
export interface LaunchClaims {
  readonly composeHash: LaunchClaim<string>
  readonly appId: LaunchClaim<string>
  readonly instanceId: LaunchClaim<string>
  readonly osImageHash: LaunchClaim<string>
  readonly keyProvider: LaunchClaim<KeyProvider>
  /** The text whose SHA-256 is the measured compose hash. */
  readonly appCompose: LaunchClaim<string>
  /** The version in which MRCONFIGID, set before boot, names the same configuration. */
  readonly configId: LaunchClaim<1 | 2 | 3>
}

/** Lower-case hex, or `any`, which here expects nothing and so supports no claim. */
export interface ExpectedPlatform {
  readonly mrtd: string
  readonly rtmr0: string
  readonly rtmr1: string
  readonly rtmr2: string
}

export interface LaunchInput {
  readonly log: VerifiedEventLog
  /** The platforms whose guest software is known to extend RTMR3 honestly. */
  readonly platforms: readonly ExpectedPlatform[] | 'any'
  /** The text published as the app compose. */
  readonly appCompose?: string | undefined
  /** The document that a version 3 MRCONFIGID commits to. */
  readonly configDocument?: string | undefined
}

/**
 * The launch claims of a dstack guest.
 *
 * RTMR3 says what software extended, so it is worth as much as that software: every claim is `unknown` unless
 * MRTD and RTMR0 to RTMR2 are those of one expected platform, and no debugger could change what it did.
 *
 * @throws EvidenceError `launch_event_*`, `app_compose_mismatch` or `config_id_mismatch` where the parts
 * contradict each other, whatever the platform.
 */
export async function launchClaims(input: LaunchInput): Promise<LaunchClaims> {
  if (!VerifiedEventLog.is(input.log)) throw new TypeError('not a VerifiedEventLog')
  const launch = readLaunch(input.log)
  const claims: LaunchClaims = {
    ...launch,
    appCompose: await appComposeClaim(launch, input.appCompose),
    configId: await configIdClaim(launch, input),
  }
  if (((input.log.report.tdAttributes[0] ?? 0) & DEBUG) !== 0) return noClaims('debug_enabled')
  return isExpected(input) ? claims : noClaims('platform_not_expected')
}

const unknown = (reason: LaunchUnknown): LaunchClaim<never> => ({ status: 'unknown', reason })

/** Bit 0 of TDATTRIBUTES. */
const DEBUG = 0x01

const noClaims = (reason: LaunchUnknown): LaunchClaims => ({
  composeHash: unknown(reason),
  appId: unknown(reason),
  instanceId: unknown(reason),
  osImageHash: unknown(reason),
  keyProvider: unknown(reason),
  appCompose: unknown(reason),
  configId: unknown(reason),
})

/** All four registers of one row, by value: a row that leaves one open expects no platform. */
function isExpected({ log, platforms }: LaunchInput): boolean {
  const { mrtd, rtmr0, rtmr1, rtmr2 } = log.report
  return (
    platforms !== 'any' &&
    platforms.some(
      (row) =>
        row.mrtd === toHex(mrtd) &&
        row.rtmr0 === toHex(rtmr0) &&
        row.rtmr1 === toHex(rtmr1) &&
        row.rtmr2 === toHex(rtmr2),
    )
  )
}

/** What the RTMR3 events of a launch say, on whatever platform. */
export type LoggedLaunch = Omit<LaunchClaims, 'appCompose' | 'configId'>

/**
 * Reads the events before `system-ready`; from then on applications extend, under any name they like.
 * Throws `launch_event_malformed` and `launch_event_duplicate`.
 */
export function readLaunch(log: VerifiedEventLog): LoggedLaunch {
  const runtime = log.events.filter(
    (event): event is RuntimeEvent => event.kind === 'runtime' && event.rtmr === 3,
  )
  const ready = runtime.findIndex(({ name }) => name === 'system-ready')
  const find = (name: string): Bytes | LaunchUnknown => {
    if (ready === -1) return 'launch_not_finished'
    const [event, ...more] = runtime.slice(0, ready).filter((one) => one.name === name)
    if (more.length > 0) throw new EvidenceError('launch_event_duplicate')
    if (event === undefined) return 'event_absent'
    return event.payload.length === 0 ? 'event_empty' : event.payload
  }
  const value = <Value>(name: string, read: (payload: Bytes) => Value): LaunchClaim<Value> => {
    const found = find(name)
    return typeof found === 'string' ? unknown(found) : { status: 'asserted', value: read(found) }
  }
  return {
    composeHash: value('compose-hash', hexOf(32)),
    appId: value('app-id', hexOf(20)),
    instanceId: value('instance-id', hexOf(20)),
    osImageHash: value('os-image-hash', hexOf(32)),
    keyProvider: value('key-provider', readKeyProvider),
  }
}

const hexOf =
  (length: number) =>
  (payload: Bytes): string => {
    if (payload.length !== length) throw new EvidenceError('launch_event_malformed')
    return toHex(payload)
  }

const keyProviderSchema = z.object({ name: z.string(), id: z.string() })

function readKeyProvider(payload: Bytes): KeyProvider {
  const parsed = keyProviderSchema.safeParse(parseJson(decodeUtf8(payload)))
  if (!parsed.success) throw new EvidenceError('launch_event_malformed')
  return parsed.data
}

async function appComposeClaim(
  { composeHash }: LoggedLaunch,
  text: string | undefined,
): Promise<LaunchClaim<string>> {
  if (composeHash.status === 'unknown') return composeHash
  if (text === undefined) return unknown('app_compose_absent')
  if (toHex(await sha256(encodeUtf8(text))) !== composeHash.value) {
    throw new EvidenceError('app_compose_mismatch')
  }
  return { status: 'asserted', value: text }
}

/**
 * MRCONFIGID is one version byte, a digest of 32 bytes and zeros. The host sets it before boot and dstack's
 * guest refuses to run another configuration, so a difference means the guest is not what it says.
 */
async function configIdClaim(
  launch: LoggedLaunch,
  { log, configDocument }: LaunchInput,
): Promise<LaunchClaim<1 | 2 | 3>> {
  const { composeHash } = launch
  if (composeHash.status === 'unknown') return composeHash
  const { mrConfigId } = log.report
  if (isZero(mrConfigId)) return unknown('config_id_absent')
  const digest = mrConfigId.subarray(1, 33)
  if (!isZero(mrConfigId.subarray(33))) return unknown('config_id_unrecognised')
  switch (mrConfigId[0] ?? 0) {
    case 1:
      if (toHex(digest) !== composeHash.value) throw new EvidenceError('config_id_mismatch')
      return { status: 'asserted', value: 1 }
    case 2:
      return compactConfigId(launch, composeHash.value, digest)
    case 3:
      if (configDocument === undefined) return unknown('config_id_document_absent')
      await checkDocument(launch, digest, configDocument)
      return { status: 'asserted', value: 3 }
    default:
      return unknown('config_id_unrecognised')
  }
}

/** How version 2 writes the kinds of key providers. */
const KEY_PROVIDERS: ReadonlyMap<string, number> = new Map([
  ['none', 0],
  ['local-sgx', 1],
  ['kms', 2],
  ['tpm', 3],
])

/** Version 2: Keccak-256 of compose hash, app id, kind and id of the key provider. */
function compactConfigId(
  { appId, keyProvider }: LoggedLaunch,
  composeHash: string,
  digest: Bytes,
): LaunchClaim<2> {
  if (appId.status === 'unknown') return appId
  if (keyProvider.status === 'unknown') return keyProvider
  const { name, id } = keyProvider.value
  const kind = KEY_PROVIDERS.get(name)
  if (kind === undefined) return unknown('config_id_unrecognised')
  const parts = [fromHex(composeHash), fromHex(appId.value), Uint8Array.of(kind), fromHex(id)]
  if (!equalBytes(keccak256(concatBytes(...parts)), digest)) {
    throw new EvidenceError('config_id_mismatch')
  }
  return { status: 'asserted', value: 2 }
}

const documentSchema = z.object({
  version: z.literal(3).optional(),
  compose_hash: z.string(),
  app_id: z.string().optional(),
  instance_id: z.string().optional(),
  key_provider_id: z.string().optional(),
})

const DOCUMENT_DOMAIN = encodeUtf8('dstack-mr-config-v3:\0')

/** The digest is over the document's text as it is, not over a canonical form of it. */
async function checkDocument(launch: LoggedLaunch, digest: Bytes, text: string): Promise<void> {
  const bound = await sha256(concatBytes(DOCUMENT_DOMAIN, encodeUtf8(text)))
  const document = documentSchema.safeParse(parseJson(text))
  const agrees =
    equalBytes(bound, digest) &&
    document.success &&
    names(launch.composeHash, document.data.compose_hash) &&
    names(launch.appId, document.data.app_id) &&
    names(launch.instanceId, document.data.instance_id) &&
    names(keyProviderId(launch), document.data.key_provider_id)
  if (!agrees) throw new EvidenceError('config_id_mismatch')
}

/** A member left out pins nothing; one that is there must be what was measured. */
const names = (claim: LaunchClaim<string>, pinned: string | undefined): boolean =>
  pinned === undefined || (claim.status === 'asserted' && claim.value === pinned)

const keyProviderId = ({ keyProvider }: LoggedLaunch): LaunchClaim<string> =>
  keyProvider.status === 'asserted'
    ? { status: 'asserted', value: keyProvider.value.id }
    : keyProvider
