import { toHex } from '../bytes.ts'
import { PolicyError } from '../errors.ts'
import type { Policy, WorkloadRow } from '../policy.ts'
import type { GenuineQuote } from './verdict.ts'

/** The row of a policy's `workload` that expects exactly what this quote shows; null for SGX. */
export function workloadRow(quote: GenuineQuote, configDigest: string | null): WorkloadRow | null {
  if (quote.body.tee !== 'tdx') return null
  const { report } = quote.body
  return {
    mrtd: toHex(report.mrtd),
    rtmr0: toHex(report.rtmr0),
    rtmr1: toHex(report.rtmr1),
    rtmr2: toHex(report.rtmr2),
    rtmr3: toHex(report.rtmr3),
    mr_config_id: toHex(report.mrConfigId),
    mr_owner: toHex(report.mrOwner),
    mr_owner_config: toHex(report.mrOwnerConfig),
    config_digest: configDigest ?? 'any',
  }
}

const MEMBERS = [
  'mrtd',
  'rtmr0',
  'rtmr1',
  'rtmr2',
  'rtmr3',
  'mr_config_id',
  'mr_owner',
  'mr_owner_config',
  'config_digest',
] as const

/** Throws `workload_not_expected`, naming what differs from the row that comes nearest. */
export function checkWorkload(
  quote: GenuineQuote,
  workload: Policy['workload'],
  configDigest: string | null,
): 'pinned' | 'any' {
  if (workload === 'any') return 'any'
  const seen = workloadRow(quote, configDigest)
  if (seen === null) throw new PolicyError('workload_not_expected', 'an SGX enclave', 'a TD')
  const differences = workload.map((row) => differing(row, seen))
  const [nearest = []] = differences.toSorted((left, right) => left.length - right.length)
  if (nearest.length > 0) {
    throw new PolicyError('workload_not_expected', shown(nearest, 'seen'), shown(nearest, 'wanted'))
  }
  return 'pinned'
}

interface Difference {
  readonly member: string
  readonly seen: string
  readonly wanted: string
}

/** An expected digest where none was proven is a difference: `seen` then holds `any`, which no pin equals. */
const differing = (row: WorkloadRow, seen: WorkloadRow): Difference[] =>
  MEMBERS.filter((member) => row[member] !== 'any' && row[member] !== seen[member]).map(
    (member) => ({ member, seen: seen[member], wanted: row[member] }),
  )

const shown = (differences: readonly Difference[], which: 'seen' | 'wanted'): string =>
  differences.map((difference) => `${difference.member} ${difference[which]}`).join(', ')
