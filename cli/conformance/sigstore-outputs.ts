import { decodeUtf8, fromBase64, parseJson, toHex } from '@vouchgate/attestation'
import { X509Certificate } from '@peculiar/x509'
import { z } from 'zod'

const bundleSchema = z.object({
  verificationMaterial: z.object({
    certificate: z.object({ rawBytes: z.base64().transform(fromBase64) }),
    tlogEntries: z
      .array(
        z.object({
          logId: z.object({ keyId: z.base64().transform(fromBase64) }),
          integratedTime: z.string().default('0').transform(Number),
        }),
      )
      .min(1),
  }),
})

const SCT_LIST = '1.3.6.1.4.1.11129.2.4.2'
const SIGNER_URI = '1.3.6.1.4.1.57264.1.9'

/** What the contract shows of a bundle that was verified: a mirror that no rule reads. */
export function bundleOutputs(bundle: Uint8Array): object {
  const { verificationMaterial } = bundleSchema.parse(parseJson(decodeUtf8(bundle)))
  const { certificate, tlogEntries } = verificationMaterial
  const leaf = new X509Certificate(certificate.rawBytes)
  const signer = contentOf(leaf, SIGNER_URI)
  return {
    cert_workflow_signer_uri: signer === null ? '' : decodeUtf8(signer),
    ...tlogEntries.slice(0, 1).map(({ logId, integratedTime }) => ({
      rekor_log_id_hex: toHex(logId.keyId),
      rekor_integrated_time_unix: integratedTime,
    }))[0],
    tlog_entry_count: tlogEntries.length,
    sct_count: countScts(contentOf(leaf, SCT_LIST)),
  }
}

/** The content of the one DER value inside an extension. */
function contentOf(certificate: X509Certificate, oid: string): Uint8Array | null {
  const extension = certificate.getExtension(oid)
  if (extension === null) return null
  const der = new Uint8Array(extension.value)
  const length = der[1] ?? 0
  return der.subarray(length < 0x80 ? 2 : 2 + (length & 0x7f))
}

/** `u16 total, then u16 length and an SCT` each (RFC 6962, section 3.3). */
function countScts(list: Uint8Array | null): number {
  if (list === null) return 0
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength)
  let count = 0
  for (let at = 2; at + 2 <= list.length; at += 2 + view.getUint16(at)) count += 1
  return count
}
