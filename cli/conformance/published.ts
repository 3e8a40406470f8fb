import type { UnixSeconds } from '@vouchgate/attestation'
import { X509Certificate } from 'node:crypto'
import { CliError } from '../errors.ts'

/**
 * CA certificates as Intel and AMD publish them, for inputs without issuer chains. None is trusted for
 * standing here: the library checks every chain up to the root whose digest it pins.
 */
export interface Published {
  /** PEM from the certificate of this subject up to its root; empty where the first is not there. */
  readonly chainFrom: (subject: string, now: UnixSeconds) => string
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Throws CliError `chains_malformed`. */
export function parsePublished(text: string): Published {
  const certificates = (text.match(CERTIFICATE) ?? []).map(parse)
  const find = (subject: string, now: UnixSeconds): X509Certificate | undefined =>
    certificates.find((known) => known.subject === subject && isValidAt(known, now))
  return {
    chainFrom: (subject, now) => {
      const chain: X509Certificate[] = []
      let next = find(subject, now)
      // A root names itself, and a hostile file may name issuers in a circle.
      while (next !== undefined && !chain.includes(next)) {
        chain.push(next)
        next = find(next.issuer, now)
      }
      return chain.map(String).join('')
    },
  }
}

export const NOTHING_PUBLISHED = parsePublished('')

/** Why a chain is refused that is not there at all. */
export const NO_CHAIN = 'the input brings no issuer chain; --chains FILE names certificates for it'

function parse(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw new CliError('chains_malformed')
  }
}

const isValidAt = ({ validFrom, validTo }: X509Certificate, now: UnixSeconds): boolean =>
  Date.parse(validFrom) <= now * 1000 && now * 1000 <= Date.parse(validTo)

/** The issuer that a certificate names, a hint and no more; empty where it cannot be read. */
export function issuerOf(certificate: Uint8Array): string {
  try {
    return new X509Certificate(certificate).issuer
  } catch {
    return ''
  }
}
