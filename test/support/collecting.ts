import type { CollectDeps } from '../../src/providers/collect.ts'

/** What a kind that needs neither has for AMD's certificates and for releases. */
export const NO_OTHER_VENDORS: Pick<CollectDeps, 'amd' | 'releases' | 'certificate'> = {
  amd: () => Promise.reject(new TypeError('no SNP here')),
  certificate: () => Promise.reject(new TypeError('no certificate here')),
  releases: () => Promise.reject(new TypeError('no releases here')),
}
