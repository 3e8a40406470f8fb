import { EvidenceError } from '../errors.ts'
import { pemBlocks } from '../x509.ts'
import { parseNvidiaCertificate } from './certificate.ts'

/**
 * Where chains must end: two anchors that never stand in for each other, since whoever may sign reference
 * values must not be able to make devices. `test-pki` is another pair that the caller named, and is always reported.
 */
export interface NvidiaRoots {
  readonly kind: 'nvidia' | 'test-pki'
  /** SHA-256 of the root certificate's DER, hex. The whole certificate is pinned, not its name or key. */
  readonly device: string
  readonly rim: string
}

/** `NVIDIA Device Identity CA` (from 2021, without end) and `NVIDIA CoRIM signing Root CA` (2023 to 2053). */
export const NVIDIA_ROOTS: NvidiaRoots = {
  kind: 'nvidia',
  device: '102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48',
  rim: '12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1',
}

/** The two roots of a test PKI, each one certificate in PEM. Throws `certificate_malformed`. */
export const testNvidiaRoots = async (devicePem: string, rimPem: string): Promise<NvidiaRoots> => ({
  kind: 'test-pki',
  device: await digestOf(devicePem),
  rim: await digestOf(rimPem),
})

async function digestOf(pem: string): Promise<string> {
  const [der, ...rest] = pemBlocks(pem)
  if (der === undefined || rest.length > 0) throw new EvidenceError('certificate_malformed')
  return (await parseNvidiaCertificate(der)).sha256
}
