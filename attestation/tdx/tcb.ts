import { EvidenceError } from '../errors.ts'
import { parseTime } from '../time.ts'
import type { Bytes, UnixSeconds } from '../bytes.ts'
import type { PlatformLevel, PlatformStatus, QeIdentity, SvnLevel, TcbInfo } from './collateral.ts'
import type { PckIdentity } from './pck.ts'

export const TCB_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'RelaunchAdvised',
  'RelaunchAdvisedConfigurationNeeded',
  'Revoked',
  'TcbNotSupported',
] as const

export type TcbStatus = (typeof TCB_STATUSES)[number]

/** How up to date a platform is, as Intel converges platform, TDX module and quoting enclave. */
export interface Tcb {
  /** `TcbNotSupported`: no TCB level matches. */
  readonly status: TcbStatus
  readonly advisoryIds: readonly string[]
  /** Of the SVNs the TD was launched with; the same as `status` but where a relaunch is advised. */
  readonly launchStatus: TcbStatus
  /** Of the SVNs that run now; null where the quote does not tell them apart (before TD 1.5). */
  readonly currentStatus: TcbStatus | null
  /** The oldest date of the matched levels. Null where none matches. */
  readonly tcbDate: UnixSeconds | null
  /** Since when the newest baseline counts: the latest date of an up-to-date level. */
  readonly baselineDate: UnixSeconds
  readonly tcbInfoVersion: 2 | 3
  /** The lower number of TCB info and QE identity. */
  readonly evaluationDataNumber: number
}

interface Matched {
  readonly status: PlatformStatus
  readonly advisoryIds: readonly string[]
  readonly tcbDate: UnixSeconds
}

export interface TcbInput {
  readonly pck: PckIdentity
  readonly tcbInfo: TcbInfo
  readonly qeIdentity: QeIdentity
  readonly qeIsvSvn: number
  /** Null for SGX. */
  readonly teeTcbSvn: Bytes | null
  /** TD 1.5: the SVNs of the module that runs now; null otherwise. */
  readonly teeTcbSvn2: Bytes | null
}

/** Matches launch and current SVNs with the levels and converges them. Throws `tcb_info_malformed`. */
export function evaluateTcb(input: TcbInput): Tcb {
  const levels = sortedLevels(input.tcbInfo, input.teeTcbSvn !== null)
  const launch = evaluateOnce(input, levels, input.teeTcbSvn)
  const current = input.teeTcbSvn2 === null ? launch : evaluateOnce(input, levels, input.teeTcbSvn2)
  const common = {
    launchStatus: launch?.status ?? 'TcbNotSupported',
    currentStatus: input.teeTcbSvn2 === null ? null : (current?.status ?? 'TcbNotSupported'),
    baselineDate: baselineDate(input),
    tcbInfoVersion: input.tcbInfo.version,
    evaluationDataNumber: Math.min(
      input.tcbInfo.tcbEvaluationDataNumber,
      input.qeIdentity.tcbEvaluationDataNumber,
    ),
  } as const
  if (launch === null || current === null) {
    return { ...common, status: 'TcbNotSupported', advisoryIds: [], tcbDate: null }
  }
  return { ...common, ...launch, status: withRelaunch(launch.status, current.status) }
}

function baselineDate({ tcbInfo, qeIdentity, teeTcbSvn }: TcbInput): UnixSeconds {
  const identity = teeTcbSvn === null ? null : moduleIdentity(tcbInfo, teeTcbSvn)
  const levels = [tcbInfo.tcbLevels, qeIdentity.tcbLevels, identity?.tcbLevels ?? []].flat()
  const current = levels.filter(({ tcbStatus }) => tcbStatus === 'UpToDate')
  return Math.max(0, ...current.map(({ tcbDate }) => parseTime(tcbDate)))
}

type Levels = readonly PlatformLevel[]

/** Null where platform, module or quoting enclave matches no level. */
function evaluateOnce(input: TcbInput, levels: Levels, teeTcbSvn: Bytes | null): Matched | null {
  const platform = levels.find((level) => satisfies(level, input.pck, teeTcbSvn))
  const identity = teeTcbSvn === null ? null : moduleIdentity(input.tcbInfo, teeTcbSvn)
  const components = [matchSvn(input.qeIdentity.tcbLevels, input.qeIsvSvn)]
  if (identity !== null) components.push(matchSvn(identity.tcbLevels, teeTcbSvn?.[0] ?? 0))
  const statuses = components.map((level) => level?.tcbStatus ?? null)
  if (platform === undefined || !statuses.every((status) => status !== null)) return null
  const matched = [platform, ...components]
  return {
    status: converge(platform.tcbStatus, statuses),
    advisoryIds: [...new Set(matched.flatMap((level) => level?.advisoryIDs ?? []))].toSorted(),
    tcbDate: Math.min(...matched.map((level) => parseTime(level?.tcbDate ?? ''))),
  }
}

/** The identity of the TDX module's major version; null for SGX and for the 1.0 line (major 0). */
export function moduleIdentity(
  tcbInfo: TcbInfo,
  teeTcbSvn: Bytes,
): NonNullable<TcbInfo['tdxModuleIdentities']>[number] | null {
  const major = teeTcbSvn[1] ?? 0
  if (major === 0) return null
  const id = `TDX_${major.toString(16).padStart(2, '0').toUpperCase()}`
  const found = tcbInfo.tdxModuleIdentities?.find((identity) => identity.id.toUpperCase() === id)
  if (found === undefined) throw new EvidenceError('tdx_module_mismatch')
  return found
}

/**
 * Every component must reach its level; vectors are never compared as a whole.
 *
 * With a module major version above 0, TDX components 0 and 1 (module SVN and major) are judged by the
 * module identity instead, so they are left out here.
 */
function satisfies(level: PlatformLevel, pck: PckIdentity, teeTcbSvn: Bytes | null): boolean {
  const { sgxtcbcomponents: sgx, pcesvn, tdxtcbcomponents: tdx = [] } = level.tcb
  if (pck.pceSvn < pcesvn) return false
  if (!sgx.every(({ svn }, index) => (pck.components[index] ?? -1) >= svn)) return false
  if (teeTcbSvn === null) return true
  const start = (teeTcbSvn[1] ?? 0) > 0 ? 2 : 0
  return tdx.every(({ svn }, index) => index < start || (teeTcbSvn[index] ?? -1) >= svn)
}

const svns = (level: PlatformLevel): number[] => [
  ...level.tcb.sgxtcbcomponents.map(({ svn }) => svn),
  level.tcb.pcesvn,
  ...(level.tcb.tdxtcbcomponents ?? []).map(({ svn }) => svn),
]

/** Highest first, whatever the served order; two equal levels would make the answer depend on it. */
function sortedLevels(tcbInfo: TcbInfo, tdx: boolean): Levels {
  const levels = tcbInfo.tcbLevels.toSorted((left, right) => compare(svns(right), svns(left)))
  const ambiguous = levels.some((level, index) => {
    const next = levels[index + 1]
    return next !== undefined && compare(svns(level), svns(next)) === 0
  })
  const incomplete = tdx && levels.some((level) => level.tcb.tdxtcbcomponents === undefined)
  if (ambiguous || incomplete) throw new EvidenceError('tcb_info_malformed')
  return levels
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (const [index, value] of left.entries()) {
    const difference = value - (right[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

function matchSvn(levels: readonly SvnLevel[], isvSvn: number): SvnLevel | null {
  const sorted = levels.toSorted((left, right) => right.tcb.isvsvn - left.tcb.isvsvn)
  return sorted.find((level) => isvSvn >= level.tcb.isvsvn) ?? null
}

const NEEDS_CONFIGURATION: ReadonlySet<string> = new Set([
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDateConfigurationNeeded',
])

function converge(platform: PlatformStatus, components: readonly PlatformStatus[]): PlatformStatus {
  if (platform === 'Revoked' || components.includes('Revoked')) return 'Revoked'
  if (!components.includes('OutOfDate')) return platform
  return NEEDS_CONFIGURATION.has(platform) ? 'OutOfDateConfigurationNeeded' : 'OutOfDate'
}

const STALE: ReadonlySet<string> = new Set(['OutOfDate', 'OutOfDateConfigurationNeeded'])

/** A TD launched on an old module of a platform that has since been updated only has to be restarted. */
function withRelaunch(launch: PlatformStatus, current: PlatformStatus): TcbStatus {
  if (!STALE.has(launch) || STALE.has(current) || current === 'Revoked') return launch
  return NEEDS_CONFIGURATION.has(launch) || NEEDS_CONFIGURATION.has(current)
    ? 'RelaunchAdvisedConfigurationNeeded'
    : 'RelaunchAdvised'
}
