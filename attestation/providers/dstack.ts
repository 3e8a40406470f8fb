import { loggedExtras } from '../aci/claims.ts'
import { EvidenceError, PolicyError, type PolicyErrorCode } from '../errors.ts'
import { parseDstackLog } from '../eventlog/dstack.ts'
import {
  launchClaims,
  readLaunch,
  type LaunchClaim,
  type LaunchClaims,
  type LoggedLaunch,
} from '../eventlog/launch.ts'
import { verifyEventLog, type VerifiedEventLog } from '../eventlog/replay.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import type { KindInput } from './kind.ts'
import type { LaunchPolicy } from './policy.ts'

/** What a dstack guest publishes beside its quote. */
export interface PublishedLaunch {
  /** A JSON array. */
  readonly eventLog: string
  /** Exactly the bytes that were measured. */
  readonly appCompose: string
  /** What the report states: hex, or null where it does not say. Each must be what was measured. */
  readonly composeHash: string | null
  readonly osImageHash: string | null
  /** The name the guest gives its image, which nothing measures. */
  readonly imageName: string | null
}

export interface DstackLaunch {
  readonly log: VerifiedEventLog
  readonly claims: LaunchClaims
  readonly logged: Readonly<Record<string, string | null>>
}

/** Images that let developers in, by the SHA-256 of their checksum file (dstack's published image metadata). */
const DEVELOPMENT_IMAGES: ReadonlyMap<string, string> = new Map([
  ['0e09f2bcb510c682b461d16b97192c710886db582852991e05146291063f890b', 'dstack-dev-0.5.9'],
  ['021bf66a7c9fd4a05031b8fa688834948874631c2ad5b9a2d566b4421b817271', 'dstack-dev-0.5.5'],
])

/**
 * The launch of a dstack guest: its event log replays to the quote, what the report says of it is what was measured,
 * and it is a launch the policy wants. What the log shows stands only on expected platforms (`launchClaims`).
 *
 * @throws EvidenceError `eventlog_*`, `launch_*`, `app_compose_mismatch`, `config_id_mismatch`,
 * `provider_launch_mismatch`; PolicyError `os_image_*`, `compose_not_expected`, `app_not_expected`,
 * `key_provider_not_expected`
 */
export async function verifyLaunch(
  published: PublishedLaunch,
  quote: AcceptedQuote,
  input: KindInput,
): Promise<DstackLaunch> {
  const log = await verifyEventLog(await parseDstackLog(published.eventLog), quote)
  return launchOf(log, published, input)
}

/**
 * The same of a log that covers RTMR3 alone, which is where a launch is: the other registers are as good as the row of
 * the policy that names them. Without a log nothing is known, so that whatever is expected is refused.
 */
export async function verifyRuntimeLaunch(
  eventLog: string | null,
  quote: AcceptedQuote,
  input: KindInput,
): Promise<DstackLaunch | null> {
  if (eventLog === null) {
    checkExpected(NOTHING_KNOWN, input.policy.launch)
    return null
  }
  const log = await verifyEventLog(await parseDstackLog(eventLog), quote, [3])
  return launchOf(log, NOTHING_STATED, input)
}

const UNKNOWN = { status: 'unknown', reason: 'event_absent' } as const
const NOTHING_KNOWN = {
  osImageHash: UNKNOWN,
  composeHash: UNKNOWN,
  appId: UNKNOWN,
  keyProvider: UNKNOWN,
} as const
const NOTHING_STATED = {
  appCompose: undefined,
  composeHash: null,
  osImageHash: null,
  imageName: null,
} as const

type StatedLaunch = Omit<PublishedLaunch, 'eventLog' | 'appCompose'> & {
  readonly appCompose: string | undefined
}

async function launchOf(
  log: VerifiedEventLog,
  published: StatedLaunch,
  { policy }: KindInput,
): Promise<DstackLaunch> {
  const measured = readLaunch(log)
  checkStated(published.composeHash, measured.composeHash)
  checkStated(published.osImageHash, measured.osImageHash)
  const platforms = policy.tdx === 'reject' ? 'any' : policy.tdx.workload
  const claims = await launchClaims({ log, platforms, appCompose: published.appCompose })
  checkDevelopment(measured, published.imageName, policy.launch)
  checkExpected(claims, policy.launch)
  return { log, claims, logged: loggedExtras(log) }
}

/** A copy that differs from what was measured would show an auditor something else than what runs. */
function checkStated(stated: string | null, measured: LaunchClaim<string>): void {
  const differs =
    stated !== null && measured.status === 'asserted' && stated.toLowerCase() !== measured.value
  if (differs) throw new EvidenceError('provider_launch_mismatch')
}

/** Refused on whatever platform: a guest that says so itself is believed. */
function checkDevelopment(
  { osImageHash }: LoggedLaunch,
  name: string | null,
  policy: LaunchPolicy,
): void {
  if (policy.development_images === 'allow') return
  const known = osImageHash.status === 'asserted' && DEVELOPMENT_IMAGES.has(osImageHash.value)
  const named = name !== null && /(?:^|-)dev(?:-|$)/.test(name)
  if (known || named) throw new PolicyError('os_image_development', 'development', 'production')
}

type ExpectedClaims = Pick<LaunchClaims, keyof typeof NOTHING_KNOWN>

function checkExpected(claims: ExpectedClaims, policy: LaunchPolicy): void {
  expect('os_image_not_expected', claims.osImageHash, policy.os_image_hash)
  expect('compose_not_expected', claims.composeHash, policy.compose_hash)
  expect('app_not_expected', claims.appId, policy.app_id)
  const { keyProvider } = claims
  const id: LaunchClaim<string> =
    keyProvider.status === 'asserted'
      ? { status: 'asserted', value: keyProvider.value.id.toLowerCase() }
      : keyProvider
  expect('key_provider_not_expected', id, policy.key_provider_id)
}

/** Of a guest that measures no launch in dstack's way: whatever is expected of one was not measured. */
export function checkNoLaunch(policy: LaunchPolicy): void {
  const none = { status: 'unknown', reason: 'event_absent' } as const
  expect('os_image_not_expected', none, policy.os_image_hash)
  expect('compose_not_expected', none, policy.compose_hash)
  expect('app_not_expected', none, policy.app_id)
  expect('key_provider_not_expected', none, policy.key_provider_id)
}

/** What is expected must be known: `unknown` is no pass. */
function expect(
  code: PolicyErrorCode,
  claim: LaunchClaim<string>,
  wanted: 'any' | readonly string[],
): void {
  if (wanted === 'any') return
  const seen = claim.status === 'asserted' ? claim.value : claim.reason
  if (claim.status !== 'asserted' || !wanted.includes(claim.value)) {
    throw new PolicyError(code, seen, wanted.join(', '))
  }
}
