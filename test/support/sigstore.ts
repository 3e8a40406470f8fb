import type { Bytes, JsonValue, UnixSeconds } from '@vouchgate/attestation'
import { createHash, sign } from 'node:crypto'
import { TEST_TIME } from './clock.ts'
import { concat, implicit, octetString, oid, sequence, set, utf8String } from './der.ts'
import {
  ECDSA_WITH_SHA256,
  issueCertificate,
  KEY_USAGE,
  newSigningKey,
  type IssuedCertificate,
  type SigningKey,
} from './pki.ts'

/**
 * A Sigstore of a test's own: a certificate authority, a certificate log and a transparency log that write the real
 * formats under keys that no verifier trusts but one that is told this instance's trust root.
 */
export interface Sigstore {
  /** `trusted_root.json` */
  readonly trustedRoot: JsonValue
  bundle(release: ReleaseFields): Bytes
}

export interface ReleaseFields {
  readonly repository: string
  readonly artifactSha256: string
  readonly predicateType: string
  readonly predicate: JsonValue
  /** Default a tag `v1.0.0`. */
  readonly ref?: string
  /** Default `build.yml` of the repository at `ref`. */
  readonly san?: string
  readonly issuer?: string
  /** Appended to, or instead of, what a statement has. */
  readonly statement?: Readonly<Record<string, JsonValue>>
  readonly payloadType?: string
  readonly loggedAt?: UnixSeconds
  readonly notBefore?: UnixSeconds
  readonly notAfter?: UnixSeconds
  /** Null leaves the extension out. */
  readonly repositoryExtension?: string | null
  readonly refExtension?: string | null
  readonly scts?: 'none' | 'twice' | 'broken'
  /** An authority that the trust root does not know. */
  readonly foreignAuthority?: boolean
  readonly edit?: (bundle: BundleJson) => unknown
}

const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const signature = (key: SigningKey, bytes: Uint8Array): Buffer =>
  sign('sha256', bytes, key.privateKey)

const FULCIO = '1.3.6.1.4.1.57264.1'
const SCT_LIST = '1.3.6.1.4.1.11129.2.4.2'
const LOG = 'rekor.sigstore.test'
export const GITHUB_ISSUER = 'https://token.actions.githubusercontent.com'

export function createSigstore(now = TEST_TIME): Sigstore {
  const [caKey, ctKey, logKey] = [newSigningKey(), newSigningKey(), newSigningKey()]
  const ca = authority(caKey, now)
  const foreign = authority(newSigningKey(), now)
  const logOf = (key: SigningKey, baseUrl: string) => ({
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: base64(key.spki),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: { start: '2020-01-01T00:00:00Z' },
    },
    logId: { keyId: base64(sha256(key.spki)) },
  })
  return {
    trustedRoot: {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [logOf(logKey, `https://${LOG}`)],
      ctlogs: [logOf(ctKey, 'https://ct.sigstore.test')],
      certificateAuthorities: [
        {
          uri: 'https://fulcio.sigstore.test',
          certChain: { certificates: [{ rawBytes: base64(ca.der) }] },
          validFor: { start: '2020-01-01T00:00:00Z' },
        },
      ],
      timestampAuthorities: [],
    },
    bundle: (release) => {
      const issuer = release.foreignAuthority === true ? foreign : ca
      const json = bundleJson({ issuer, ctKey, logKey }, release, now)
      return Uint8Array.from(Buffer.from(JSON.stringify(release.edit?.(json) ?? json)))
    },
  }
}

const commonName = (text: string): Bytes =>
  sequence(set(sequence(oid('2.5.4.3'), utf8String(text))))

const COMMON = {
  innerAlgorithm: ECDSA_WITH_SHA256,
  outerAlgorithm: ECDSA_WITH_SHA256,
  crlUrl: null,
  sgxExtension: null,
} as const

const authority = (key: SigningKey, now: UnixSeconds): IssuedCertificate =>
  issueCertificate({
    ...COMMON,
    subject: commonName('sigstore of a test'),
    issuer: commonName('sigstore of a test'),
    serial: key.keyId,
    notBefore: now - 365 * 86_400,
    notAfter: now + 365 * 86_400,
    key,
    signer: key,
    authorityKeyId: null,
    subjectKeyId: key.keyId,
    keyUsage: KEY_USAGE.certifying,
    constraints: { ca: true, pathLength: 0 },
    extensions: [],
  })

interface Keys {
  readonly issuer: IssuedCertificate
  readonly ctKey: SigningKey
  readonly logKey: SigningKey
}

function bundleJson({ issuer, ctKey, logKey }: Keys, release: ReleaseFields, now: UnixSeconds) {
  const key = newSigningKey()
  const loggedAt = release.loggedAt ?? now - 3600
  const leaf = issueLeaf({ key, issuer, ctKey, loggedAt }, release)
  const payloadType = release.payloadType ?? 'application/vnd.in-toto+json'
  const payload = Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'deployment.json', digest: { sha256: release.artifactSha256 } }],
      predicateType: release.predicateType,
      predicate: release.predicate,
      ...release.statement,
    }),
  )
  const pae = `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `
  const sig = base64(signature(key, concat(Buffer.from(pae), payload)))
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: {
      certificate: { rawBytes: base64(leaf) },
      tlogEntries: [logEntry(logKey, { payload, sig, leaf, loggedAt })],
      timestampVerificationData: {},
    },
    dsseEnvelope: { payload: base64(payload), payloadType, signatures: [{ sig }] },
  }
}

export type BundleJson = ReturnType<typeof bundleJson>

interface Leaf {
  readonly key: SigningKey
  readonly issuer: IssuedCertificate
  readonly ctKey: SigningKey
  readonly loggedAt: UnixSeconds
}

const extension = (id: string, value: Uint8Array) => ({ oid: id, critical: false, value })

/** Who signed, as Fulcio writes it (fulcio docs/oid-info.md). */
function identityExtensions(release: ReleaseFields) {
  const { repository, ref = 'refs/tags/v1.0.0', issuer = GITHUB_ISSUER } = release
  const { san = `https://github.com/${repository}/.github/workflows/build.yml@${ref}` } = release
  const { repositoryExtension = repository, refExtension = ref } = release
  const named = (id: string, value: string | null) =>
    value === null ? [] : [extension(`${FULCIO}.${id}`, Buffer.from(value))]
  return [
    { oid: '2.5.29.17', critical: true, value: sequence(implicit(6, Buffer.from(san))) },
    ...named('5', repositoryExtension),
    ...named('6', refExtension),
    extension(`${FULCIO}.8`, utf8String(issuer)),
  ]
}

function issueLeaf({ key, issuer, ctKey, loggedAt }: Leaf, release: ReleaseFields): Bytes {
  const extensions = identityExtensions(release)
  const fields = {
    ...COMMON,
    subject: sequence(),
    issuer: issuer.subject,
    serial: key.keyId,
    notBefore: release.notBefore ?? loggedAt - 60,
    notAfter: release.notAfter ?? loggedAt + 540,
    key,
    signer: issuer.key,
    authorityKeyId: issuer.key.keyId,
    subjectKeyId: key.keyId,
    keyUsage: 0x80,
    constraints: null,
    extensions,
  }
  if (release.scts === 'none') return issueCertificate(fields).der
  const tbs = tbsOf(issueCertificate(fields).der)
  const sct = certificateTimestamp(ctKey, { tbs, issuer, loggedAt })
  if (release.scts === 'broken') sct[sct.length - 1] = (sct.at(-1) ?? 0) ^ 1
  const scts = release.scts === 'twice' ? [sct, sct] : [sct]
  const list = octetString(vector(concat(...scts.map(vector))))
  return issueCertificate({ ...fields, extensions: [...extensions, extension(SCT_LIST, list)] }).der
}

/** `u16 length ‖ bytes` */
const vector = (bytes: Uint8Array): Bytes =>
  concat(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes)

/** The first element of a certificate, whose own length takes two bytes like that of the whole. */
const tbsOf = (der: Bytes): Bytes => der.slice(4, 8 + ((der[6] ?? 0) << 8) + (der[7] ?? 0))

interface Timestamped {
  readonly tbs: Bytes
  readonly issuer: IssuedCertificate
  readonly loggedAt: UnixSeconds
}

/** RFC 6962, section 3.2, for a certificate before the list is put into it. */
function certificateTimestamp(key: SigningKey, { tbs, issuer, loggedAt }: Timestamped): Bytes {
  const time = Buffer.alloc(8)
  time.writeBigUInt64BE(BigInt(loggedAt) * 1000n)
  const length = Uint8Array.of(tbs.length >> 16, (tbs.length >> 8) & 0xff, tbs.length & 0xff)
  const none = Uint8Array.of(0, 0)
  const entry = concat(sha256(issuer.key.spki), length, tbs)
  const signed = concat(Uint8Array.of(0, 0), time, Uint8Array.of(0, 1), entry, none)
  const id = sha256(key.spki)
  const signatureBytes = vector(signature(key, signed))
  return concat(Uint8Array.of(0), id, time, none, Uint8Array.of(4, 3), signatureBytes)
}

interface Logged {
  readonly payload: Uint8Array
  readonly sig: string
  readonly leaf: Bytes
  readonly loggedAt: UnixSeconds
}

/** An entry that is alone in its tree, so that its leaf hash is the root. */
function logEntry(key: SigningKey, { payload, sig, leaf, loggedAt }: Logged) {
  const keyId = sha256(key.spki)
  const body = Buffer.from(
    JSON.stringify({
      apiVersion: '0.0.1',
      kind: 'dsse',
      spec: {
        payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
        signatures: [{ signature: sig, verifier: base64(leaf) }],
      },
    }),
  )
  const root = sha256(concat(Uint8Array.of(0), body))
  const note = `${LOG}\n1\n${base64(root)}\n`
  const noteSignature = concat(keyId.subarray(0, 4), signature(key, Buffer.from(note)))
  const promise = JSON.stringify({
    body: base64(body),
    integratedTime: loggedAt,
    logID: keyId.toString('hex'),
    logIndex: 7,
  })
  return {
    logIndex: '7',
    logId: { keyId: base64(keyId) },
    kindVersion: { kind: 'dsse', version: '0.0.1' },
    integratedTime: String(loggedAt),
    inclusionPromise: { signedEntryTimestamp: base64(signature(key, Buffer.from(promise))) },
    inclusionProof: {
      logIndex: '0',
      rootHash: base64(root),
      treeSize: '1',
      hashes: [],
      checkpoint: { envelope: `${note}\n— ${LOG} ${base64(noteSignature)}\n` },
    },
    canonicalizedBody: base64(body),
  }
}
