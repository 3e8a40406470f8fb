import { decodeUtf8, equalBytes, sha256, toHex } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { AcceptedSnpReport } from '../sev-snp/verdict.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { checkObserved } from './channel.ts'
import { providerClaims } from './claims.ts'
import { acceptSnp, acceptTdx } from './cpu.ts'
import { checkNoLaunch } from './dstack.ts'
import { documentOf } from './evidence.ts'
import { expiryOf } from './expiry.ts'
import { challengeOf } from './freshness.ts'
import { acceptGpus, type BoundGpus } from './gpus.ts'
import type { AppraiseKind, Appraised, KindInput } from './kind.ts'
import {
  parseTinfoilDocument,
  tinfoilPrefix,
  tinfoilReportData,
  type TinfoilDocument,
} from './tinfoil-document.ts'
import {
  NO_IMAGE,
  TINFOIL_DOCUMENTS,
  verifyTinfoilImage,
  type TinfoilImage,
} from './tinfoil-image.ts'

/**
 * A Tinfoil enclave, router or model, in which TLS and EHBP end (providers.md §5).
 *
 * The image is a release that its repository's CI logged in public. Of a router this says nothing about the enclaves
 * behind it: that it verifies them is in its code.
 */
export const appraiseTinfoil: AppraiseKind = async (input) => {
  const { evidence } = input
  const document = parseTinfoilDocument(documentOf(evidence, TINFOIL_DOCUMENTS.document))
  // 1. The document answers this challenge.
  if (toHex(document.nonce) !== challengeOf(evidence)) throw new EvidenceError('nonce_mismatch')
  // 2. The CPU evidence is genuine and wanted.
  const cpu = await acceptCpu(document, input)
  // 3. It commits to the keys, to the challenge and to the evidence of every device.
  await checkReportData(cpu, document)
  // 4. The connection ends in the enclave.
  checkObserved(document.tlsKey, evidence)
  // 5. The enclave runs a release of the wanted repository, on known hardware; no other launch is measured.
  checkNoLaunch(input.policy.launch)
  const image = await verifyTinfoilImage(cpu, input)
  // 6. The GPUs are genuine, wanted, and the ones whose evidence the CPU committed to.
  const gpus = await gpusOf(document, cpu, input)
  return [await appraised({ document, cpu, image, gpus })]
}

type Cpu = AcceptedQuote | AcceptedSnpReport

const acceptCpu = (document: TinfoilDocument, input: KindInput): Promise<Cpu> =>
  document.platform === 'tdx'
    ? acceptTdx(document.report, input)
    : acceptSnp(document.report, input)

async function checkReportData(cpu: Cpu, document: TinfoilDocument): Promise<void> {
  if (!equalBytes(cpu.reportData, await tinfoilReportData(document))) {
    throw new EvidenceError('provider_keys_not_bound')
  }
}

/** Null where there is no device. Both kinds in one document where there are switches. */
export function tinfoilGpuJson({ devices }: TinfoilDocument): string | null {
  const [gpu, nvswitch] = devices.map(decodeUtf8)
  if (gpu === undefined) return null
  return nvswitch === undefined ? gpu : `{"gpu":${gpu},"nvswitch":${nvswitch}}`
}

async function gpusOf(
  document: TinfoilDocument,
  cpu: Cpu,
  input: KindInput,
): Promise<BoundGpus | null> {
  if (input.policy.gpu === 'unchecked') return null
  const json = tinfoilGpuJson(document)
  if (json === null) throw new EvidenceError('gpu_evidence_count')
  const { nonce, devices: documents } = document
  const rule = { kind: 'evidence-hash', prefix: tinfoilPrefix(document), documents } as const
  return acceptGpus({ json, nonce, cpu, rule }, input)
}

interface Enclave {
  readonly document: TinfoilDocument
  readonly cpu: Cpu
  readonly image: TinfoilImage | null
  readonly gpus: BoundGpus | null
}

async function appraised({ document, cpu, image, gpus }: Enclave): Promise<Appraised> {
  const { tlsKey, hpkeKey, devices } = document
  return {
    bindings: [
      { kind: 'tls-spki-sha256', digest: tlsKey },
      {
        kind: 'e2ee-public-key',
        protocol: 'ehbp-x25519',
        keyId: null,
        publicKey: hpkeKey,
        digest: await sha256(hpkeKey),
      },
    ],
    expiresAt: expiryOf(cpu, gpus),
    identity: image?.identity ?? {},
    claims: providerClaims({
      cpu,
      binds: 'the TLS key of the connection and the key that bodies are encrypted to',
      gpus,
      ...image?.claims,
      extra: {
        evidence_scope: devices.length === 0 ? 'router' : 'instance',
        freshness: 'client_nonce',
        ...(image?.extra ?? NO_IMAGE),
      },
    }),
    logged: {},
  }
}
