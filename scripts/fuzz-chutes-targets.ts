import {
  parseChutesInstances,
  readChutesRound,
  readEvidenceCertificate,
  sha256,
} from '@vouchgate/attestation'
import { readDstackAttestation } from '../attestation/ra-tls/dstack.ts'
import { checkClaims, readInteroperable } from '../attestation/ra-tls/interoperable.ts'
import { runtimeEntry } from '../test/support/eventlog.ts'
import {
  cbor,
  claimsOf,
  documentAttestation,
  messagePack,
  newRaTlsIdentity,
  scaleAttestation,
  Tagged,
  type RaTlsForm,
} from '../test/support/ra-tls.ts'
import type { TeeVendor } from '../test/support/tee-vendor.ts'
import { json, type Target } from './fuzz-target.ts'

const FORMS: readonly RaTlsForm[] = ['dstack-legacy', 'dstack-scale', 'interoperable']

/** Rounds of Chutes, and what TLS certificates carry. */
export async function chutesTargets(vendor: TeeVendor): Promise<Target[]> {
  const key = Buffer.alloc(1184, 7).toString('base64')
  const list = json({
    instances: [{ instance_id: 'a-1', e2e_pubkey: key, nonces: ['abc_-'] }],
    nonce_expires_in: 60,
  })
  const entry = { instance_id: 'a-1', quote: 'AAAA', certificate: 'AAAA', gpu_evidence: [{}] }
  const quote = Uint8Array.of(1, 2, 3)
  const log = [runtimeEntry('compose-hash', new Uint8Array(32))]
  const document = documentAttestation(quote, log)
  const certificates = await Promise.all(
    FORMS.map((form) => newRaTlsIdentity(vendor, { form, log })),
  )
  const { spki } = certificates[0] ?? { spki: quote }
  return [
    { name: 'parseChutesInstances', seeds: [list], run: parseChutesInstances },
    {
      name: 'readChutesRound',
      seeds: [json({ evidence: [entry], failed_instance_ids: [] })],
      run: (input) => readChutesRound(list, Uint8Array.from(input)),
    },
    {
      name: 'readDstackAttestation',
      seeds: [scaleAttestation(quote, log), cbor(document), messagePack(document)],
      run: readDstackAttestation,
    },
    {
      name: 'readInteroperable',
      seeds: [cbor(new Tagged(60_000, [quote, claimsOf(new Uint8Array(32))]))],
      run: readInteroperable,
    },
    {
      name: 'checkClaims',
      seeds: [claimsOf(await sha256(spki))],
      run: (input) => checkClaims(Uint8Array.from(input), spki),
    },
    {
      name: 'readEvidenceCertificate',
      seeds: certificates.map(({ der }) => der),
      run: readEvidenceCertificate,
    },
  ]
}
