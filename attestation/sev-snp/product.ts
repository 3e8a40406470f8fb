import { isZero, type Bytes } from '../bytes.ts'

/** The products whose roots are pinned. Anything else is refused: a default product would be an unpinned root. */
const SNP_PRODUCTS = ['Milan', 'Genoa', 'Turin'] as const
export type SnpProduct = (typeof SNP_PRODUCTS)[number]

/** Security patch levels of a platform. Only Turin has an FMC. */
export interface SnpTcb {
  readonly fmc: number | null
  readonly bootloader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

export type SnpTcbComponent = keyof SnpTcb
export const SNP_TCB_COMPONENTS = ['fmc', 'bootloader', 'tee', 'snp', 'microcode'] as const

/** Family, first and last model of CPUID Fn0000_0001 (base and extended parts added up). */
const MODELS: readonly (readonly [number, number, number, SnpProduct])[] = [
  [0x19, 0x00, 0x0f, 'Milan'],
  [0x19, 0x10, 0x1f, 'Genoa'],
  // Bergamo and Siena: AMD endorses them with Genoa's keys.
  [0x19, 0xa0, 0xaf, 'Genoa'],
  [0x1a, 0x00, 0x1f, 'Turin'],
]

export function productOfCpuid(family: number, model: number): SnpProduct | null {
  const found = MODELS.find(([of, first, last]) => of === family && first <= model && model <= last)
  return found?.[3] ?? null
}

export const productNamed = (name: string): SnpProduct | null =>
  SNP_PRODUCTS.find((product) => product === name) ?? null

/** TCB_VERSION of a product (SEV-SNP ABI, table 3); null where a reserved byte is set. */
export function decodeTcb(raw: Bytes, product: SnpProduct): SnpTcb | null {
  const at = (index: number): number => raw[index] ?? 0
  if (product === 'Turin') {
    const [fmc, bootloader, tee, snp, microcode] = [at(0), at(1), at(2), at(3), at(7)]
    return isZero(raw.subarray(4, 7)) ? { fmc, bootloader, tee, snp, microcode } : null
  }
  const [bootloader, tee, snp, microcode] = [at(0), at(1), at(6), at(7)]
  return isZero(raw.subarray(2, 6)) ? { fmc: null, bootloader, tee, snp, microcode } : null
}

/** Whether every component is at least as high. */
export const isTcbAtLeast = (tcb: SnpTcb, floor: SnpTcb): boolean =>
  SNP_TCB_COMPONENTS.every((name) => (tcb[name] ?? 0) >= (floor[name] ?? 0))

/** The form in which rejections show a TCB. */
export const formatTcb = (tcb: SnpTcb): string =>
  SNP_TCB_COMPONENTS.filter((name) => tcb[name] !== null)
    .map((name) => `${name} ${tcb[name]}`)
    .join(', ')
