import { encodeUtf8, toBase64, type Bytes, type UnixSeconds } from '@vouchgate/attestation'
import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto'
import type { GenuineGpuDevice } from '../../attestation/nvidia/verdict.ts'
import { bitString, explicit, integer, oid, sequence, time } from './der.ts'
import {
  caExtensions,
  encodeExtension,
  LONG,
  newP384Key,
  nextSerial,
  nvidiaName,
  signRaw384,
  SIGNING_EXTENSIONS,
  type Extension384,
  type P384Key,
} from './nvidia-pki.ts'

/**
 * NVIDIA's Remote Attestation Service made of software: detached EATs with claims 2.0 and 3.0, and keys that are
 * certified for two days by an RSA authority of its own.
 *
 * SIMULATED. Policies that pin NVIDIA's authority accept no key that is made here.
 */
export interface NrasSigningKey {
  readonly kid: string
  readonly key: P384Key
  /** As it is published. */
  readonly jwk: NrasPublicKey
}

interface NrasPublicKey {
  readonly kty: 'EC'
  readonly crv: 'P-384'
  readonly kid: string
  readonly x5c: readonly string[]
  readonly x: string
  readonly y: string
}

export interface NrasAuthority {
  /** SHA-256 of its SubjectPublicKeyInfo, hex. */
  readonly spkiSha256: string
  /** Certifies a fresh key for 48 hours and 30 seconds. */
  readonly newKey: (at: UnixSeconds, changes?: NrasKeyChanges) => NrasSigningKey
}

interface NrasKeyChanges {
  readonly environment?: 'prod' | 'stg'
  readonly notBefore?: UnixSeconds
  readonly notAfter?: UnixSeconds
  readonly algorithm?: Uint8Array
  /** The key that is certified, where it is not the one that is published. */
  readonly certified?: P384Key
}

const NULL = Uint8Array.of(5, 0)
const SHA256_WITH_RSA: Bytes = sequence(oid('1.2.840.113549.1.1.11'), NULL)
export const SHA384_WITH_RSA: Bytes = sequence(oid('1.2.840.113549.1.1.12'), NULL)
const AUTHORITY = 'NVIDIA Attestation Service GPU Intermediate 004'
const KEY_NAME = 'NVIDIA Attestation Service GPU GH100'
const KEY_LIFETIME_SECONDS = 48 * 3600
const TOKEN_LIFETIME_SECONDS = 3600

interface RsaFields {
  readonly subject: string
  readonly spki: Uint8Array
  readonly signer: KeyObject
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  readonly algorithm?: Uint8Array
  readonly extensions: readonly Extension384[]
}

function issueByRsa(fields: RsaFields): Bytes {
  const algorithm = fields.algorithm ?? SHA256_WITH_RSA
  const tbs = sequence(
    explicit(0, integer(2)),
    integer(nextSerial()),
    algorithm,
    nvidiaName(AUTHORITY),
    sequence(time(fields.notBefore), time(fields.notAfter)),
    nvidiaName(fields.subject),
    fields.spki,
    explicit(3, sequence(...fields.extensions.map(encodeExtension))),
  )
  return sequence(tbs, algorithm, bitString(sign('sha256', tbs, fields.signer)))
}

export function newNrasAuthority(): NrasAuthority {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const spki = Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' }))
  const own = issueByRsa({
    ...LONG,
    subject: AUTHORITY,
    spki,
    signer: privateKey,
    extensions: caExtensions(),
  })
  return {
    spkiSha256: createHash('sha256').update(spki).digest('hex'),
    newKey: (at, changes = {}) => {
      const key = newP384Key()
      const leaf = issueByRsa({
        notBefore: at - 30,
        notAfter: at + KEY_LIFETIME_SECONDS,
        subject: KEY_NAME,
        spki: (changes.certified ?? key).spki,
        signer: privateKey,
        extensions: SIGNING_EXTENSIONS,
        ...changes,
      })
      return signingKey(key, at, [leaf, own], changes.environment ?? 'prod')
    },
  }
}

const base64url = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url')

function signingKey(
  key: P384Key,
  at: UnixSeconds,
  chain: readonly Bytes[],
  environment: string,
): NrasSigningKey {
  const stamp = new Date(at * 1000).toISOString().replaceAll(/\D/g, '')
  const kid = `nv-eat-kid-${environment}-${stamp}-${randomUUID()}`
  const [x, y] = [key.point.slice(1, 49), key.point.slice(49)]
  const jwk: NrasPublicKey = {
    kty: 'EC',
    crv: 'P-384',
    kid,
    x5c: chain.map(toBase64),
    x: base64url(x),
    y: base64url(y),
  }
  return { kid, key, jwk }
}

export const nrasJwks = (...keys: readonly object[]): Bytes => encodeUtf8(JSON.stringify({ keys }))

type Signer = Pick<NrasSigningKey, 'kid' | 'key'>

/** A compact JWS; `header` replaces members, and undefined ones are left out. */
export const signNrasToken = (signer: Signer, claims: object, header: object = {}): string =>
  signNrasPayload(signer, JSON.stringify(claims), header)

/** The same over what need not be JSON. */
export function signNrasPayload(
  { kid, key }: Signer,
  payload: Uint8Array | string,
  header: object = {},
): string {
  const input = [JSON.stringify({ kid, alg: 'ES384', ...header }), payload].map(base64url).join('.')
  return `${input}.${base64url(signRaw384(key, Buffer.from(input)))}`
}

export type NrasClaims = '2.0' | '3.0'

/** What NRAS is asked about. */
export interface NrasQuestion {
  readonly key: NrasSigningKey
  readonly at: UnixSeconds
  readonly kind: 'gpu' | 'switch'
  readonly claims: NrasClaims
  /** 64 hex digits. */
  readonly nonce: string
  /** Null for a device whose evidence is refused with {@link NrasChanges.errorCode}. */
  readonly devices: readonly (GenuineGpuDevice | null)[]
}

type Tokens = Record<string, string>

/** What to write differently. An undefined member is left out of the token. */
export interface NrasChanges {
  readonly overall?: object
  readonly device?: (name: string) => object
  readonly header?: object
  readonly deviceKey?: NrasSigningKey
  readonly errorCode?: unknown
  /** Before their digests are taken. */
  readonly tokens?: (tokens: Tokens) => Tokens
  readonly submods?: (submods: Record<string, unknown>) => Record<string, unknown>
  /** After their digests are taken. */
  readonly beside?: (tokens: Tokens) => Tokens
}

const ISSUERS = {
  prod: 'https://nras.attestation.nvidia.com',
  stg: 'https://nras.attestation-stg.nvidia.com',
} as const

const registered = ({ at, key }: NrasQuestion): object => ({
  iss: key.kid.startsWith('nv-eat-kid-stg') ? ISSUERS.stg : ISSUERS.prod,
  iat: at,
  nbf: at,
  exp: at + TOKEN_LIFETIME_SECONDS,
  jti: randomUUID(),
})

const GOOD_CHAIN = {
  'x-nvidia-cert-status': 'valid',
  'x-nvidia-cert-ocsp-status': 'good',
  'x-nvidia-cert-expiration-date': '9999-12-31T23:59:59Z',
  'x-nvidia-cert-revocation-reason': null,
}

const flags = (...names: readonly string[]): object =>
  Object.fromEntries(names.map((name) => [`x-nvidia-${name}`, true]))
const chains = (...names: readonly string[]): object =>
  Object.fromEntries(names.map((name) => [`x-nvidia-${name}-cert-chain`, GOOD_CHAIN]))

const rimFlags = (rim: string, claims: NrasClaims): string[] =>
  [
    'fetched',
    'schema-validated',
    'signature-verified',
    'measurements-available',
    claims === '2.0' ? 'cert-validated' : 'version-match',
  ].map((name) => `${rim}-${name}`)

const reportFlags = (device: string, claims: NrasClaims): string[] => [
  `${device}-arch-check`,
  `${device}-attestation-report-parsed`,
  `${device}-attestation-report-nonce-match`,
  `${device}-attestation-report-signature-verified`,
  `${device}-attestation-report-cert-chain-${claims === '2.0' ? 'validated' : 'fwid-match'}`,
]

function gpuClaims({ driver, vbios }: GenuineGpuDevice, claims: NrasClaims): object {
  const rims = ['gpu-driver-rim', 'gpu-vbios-rim']
  return {
    'x-nvidia-gpu-driver-version': driver,
    'x-nvidia-gpu-vbios-version': vbios,
    oemid: '5703',
    ...flags(
      ...reportFlags('gpu', claims),
      ...rims.flatMap((rim) => rimFlags(rim, claims)),
      'gpu-vbios-index-no-conflict',
    ),
    ...(claims === '3.0' ? chains('gpu-attestation-report', ...rims) : {}),
  }
}

const switchClaims = ({ vbios }: GenuineGpuDevice, claims: NrasClaims): object => ({
  'x-nvidia-switch-bios-version': vbios,
  oemid: null,
  ...flags(...reportFlags('switch', claims), ...rimFlags('switch-bios-rim', claims)),
  ...(claims === '3.0' ? chains('switch-attestation-report', 'switch-bios-rim') : {}),
})

function deviceClaims(device: GenuineGpuDevice, { claims, nonce }: NrasQuestion): object {
  const bootRom = device.chain.certificates[1]?.commonName
  return {
    eat_nonce: nonce,
    ueid: device.ueid,
    hwmodel: claims === '2.0' ? device.chip : bootRom,
    measres: 'success',
    secboot: true,
    dbgstat: 'disabled',
    'x-nvidia-attestation-warning': null,
    ...(device.kind === 'gpu' ? gpuClaims(device, claims) : switchClaims(device, claims)),
  }
}

const errorDetails = (code: unknown): object => ({
  'x-nvidia-error-details': {
    code,
    fieldName: 'nonce',
    httpStatus: 400,
    description: 'NONCE_NOT_MATCHING',
    message: 'the nonce in the evidence does not match',
  },
})

/** The body that NRAS answers with; status 200 also where it says that the attestation failed. */
export function nrasResponse(question: NrasQuestion, changes: NrasChanges = {}): Bytes {
  const { key, kind, devices } = question
  const { header, tokens: change = unchanged } = changes
  const tokens = change(
    Object.fromEntries(
      devices.map((device, index) => {
        const name = `${kind === 'gpu' ? 'GPU' : 'SWITCH'}-${index}`
        const said =
          device === null ? errorDetails(changes.errorCode ?? 4010) : deviceClaims(device, question)
        const claims = { ...registered(question), ...said, ...changes.device?.(name) }
        return [name, signNrasToken(changes.deviceKey ?? key, claims, header)]
      }),
    ),
  )
  const submods = Object.fromEntries(
    Object.entries(tokens).map(([name, token]) => {
      const digest = createHash('sha256').update(token).digest('hex')
      return [name, ['DIGEST', ['SHA-256', digest]]]
    }),
  )
  const overall = signNrasToken(
    key,
    {
      sub: 'NVIDIA-PLATFORM-ATTESTATION',
      'x-nvidia-ver': question.claims,
      'x-nvidia-overall-att-result': devices.every((device) => device !== null),
      eat_nonce: question.nonce,
      submods: (changes.submods ?? unchanged)(submods),
      ...registered(question),
      ...changes.overall,
    },
    header,
  )
  return encodeUtf8(JSON.stringify([['JWT', overall], (changes.beside ?? unchanged)(tokens)]))
}

const unchanged = <T>(value: T): T => value
