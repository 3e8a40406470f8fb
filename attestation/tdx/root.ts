import { EvidenceError } from '../errors.ts'
import { parsePemChain, type Certificate } from '../x509.ts'

/** Where every chain must end. `test-pki` is another root that the caller named, and is always reported. */
export interface TrustedRoot {
  readonly kind: 'intel' | 'test-pki'
  /** SHA-256 of the root certificate's DER, hex. The whole certificate is pinned, not its name or key. */
  readonly sha256: string
}

/** Intel SGX Root CA, valid 2018-05-21 to 2049-12-31. Look-alike roots with the same name exist. */
export const INTEL_SGX_ROOT: TrustedRoot = {
  kind: 'intel',
  sha256: '44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3',
}

/** A root for a test PKI, in PEM. Throws `certificate_malformed`. */
export async function testPkiRoot(pem: string): Promise<TrustedRoot> {
  const [root, ...rest] = parsePemChain(pem)
  if (root === undefined || rest.length > 0) throw new EvidenceError('certificate_malformed')
  return { kind: 'test-pki', sha256: await root.fingerprint() }
}

export const isTrusted = async (root: Certificate, trusted: TrustedRoot): Promise<boolean> =>
  (await root.fingerprint()) === trusted.sha256
