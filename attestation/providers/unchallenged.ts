import type { Documents } from './evidence.ts'

/** DER of the leaf that a TLS server showed; its quote stands in it. */
export const RA_TLS_CERTIFICATE = 'certificate'

/** The bodies of a SecretVM's `/cpu`, `/gpu` and `/docker-compose`. */
export const SECRETAI_DOCUMENTS = { cpu: 'cpu', gpu: 'gpu', compose: 'docker-compose' } as const

/** Evidence that answers no challenge, of whatever age: all that can be fresh is that the peer holds the key. */
export const isUnchallenged = (documents: Documents): boolean =>
  documents.has(RA_TLS_CERTIFICATE) || documents.has(SECRETAI_DOCUMENTS.cpu)

/** Such evidence without a word of GPUs. */
export const showsNoGpus = (documents: Documents): boolean =>
  isUnchallenged(documents) && !documents.has(SECRETAI_DOCUMENTS.gpu)
