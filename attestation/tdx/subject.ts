import { EvidenceError } from '../errors.ts'
import type { QeIdentity, TcbInfo } from './collateral.ts'
import type { TeeType } from './quote.ts'

/** The platform that a TCB info must be about; `pceId` is null where only a quote could tell it. */
interface Platform {
  readonly fmspc: string
  readonly pceId: string | null
}

/** Validly signed is not enough: Intel signs TCB info for every platform, and for SGX beside TDX. */
export function checkTcbInfoSubject(tcbInfo: TcbInfo, tee: TeeType, platform: Platform): void {
  // Version 2 is of the retired API v3, which knew SGX alone; whether it is wanted is the policy's word.
  const forTee = tcbInfo.tcbType === 0 && tcbInfo.id === (tee === 'tdx' ? 'TDX' : 'SGX')
  if (!forTee) throw new EvidenceError('tcb_info_wrong_tee')
  const forPlatform =
    tcbInfo.fmspc.toLowerCase() === platform.fmspc &&
    (platform.pceId === null || tcbInfo.pceId.toLowerCase() === platform.pceId)
  if (!forPlatform) throw new EvidenceError('tcb_info_wrong_platform')
}

export function checkQeIdentitySubject(identity: QeIdentity, tee: TeeType): void {
  const forEnclave = identity.version === 2 && identity.id === (tee === 'tdx' ? 'TD_QE' : 'QE')
  if (!forEnclave) throw new EvidenceError('qe_identity_wrong_enclave')
}
