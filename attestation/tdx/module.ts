import { equalBytes, fromHex, isZero } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { TdReport } from './body.ts'
import type { TcbInfo } from './collateral.ts'
import { masked } from './qe.ts'
import { moduleIdentity } from './tcb.ts'

/** The TDX module that measured the TD must be one Intel signed (tdx.md §4 step 8). */
export function verifyTdxModule(report: TdReport, tcbInfo: TcbInfo): void {
  const expected = moduleIdentity(tcbInfo, report.teeTcbSvn) ?? tcbInfo.tdxModule
  const matches =
    expected !== undefined &&
    equalBytes(report.mrSignerSeam, fromHex(expected.mrsigner)) &&
    equalBytes(
      masked(report.seamAttributes, expected.attributesMask),
      fromHex(expected.attributes),
    ) &&
    isZero(report.seamAttributes)
  if (!matches) throw new EvidenceError('tdx_module_mismatch')
}
