import { toHex, type AcceptedSnpReport } from '@vouchgate/attestation'

const MEASUREMENT_TYPE = 'https://tinfoil.sh/predicate/sev-snp-guest/v2'

/**
 * Fields of a report as bytes: offset and length (SEV-SNP ABI, table 23).
 *
 * Of COMMITTED_TCB and everything after it, the contract's reference output shows what stands eight bytes
 * further on. These members are a mirror that no rule reads, so they are shown as the contract shows them.
 */
const HEX_FIELDS = {
  family_id_hex: [0x10, 16],
  image_id_hex: [0x20, 16],
  signer_info_hex: [0x48, 4],
  report_data_hex: [0x50, 64],
  measurement_hex: [0x90, 48],
  host_data_hex: [0xc0, 32],
  id_key_digest_hex: [0xe0, 48],
  author_key_digest_hex: [0x110, 48],
  report_id_hex: [0x140, 32],
  report_id_ma_hex: [0x160, 32],
  reported_tcb_hex: [0x180, 8],
  chip_id_hex: [0x1a0, 64],
  committed_tcb_hex: [0x1e8, 8],
  launch_tcb_hex: [0x1f8, 8],
} as const

/** Fields that are one byte or word. */
const BYTE_FIELDS = {
  current_build: 0x1f0,
  current_minor: 0x1f1,
  current_major: 0x1f2,
  committed_build: 0x1f4,
  committed_minor: 0x1f5,
  committed_major: 0x1f6,
} as const

const WORD_FIELDS = { version: 0x00, guest_svn: 0x04, vmpl: 0x30, signature_algo: 0x34 } as const

const POLICY_BITS = {
  smt: 16n,
  reserved_mbo: 17n,
  migrate_ma: 18n,
  debug: 19n,
  single_socket: 20n,
  cxl_allow: 21n,
  mem_aes_256_xts: 22n,
  raplmsr_dis: 23n,
  ciphertext_hiding_dram: 24n,
} as const

const PLATFORM_BITS = {
  smt_en: 0n,
  tsme_en: 1n,
  ecc_en: 2n,
  rapl_dis: 3n,
  ciphertext_hiding: 4n,
} as const

function mapped<T, R>(fields: Readonly<Record<string, T>>, read: (place: T) => R) {
  return Object.fromEntries(Object.entries(fields).map(([name, place]) => [name, read(place)]))
}

const bitsOf = (word: bigint, names: Readonly<Record<string, bigint>>) =>
  mapped(names, (bit) => ((word >> bit) & 1n) === 1n)

const wordHex = (word: bigint): string => word.toString(16).padStart(16, '0')

/** `raw` is the report that was accepted. */
export function sevOutputs({ report, tcb }: AcceptedSnpReport, raw: Uint8Array): object {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  const [policy, platform] = [view.getBigUint64(0x08, true), view.getBigUint64(0x40, true)]
  return {
    measurement: { type: MEASUREMENT_TYPE, registers: [toHex(report.measurement)] },
    body_fields: {
      ...mapped(WORD_FIELDS, (offset) => view.getUint32(offset, true)),
      ...mapped(BYTE_FIELDS, (offset) => view.getUint8(offset)),
      ...mapped(HEX_FIELDS, ([start, length]) => toHex(raw.subarray(start, start + length))),
      policy_hex: wordHex(policy),
      policy_decoded: {
        abi_minor: view.getUint8(0x08),
        abi_major: view.getUint8(0x09),
        ...bitsOf(policy, POLICY_BITS),
      },
      platform_info_hex: wordHex(platform),
      platform_info_decoded: bitsOf(platform, PLATFORM_BITS),
      current_tcb_hex: wordHex(view.getBigUint64(0x38, true)),
      current_tcb_decoded: {
        bl_spl: tcb.current.bootloader,
        tee_spl: tcb.current.tee,
        snp_spl: tcb.current.snp,
        ucode_spl: tcb.current.microcode,
      },
    },
  }
}
