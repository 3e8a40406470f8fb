import { toHex, type Bytes } from '../bytes.ts'
import { PolicyError, type PolicyErrorCode } from '../errors.ts'
import type { SnpPolicy } from './policy.ts'
import { formatTcb, isTcbAtLeast, SNP_TCB_COMPONENTS, type SnpTcb } from './product.ts'
import { AcceptedSnpReport, GenuineSnpReport } from './verdict.ts'

/**
 * Decides whether a genuine SNP report is a wanted one.
 *
 * @throws PolicyError naming the rule, what was seen and what would have passed.
 */
export function acceptSnpReport(genuine: GenuineSnpReport, policy: SnpPolicy): AcceptedSnpReport {
  if (!GenuineSnpReport.is(genuine)) throw new TypeError('not a GenuineSnpReport')
  checkGuest(genuine, policy)
  checkPlatform(genuine, policy)
  checkTcb(genuine, policy)
  checkIdentity(genuine, policy)
  return new AcceptedSnpReport(genuine, policy.measurement === 'any' ? 'any' : 'pinned')
}

function rule(passes: boolean, code: PolicyErrorCode, seen: string, wanted: string): void {
  if (!passes) throw new PolicyError(code, seen, wanted)
}

/** What the host may do to the guest: none of it shows in the measurement. */
function checkGuest({ guestPolicy, report }: GenuineSnpReport, policy: SnpPolicy): void {
  const { debug, migrationAgent, smt, singleSocket, cxl } = guestPolicy
  rule(policy.debug === 'allow' || !debug, 'debug_enabled', 'debug', 'production')
  rule(
    policy.migration_agent === 'allow' || !migrationAgent,
    'snp_migration_agent',
    'MIGRATE_MA set',
    'MIGRATE_MA clear',
  )
  rule(policy.smt === 'allow' || !smt, 'snp_smt_allowed', 'SMT set', 'SMT clear')
  rule(
    policy.single_socket === 'any' || singleSocket,
    'snp_several_sockets',
    'SINGLE_SOCKET clear',
    'SINGLE_SOCKET set',
  )
  rule(policy.cxl === 'allow' || !cxl, 'snp_cxl_allowed', 'CXL_ALLOW set', 'CXL_ALLOW clear')
  const svn = policy.min_guest_svn
  rule(
    svn === 'any' || report.guestSvn >= svn,
    'snp_guest_svn_too_low',
    `${report.guestSvn}`,
    `at least ${svn}`,
  )
  rule(
    policy.vmpl.includes(report.vmpl),
    'snp_vmpl_not_accepted',
    `${report.vmpl}`,
    policy.vmpl.join(', '),
  )
}

function checkPlatform(genuine: GenuineSnpReport, policy: SnpPolicy): void {
  rule(
    policy.revocation === 'any' || genuine.revocation === 'checked',
    'snp_revocation_unknown',
    genuine.revocation,
    'checked',
  )
  rule(
    policy.alias_check === 'any' || genuine.report.aliasesChecked,
    'snp_aliases_unchecked',
    'ALIAS_CHECK_COMPLETE clear',
    'ALIAS_CHECK_COMPLETE set',
  )
  rule(
    policy.provisional_firmware === 'allow' || !genuine.provisionalFirmware,
    'snp_firmware_provisional',
    'provisional',
    'committed',
  )
}

function checkTcb({ tcb, product }: GenuineSnpReport, policy: SnpPolicy): void {
  rule(
    isTcbAtLeast(tcb.committed, tcb.reported) && isTcbAtLeast(tcb.current, tcb.committed),
    'snp_tcb_inconsistent',
    [tcb.reported, tcb.committed, tcb.current].map(formatTcb).join(' / '),
    'reported <= committed <= current',
  )
  const minimum = policy.min_tcb === 'any' ? 'any' : policy.min_tcb[product]
  if (minimum === 'any') return
  if (minimum === 'reject') {
    throw new PolicyError('snp_tcb_below_minimum', product, 'a product with a minimum TCB')
  }
  const meets = (levels: SnpTcb): boolean =>
    SNP_TCB_COMPONENTS.every((name) => {
      const floor = minimum[name]
      return floor === 'any' || (levels[name] ?? 0) >= floor
    })
  const wanted = SNP_TCB_COMPONENTS.map((name) => `${name} ${minimum[name]}`).join(', ')
  rule(meets(tcb.reported), 'snp_tcb_below_minimum', formatTcb(tcb.reported), wanted)
  rule(meets(tcb.launch), 'snp_launch_tcb_below_minimum', formatTcb(tcb.launch), wanted)
}

function checkIdentity({ report }: GenuineSnpReport, policy: SnpPolicy): void {
  const pins: readonly (readonly [readonly string[] | 'any', Bytes, PolicyErrorCode])[] = [
    [policy.measurement, report.measurement, 'snp_measurement_not_expected'],
    [policy.host_data, report.hostData, 'snp_host_data_not_expected'],
    [policy.report_data, report.reportData, 'snp_report_data_not_expected'],
    [policy.id_key_digest, report.idKeyDigest, 'snp_id_key_not_expected'],
    [policy.author_key_digest, report.authorKeyDigest, 'snp_author_key_not_expected'],
    [policy.chip_id, report.chipId, 'snp_chip_not_expected'],
  ]
  for (const [values, bytes, code] of pins) {
    const seen = toHex(bytes)
    rule(values === 'any' || values.includes(seen), code, seen, `one of ${values.length} values`)
  }
}
