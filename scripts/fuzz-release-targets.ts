import {
  acceptRelease,
  decodeUtf8,
  encodeUtf8,
  equalBytes,
  kdsRoutes,
  parseJson,
  parseTinfoilDocument,
  releasePolicy,
  tinfoilMeasurements,
  type Bytes,
} from '@vouchgate/attestation'
import { tinfoilHardware } from '../attestation/providers/tinfoil-release.ts'
import { sigstoreTrust } from '../client/sigstore-trust.ts'
import { verifyBundle } from '../client/sigstore.ts'
import { TEST_TIME } from '../test/support/clock.ts'
import { newTlsIdentity } from '../test/support/pki.ts'
import { createSigstore } from '../test/support/sigstore.ts'
import { createSnpVendor } from '../test/support/snp-vendor.ts'
import { documentText } from '../test/support/tinfoil-document.ts'
import { Disagreement, json, type Target } from './fuzz-target.ts'

const REGISTER = 'ab'.repeat(48)
const MEASUREMENTS = {
  snp_measurement: REGISTER,
  tdx_measurement: { rtmr1: REGISTER, rtmr2: REGISTER },
}
const HARDWARE = { small: { mrtd: REGISTER, rtmr0: REGISTER } }

/** Documents of enclaves, and what is published of the releases that they run. */
export function releaseTargets(): Target[] {
  return [
    { name: 'parseTinfoilDocument', seeds: enclaveDocuments(), run: readDocument },
    { name: 'tinfoilMeasurements', seeds: [json(MEASUREMENTS)], run: of(tinfoilMeasurements) },
    { name: 'tinfoilHardware', seeds: [json(HARDWARE)], run: of(tinfoilHardware) },
    {
      name: 'kdsRoutes',
      seeds: [createSnpVendor('Milan').report(), createSnpVendor('Turin').report()],
      run: readRoutes,
    },
    ...sigstoreTargets(),
  ]
}

const of =
  (read: (value: ReturnType<typeof parseJson>) => unknown) =>
  (input: Uint8Array): unknown =>
    read(parseJson(decodeUtf8(input)))

function enclaveDocuments(): Bytes[] {
  const key = 'cd'.repeat(32)
  const fields = { tlsKey: key, hpkeKey: key, nonce: key, gpu: '{"evidences": []}' }
  const report = new Uint8Array(16)
  const tls = newTlsIdentity()
  return [null, '{"evidences":[ ]}'].map((nvswitch) =>
    encodeUtf8(documentText({ ...fields, nvswitch }, { platform: 'tdx', report }, tls)),
  )
}

/** Evidence of devices is hashed as it was received, and not as anybody would write it again. */
function readDocument(input: Uint8Array): void {
  const { devices } = parseTinfoilDocument(Uint8Array.from(input))
  if (devices.some((bytes) => !Buffer.from(input).includes(bytes))) throw new Disagreement()
}

/** No report leads elsewhere than to AMD's routes. */
function readRoutes(input: Uint8Array): void {
  const { leaf, chain, crl } = kdsRoutes(Uint8Array.from(input))
  const root = /^\/vcek\/v1\/(?:Milan|Genoa|Turin)\//
  if (![leaf, chain, crl].every((path) => root.test(path))) throw new Disagreement()
  if (!/\/[0-9a-f]+\?[a-zA-Z0-9=&]+$/.test(leaf)) throw new Disagreement()
}

function sigstoreTargets(): Target[] {
  const sigstore = createSigstore()
  const trust = sigstoreTrust(sigstore.trustedRoot)
  const digest = 'd1'.repeat(32)
  const bundle = sigstore.bundle({
    repository: 'acme/enclave',
    artifactSha256: digest,
    predicateType: 'https://acme.example/v1',
    predicate: MEASUREMENTS,
  })
  const signed = verifyBundle(trust, bundle, TEST_TIME)
  return [
    {
      name: 'verifyBundle',
      seeds: [bundle],
      // Whatever else of a bundle may differ: a payload that is accepted is the one that was signed.
      run: (input) => {
        const found = verifyBundle(trust, Uint8Array.from(input), TEST_TIME)
        if (!equalBytes(found.payload, signed.payload)) throw new Disagreement()
        if (found.loggedAt !== signed.loggedAt) throw new Disagreement()
      },
    },
    {
      name: 'acceptRelease',
      seeds: [signed.payload],
      run: (input) => {
        const payload = Uint8Array.from(input)
        acceptRelease({ ...signed, payload }, releasePolicy('acme/enclave'), digest)
      },
    },
    { name: 'sigstoreTrust', seeds: [json(sigstore.trustedRoot)], run: of(sigstoreTrust) },
  ]
}
