import { createHash, sign } from 'node:crypto'
import { toBase64, type Bytes } from '@vouchgate/attestation'
import { evidenceItem, type SimulatedDevice } from './nvidia-gpu.ts'
import type { TlsIdentity } from './pki.ts'

/** The fields of an attestation document, version 3, before they are written down. */
export interface DocumentFields {
  tlsKey: string
  hpkeKey: string
  /** Hex. */
  nonce: string
  /** The evidence of its GPUs, JSON; null where it has none. */
  gpu: string | null
  nvswitch: string | null
}

const hexSha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What the devices answer, as the text that is hashed; null where there are none. */
export function gpuEvidence(devices: readonly SimulatedDevice[], nonce: string): string | null {
  if (devices.length === 0) return null
  const challenge = Uint8Array.from(Buffer.from(nonce, 'hex'))
  const evidences = devices.map(({ arch, pem, answer }) => ({
    ...evidenceItem(answer(challenge), pem, arch),
    nonce,
  }))
  // The spaces are there so that whoever writes the document anew hashes something else.
  return JSON.stringify({ evidences }).replaceAll(',', ', ')
}

/** SHA-256 over the keys, the nonce and the hash of each device document; then zeros. */
export function reportDataOf({ tlsKey, hpkeKey, nonce, gpu, nvswitch }: DocumentFields): string {
  const devices = [gpu, nvswitch].flatMap((each) =>
    each === null ? [] : [hexSha256(Buffer.from(each))],
  )
  const bound = Buffer.from([tlsKey, hpkeKey, nonce, ...devices].join(''), 'hex')
  return hexSha256(bound) + '00'.repeat(32)
}

interface Cpu {
  readonly platform: 'tdx' | 'sev-snp'
  readonly report: Bytes
}

/** Compact JSON in the order of the real one, signed by the TLS key over itself with an empty signature. */
export function documentText(
  fields: DocumentFields,
  { platform, report }: Cpu,
  tls: TlsIdentity,
): string {
  const { gpu, nvswitch } = fields
  const hashOf = (name: string, evidence: string | null) =>
    evidence === null ? {} : { [name]: hexSha256(Buffer.from(evidence)) }
  const members = [
    ['format', '"https://tinfoil.sh/predicate/attestation/v3"'],
    [
      'report_data',
      JSON.stringify({
        tls_key_fp: fields.tlsKey,
        hpke_key: fields.hpkeKey,
        nonce: fields.nonce,
        ...hashOf('gpu_evidence_hash', gpu),
        ...hashOf('nvswitch_evidence_hash', nvswitch),
      }),
    ],
    ['cpu', JSON.stringify({ platform, report: toBase64(report) })],
    ...(gpu === null ? [] : [['gpu', gpu]]),
    ...(nvswitch === null ? [] : [['nvswitch', nvswitch]]),
    ['certificate', JSON.stringify(tls.cert)],
  ]
  const text = members.map(([name, value]) => `"${name}":${value}`).join(',')
  const signature = sign('sha256', Buffer.from(`{${text},"signature":""}`), tls.key)
  return `{${text},"signature":"${signature.toString('base64')}"}`
}
