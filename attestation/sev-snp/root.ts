import { EvidenceError } from '../errors.ts'
import { pemBlocks } from '../x509.ts'
import { parseAmdCertificate, type AmdCertificate } from './certificate.ts'
import { productNamed, type SnpProduct } from './product.ts'

/** Where every chain must end. `test-pki` is another root that the caller named, and is always reported. */
export interface SnpRoots {
  readonly kind: 'amd' | 'test-pki'
  readonly arks: readonly SnpRoot[]
}

interface SnpRoot {
  readonly product: SnpProduct
  /** SHA-256 of the root certificate's DER, hex. The whole certificate is pinned, not its name or key. */
  readonly sha256: string
}

/** AMD Root Keys, valid 2020 to 2045 (Milan), 2022 to 2047 (Genoa) and 2023 to 2048 (Turin). */
export const AMD_ROOTS: SnpRoots = {
  kind: 'amd',
  arks: [
    {
      product: 'Milan',
      sha256: '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd',
    },
    {
      product: 'Genoa',
      sha256: '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1',
    },
    {
      product: 'Turin',
      sha256: '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a',
    },
  ],
}

/**
 * One ARK for a test PKI, in PEM. Throws `certificate_malformed`, and `snp_product_unknown` for one that is
 * not named `ARK-<product>`.
 */
export async function testSnpRoots(pem: string): Promise<SnpRoots> {
  const [der, ...rest] = pemBlocks(pem)
  if (der === undefined || rest.length > 0) throw new EvidenceError('certificate_malformed')
  const ark = parseAmdCertificate(der)
  const product = productNamed(ark.commonName?.replace(/^ARK-/, '') ?? '')
  if (product === null) throw new EvidenceError('snp_product_unknown')
  return { kind: 'test-pki', arks: [{ product, sha256: await ark.fingerprint() }] }
}

/** The product whose pinned root this is. There is no default: an unknown root is refused. */
export async function pinnedProduct(ark: AmdCertificate, roots: SnpRoots): Promise<SnpProduct> {
  const fingerprint = await ark.fingerprint()
  const pinned = roots.arks.find(({ sha256 }) => sha256 === fingerprint)
  if (pinned === undefined) throw new EvidenceError('certificate_root_untrusted', 'snp_chain')
  return pinned.product
}
