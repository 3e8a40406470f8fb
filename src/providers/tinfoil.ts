import {
  encodeCollateral,
  encodeUtf8,
  fromHex,
  numbered,
  parseTinfoilDocument,
  SNP_DOCUMENTS,
  TDX_COLLATERAL,
  tinfoilGpuJson,
  TINFOIL_DOCUMENTS,
  TINFOIL_HARDWARE_REPOSITORY,
  type TinfoilDocument,
} from '@vouchgate/attestation'
import type { AttestedProvider } from '../config/index.ts'
import type { Collect, CollectDeps, NamedDocuments } from './collect.ts'
import { nodeEvidence } from './node-report.ts'
import type { ReleaseDocuments } from './releases.ts'

/** One GPU makes 21 KB; eight with switches some 250. */
const MAX_DOCUMENT = 1 << 20

/** The document of the enclave that the connection reached, over a fresh nonce, and what its release is known by. */
export const collectTinfoil: Collect = async (provider, deps) => {
  const { origin, policy } = provider
  const { nonce } = deps
  const path = `/.well-known/tinfoil-attestation?nonce=${nonce}`
  const { body, spkiSha256 } = await deps.attested({ origin, path, maxBytes: MAX_DOCUMENT })
  const document = parseTinfoilDocument(body)
  const gpu = tinfoilGpuJson(document)
  const parts = await Promise.all([
    endorsementsOf(document, provider, deps),
    releasesOf(document, provider, deps),
    gpu === null ? [] : deps.gpus({ json: gpu, nonce: fromHex(nonce), policy: policy.gpu }),
  ])
  return nodeEvidence(provider, deps, {
    kind: 'tinfoil',
    spkiSha256,
    documents: [[TINFOIL_DOCUMENTS.document, body], ...parts.flat()],
  })
}

async function endorsementsOf(
  { platform, report }: TinfoilDocument,
  { policy }: AttestedProvider,
  { pcs, amd }: CollectDeps,
): Promise<NamedDocuments> {
  if (platform === 'tdx') return [[TDX_COLLATERAL, encodeCollateral(await pcs(report))]]
  const crl = policy.snp !== 'reject' && policy.snp.revocation === 'require'
  const found = await amd({ report, crl })
  return [
    [SNP_DOCUMENTS.leaf, found.leaf],
    [SNP_DOCUMENTS.chain, found.chain],
    ...(found.crl === null ? [] : [[SNP_DOCUMENTS.crl, found.crl] as const]),
  ]
}

/** Every release that the policy names, for while one replaces another; else the newest. */
async function releasesOf(
  { platform }: TinfoilDocument,
  { policy: { release } }: AttestedProvider,
  { releases }: CollectDeps,
): Promise<NamedDocuments> {
  if (release === 'any') return []
  const tags = release.tags === 'any' ? [null] : release.tags
  const [images, hardware] = await Promise.all([
    Promise.all(tags.map(async (tag) => releases(release.repository, tag))),
    platform === 'tdx' ? releases(TINFOIL_HARDWARE_REPOSITORY, null) : null,
  ])
  return [
    [TINFOIL_DOCUMENTS.repository, encodeUtf8(release.repository)],
    ...documentsOf(TINFOIL_DOCUMENTS.release, images),
    ...documentsOf(TINFOIL_DOCUMENTS.hardware, hardware === null ? [] : [hardware]),
  ]
}

const documentsOf = (
  names: { readonly digest: string; readonly attestations: string },
  found: readonly ReleaseDocuments[],
): NamedDocuments => [
  ...numbered(
    names.digest,
    found.map(({ digest }) => digest),
  ),
  ...numbered(
    names.attestations,
    found.map(({ attestations }) => attestations),
  ),
]
