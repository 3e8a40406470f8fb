import {
  encodeCollateral,
  encodeProviderEvidence,
  RA_TLS_CERTIFICATE,
  readEvidenceCertificate,
  TDX_COLLATERAL,
  toHex,
} from '@vouchgate/attestation'
import type { Collect } from './collect.ts'

/** The certificate of one TLS handshake; nothing is asked for, so nothing is answered. */
export const collectOpenAiRaTls: Collect = async ({ origin, model }, deps) => {
  const { certificate, spkiSha256 } = await deps.certificate(origin)
  const { quote } = await readEvidenceCertificate(certificate)
  return encodeProviderEvidence({
    kind: 'openai-ra-tls',
    collectedAt: deps.clock.now(),
    origin,
    model,
    nonce: null,
    observedSpkiSha256: toHex(spkiSha256),
    documents: new Map([
      [RA_TLS_CERTIFICATE, certificate],
      [TDX_COLLATERAL, encodeCollateral(await deps.pcs(quote))],
    ]),
  })
}
