import {
  encodeCollateral,
  encodeProviderEvidence,
  encodeUtf8,
  parseProviderPolicy,
  SNP_DOCUMENTS,
  TDX_COLLATERAL,
  TINFOIL_DOCUMENTS,
  TINFOIL_HARDWARE_REPOSITORY,
  type Bytes,
  type JsonValue,
  type ProviderEvidence,
  type ProviderPolicy,
} from '@vouchgate/attestation'
import { TEST_TIME } from './clock.ts'
import { newGpu, newNvidiaVendor, type SimulatedDevice } from './nvidia-gpu.ts'
import { newTlsIdentity } from './pki.ts'
import { createSigstore, type ReleaseFields } from './sigstore.ts'
import { createSnpVendor, type SnpReportFields } from './snp-vendor.ts'
import { createTeeVendor, type QuoteFields } from './tee-vendor.ts'
import { documentText, gpuEvidence, reportDataOf, type DocumentFields } from './tinfoil-document.ts'
import type { PublishedRelease } from './tinfoil-service.ts'

/** What an enclave of a release is measured as, and who vouches for it: every vendor simulated, every format real. */
export const REPOSITORY = 'acme/confidential-model'
const RELEASE_TYPE = 'https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1'
const HARDWARE_TYPE = 'https://tinfoil.sh/predicate/hardware-measurements/v1'

export const REGISTERS = {
  mrtd: 'a0'.repeat(48),
  rtmr0: 'a1'.repeat(48),
  rtmr1: 'a2'.repeat(48),
  rtmr2: 'a3'.repeat(48),
  rtmr3: '00'.repeat(48),
  snp: 'a4'.repeat(48),
} as const

export const vendor = createTeeVendor()
export const snp = createSnpVendor('Genoa')
export const nvidia = newNvidiaVendor()
const sigstore = createSigstore()
export const gpu = newGpu(nvidia)

export interface Enclaved {
  readonly platform?: 'tdx' | 'sev-snp'
  readonly quote?: Omit<QuoteFields, 'reportData'>
  readonly report?: SnpReportFields
}

/** A TD or a guest of the released image, or with these differences. */
export function attestAs({ platform = 'tdx', quote = {}, report = {} }: Enclaved = {}) {
  const { snp: measurement, ...registers } = REGISTERS
  return async (reportData: string): Promise<Bytes> =>
    platform === 'tdx'
      ? vendor.quote({
          mrConfigId: '00'.repeat(48),
          mrOwner: '00'.repeat(48),
          mrOwnerConfig: '00'.repeat(48),
          ...registers,
          ...quote,
          reportData,
        })
      : snp.report({ measurement, ...report, reportData })
}

const IMAGE: JsonValue = {
  snp_measurement: REGISTERS.snp,
  tdx_measurement: { rtmr1: REGISTERS.rtmr1, rtmr2: REGISTERS.rtmr2 },
}
const HARDWARE: JsonValue = {
  small: { mrtd: 'b0'.repeat(48), rtmr0: 'b1'.repeat(48) },
  large: { mrtd: REGISTERS.mrtd, rtmr0: REGISTERS.rtmr0 },
}

const DIGESTS = { image: 'd1'.repeat(32), hardware: 'd2'.repeat(32) } as const

const published = (fields: ReleaseFields): PublishedRelease => ({
  tag: (fields.ref ?? 'refs/tags/v1.0.0').slice('refs/tags/'.length),
  digest: fields.artifactSha256,
  bundle: sigstore.bundle(fields),
})

export const imageRelease = (fields: Partial<ReleaseFields> = {}): PublishedRelease =>
  published({
    repository: REPOSITORY,
    artifactSha256: DIGESTS.image,
    predicateType: RELEASE_TYPE,
    predicate: IMAGE,
    ...fields,
  })

export const hardwareRelease = (fields: Partial<ReleaseFields> = {}): PublishedRelease =>
  published({
    repository: TINFOIL_HARDWARE_REPOSITORY,
    artifactSha256: DIGESTS.hardware,
    predicateType: HARDWARE_TYPE,
    predicate: HARDWARE,
    ...fields,
  })

/** Trusts the simulated vendors, and wants a release of {@link REPOSITORY}. */
export const policyDocument = {
  tdx: { trusted_root: { test_pki_pem: vendor.rootPem }, workload: 'any' },
  snp: { min_tcb: 'any', measurement: 'any' },
  snp_trusted_root: { test_pki_pem: snp.rootPem },
  gpu: {
    trusted_root: {
      test_pki: { device_pem: nvidia.pki.deviceRoot.pem, rim_pem: nvidia.pki.rimRoot.pem },
    },
    measurements: 'unchecked',
    revocation: 'unchecked',
  },
  gpu_binding: 'strong',
  release: {
    repository: REPOSITORY,
    trusted_root: { test_trusted_root: JSON.stringify(sigstore.trustedRoot) },
  },
}

export const policyOf = (changes: object = {}): ProviderPolicy =>
  parseProviderPolicy({ ...policyDocument, ...changes })

export interface Shown extends Enclaved {
  readonly gpus?: readonly SimulatedDevice[]
  /** The document's fields before the hardware signs their hash. */
  readonly bind?: (fields: DocumentFields) => DocumentFields
  /** The document's fields after that. */
  readonly forge?: (fields: DocumentFields) => DocumentFields
  readonly edit?: (document: string) => string
  readonly images?: readonly PublishedRelease[]
  readonly hardware?: readonly PublishedRelease[]
  /** Document names to values, or to null where one is left out. */
  readonly documents?: Readonly<Record<string, Bytes | null>>
  readonly evidence?: Partial<ProviderEvidence>
}

export const NONCE = '0c'.repeat(32)
export const TLS = newTlsIdentity()
export const HPKE_KEY = '09'.repeat(32)

/** The bytes of a verification of one enclave. */
export async function shown(given: Shown = {}): Promise<Bytes> {
  return encodeProviderEvidence({
    kind: 'tinfoil',
    collectedAt: TEST_TIME,
    origin: 'https://enclave.example',
    model: null,
    nonce: NONCE,
    observedSpkiSha256: TLS.spkiSha256,
    documents: await documentsOf(given),
    ...given.evidence,
  })
}

async function documentsOf(given: Shown): Promise<Map<string, Bytes>> {
  const { images = [imageRelease()], hardware = [hardwareRelease()], platform = 'tdx' } = given
  const documents = new Map<string, Bytes>([
    [TINFOIL_DOCUMENTS.document, await documentOf(given, platform)],
    [TINFOIL_DOCUMENTS.repository, encodeUtf8(REPOSITORY)],
    ...endorsements(platform),
    ...releases(TINFOIL_DOCUMENTS.release, images),
    ...releases(TINFOIL_DOCUMENTS.hardware, hardware),
  ])
  for (const [name, value] of Object.entries(given.documents ?? {})) {
    if (value === null) documents.delete(name)
    else documents.set(name, value)
  }
  return documents
}

const same = <T>(value: T): T => value

async function documentOf(given: Shown, platform: 'tdx' | 'sev-snp'): Promise<Bytes> {
  const { gpus = [gpu], bind = same, forge = same, edit = same } = given
  const bound = bind({
    tlsKey: TLS.spkiSha256,
    hpkeKey: HPKE_KEY,
    nonce: NONCE,
    gpu: gpuEvidence(gpus, NONCE),
    nvswitch: null,
  })
  const report = await attestAs(given)(reportDataOf(bound))
  return encodeUtf8(edit(documentText(forge(bound), { platform, report }, TLS)))
}

const endorsements = (platform: 'tdx' | 'sev-snp'): [string, Bytes][] =>
  platform === 'tdx'
    ? [[TDX_COLLATERAL, encodeCollateral(vendor.collateral())]]
    : [
        [SNP_DOCUMENTS.leaf, snp.leaf('vcek')],
        [SNP_DOCUMENTS.chain, encodeUtf8(snp.chain('vcek'))],
        [SNP_DOCUMENTS.crl, snp.crl()],
      ]

export const attestationsOf = (bundles: readonly Bytes[]): Bytes =>
  encodeUtf8(
    `{"attestations":[${bundles.map((each) => `{"bundle":${Buffer.from(each).toString()}}`).join(',')}]}`,
  )

const releases = (
  names: { readonly digest: string; readonly attestations: string },
  list: readonly PublishedRelease[],
): [string, Bytes][] =>
  list.flatMap(({ digest, bundle }, at): [string, Bytes][] => [
    [`${names.digest}/${at}`, encodeUtf8(`${digest}\n`)],
    [`${names.attestations}/${at}`, attestationsOf([bundle])],
  ])
