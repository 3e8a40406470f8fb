import { Reader, type Bytes } from '../bytes.ts'

/** TD report 1.0, with the 1.5 additions where the quote has them (tdx.md §1.1). */
export interface TdReport {
  /** [0] TDX module SVN, [1] TDX module major version, [2…] platform components. */
  readonly teeTcbSvn: Bytes
  readonly mrSeam: Bytes
  readonly mrSignerSeam: Bytes
  readonly seamAttributes: Bytes
  readonly tdAttributes: Bytes
  readonly xfam: Bytes
  readonly mrtd: Bytes
  readonly mrConfigId: Bytes
  readonly mrOwner: Bytes
  readonly mrOwnerConfig: Bytes
  readonly rtmr0: Bytes
  readonly rtmr1: Bytes
  readonly rtmr2: Bytes
  readonly rtmr3: Bytes
  readonly reportData: Bytes
  /** TD 1.5: the SVNs of the module that runs now, and the hash of a bound service TD. Null in 1.0. */
  readonly teeTcbSvn2: Bytes | null
  readonly mrServiceTd: Bytes | null
}

/** An SGX enclave report: the body of an SGX quote, and the quoting enclave's own report. */
export interface EnclaveReport {
  readonly cpuSvn: Bytes
  readonly miscSelect: Bytes
  readonly attributes: Bytes
  readonly mrEnclave: Bytes
  readonly mrSigner: Bytes
  readonly isvProdId: number
  readonly isvSvn: number
  readonly reportData: Bytes
}

/** `bytes` is 584 (TD 1.0), 648 (TD 1.5) or 885 (TD 1.5 extended) long. */
export function parseTdReport(bytes: Uint8Array): TdReport {
  const reader = new Reader(bytes, 'quote_malformed')
  const base = {
    teeTcbSvn: reader.take(16),
    mrSeam: reader.take(48),
    mrSignerSeam: reader.take(48),
    seamAttributes: reader.take(8),
    tdAttributes: reader.take(8),
    xfam: reader.take(8),
    mrtd: reader.take(48),
    mrConfigId: reader.take(48),
    mrOwner: reader.take(48),
    mrOwnerConfig: reader.take(48),
    rtmr0: reader.take(48),
    rtmr1: reader.take(48),
    rtmr2: reader.take(48),
    rtmr3: reader.take(48),
    reportData: reader.take(64),
  }
  const extended = reader.remaining > 0
  return {
    ...base,
    teeTcbSvn2: extended ? reader.take(16) : null,
    mrServiceTd: extended ? reader.take(48) : null,
  }
}

/** `bytes` is 384 long. */
export function parseEnclaveReport(bytes: Uint8Array): EnclaveReport {
  const reader = new Reader(bytes, 'quote_malformed')
  const cpuSvn = reader.take(16)
  const miscSelect = reader.take(4)
  reader.take(28)
  const attributes = reader.take(16)
  const mrEnclave = reader.take(32)
  reader.take(32)
  const mrSigner = reader.take(32)
  reader.take(96)
  const isvProdId = reader.u16()
  const isvSvn = reader.u16()
  reader.take(60)
  const reportData = reader.take(64)
  return { cpuSvn, miscSelect, attributes, mrEnclave, mrSigner, isvProdId, isvSvn, reportData }
}
