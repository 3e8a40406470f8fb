import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  decapsulate,
  encapsulate,
  generateKeyPairSync,
  hkdfSync,
  randomBytes,
  randomUUID,
  type KeyObject,
} from 'node:crypto'
import { gunzipSync, gzipSync } from 'node:zlib'
import { sha256, type Bytes } from '@vouchgate/attestation'
import { concat } from './der.ts'
import { evidenceItem, newGpu, type NvidiaVendor, type SimulatedDevice } from './nvidia-gpu.ts'
import { intelName, newSigningKey, selfSigned, type SigningKey } from './pki.ts'
import type { QuoteFields, TeeVendor } from './tee-vendor.ts'

type Label = 'e2e-req-v1' | 'e2e-resp-v1' | 'e2e-stream-v1'

const KEM_BYTES = 1088

/** Nobody's secret: written out a second time, so that a mistake in the product's cipher shows. */
const derive = (secret: Buffer, ciphertext: Buffer, label: Label): Buffer =>
  Buffer.from(hkdfSync('sha256', secret, ciphertext.subarray(0, 16), label, 32))

function seal(key: Buffer, plaintext: Uint8Array): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function open(key: Buffer, box: Buffer): Buffer {
  const cipher = createDecipheriv('chacha20-poly1305', key, box.subarray(0, 12), {
    authTagLength: 16,
  })
  cipher.setAuthTag(box.subarray(-16))
  return Buffer.concat([cipher.update(box.subarray(12, -16)), cipher.final()])
}

/** A request as an instance reads it. */
export interface OpenedRequest {
  readonly body: Readonly<Record<string, unknown>>
  /** Seals to the key that came with the request. */
  readonly reply: ReplySealer
}

/** The two forms of a reply. */
export class ReplySealer {
  readonly #publicKey: KeyObject

  constructor(publicKey: Uint8Array) {
    const key = Buffer.from(publicKey)
    this.#publicKey = createPublicKey({
      key,
      format: 'raw-public',
      asymmetricKeyType: 'ml-kem-768',
    })
  }

  whole(answer: Uint8Array, pack: (bytes: Uint8Array) => Uint8Array = gzipSync): Buffer {
    const { ciphertext, sharedKey } = encapsulate(this.#publicKey)
    return Buffer.concat([
      ciphertext,
      seal(derive(sharedKey, ciphertext, 'e2e-resp-v1'), pack(answer)),
    ])
  }

  /** The `e2e_init` of a stream, and what seals its events. */
  stream(): { readonly init: string; readonly box: (event: string) => string } {
    const { ciphertext, sharedKey } = encapsulate(this.#publicKey)
    const key = derive(sharedKey, ciphertext, 'e2e-stream-v1')
    return {
      init: ciphertext.toString('base64'),
      box: (event) => seal(key, Buffer.from(event)).toString('base64'),
    }
  }
}

/** What one instance shows of itself; a test breaks one thing. */
export interface InstanceBehaviour {
  quote: Omit<QuoteFields, 'reportData'>
  /** Edits the 64 bytes of report data. */
  reportData: (reportData: Bytes) => Uint8Array
  /** The nonce that the quote answers, given the one that was asked for. */
  nonce: (asked: string) => string
  /** The nonce that the GPUs answer, given the derived one. */
  gpuNonce: (derived: Bytes) => Uint8Array
  /** The key that the instance list shows; null for none. */
  servedKey: (own: string) => string | null
  /** Edits the entry of the evidence route; null leaves it out. */
  entry: (entry: EvidenceEntry) => unknown
}

interface EvidenceEntry {
  readonly quote: string
  readonly gpu_evidence: readonly object[]
  readonly instance_id: string
  readonly certificate: string
}

/** One instance of a chute in a TD of its own, with GPUs. */
export class ChutesInstance {
  readonly id = randomUUID()
  readonly behaviour: InstanceBehaviour
  readonly gpus: readonly SimulatedDevice[]
  /** Requests that it could open, in order. */
  readonly opened: string[] = []
  #privateKey: KeyObject
  #publicKey: Buffer
  readonly #vendor: TeeVendor
  readonly #certificate: { readonly der: Bytes; readonly key: SigningKey }

  constructor(vendor: TeeVendor, nvidia: NvidiaVendor, quote: InstanceBehaviour['quote']) {
    this.#vendor = vendor
    this.gpus = [newGpu(nvidia), newGpu(nvidia)]
    this.#certificate = serviceCertificate()
    ;[this.#privateKey, this.#publicKey] = newKey()
    this.behaviour = {
      quote,
      reportData: (reportData) => reportData,
      nonce: (asked) => asked,
      gpuNonce: (derived) => derived,
      servedKey: (own) => own,
      entry: (entry) => entry,
    }
  }

  get publicKey(): Bytes {
    return Uint8Array.from(this.#publicKey)
  }

  get publicKeyText(): string {
    return this.#publicKey.toString('base64')
  }

  /** As after a restart. */
  rotate(): void {
    ;[this.#privateKey, this.#publicKey] = newKey()
  }

  async evidence(asked: string): Promise<unknown> {
    const { behaviour } = this
    const bound = Buffer.from(behaviour.nonce(asked) + this.publicKeyText)
    const derived = await sha256(Uint8Array.from(bound))
    const spki = await sha256(this.#certificate.key.spki)
    const reportData = behaviour.reportData(concat(derived, spki))
    const quote = await this.#vendor.quote({ ...behaviour.quote, reportData })
    const nonce = behaviour.gpuNonce(derived)
    return behaviour.entry({
      quote: Buffer.from(quote).toString('base64'),
      gpu_evidence: this.gpus.map(({ arch, pem, answer }) =>
        evidenceItem(answer(nonce), pem, arch),
      ),
      instance_id: this.id,
      certificate: Buffer.from(this.#certificate.der).toString('base64'),
    })
  }

  /** Null where it was encrypted to another key. */
  open(blob: Buffer): OpenedRequest | null {
    try {
      const ciphertext = blob.subarray(0, KEM_BYTES)
      const key = derive(decapsulate(this.#privateKey, ciphertext), ciphertext, 'e2e-req-v1')
      const text = gunzipSync(open(key, blob.subarray(KEM_BYTES))).toString()
      const { e2e_response_pk: publicKey, ...body } = JSON.parse(text)
      this.opened.push(text)
      return { body, reply: new ReplySealer(Buffer.from(publicKey, 'base64')) }
    } catch {
      return null
    }
  }
}

function newKey(): [KeyObject, Buffer] {
  const { privateKey, publicKey } = generateKeyPairSync('ml-kem-768')
  return [privateKey, publicKey.export({ format: 'raw-public' })]
}

/** The self-signed certificate that the second half of the report data names. */
function serviceCertificate() {
  const key = newSigningKey()
  const name = intelName('attestation-service')
  return selfSigned(key, { subject: name })
}

/** Registers of a guest that measures its runtime; a policy row names them. */
export const MEASURED = {
  mrtd: '11'.repeat(48),
  rtmr0: '22'.repeat(48),
  rtmr1: '33'.repeat(48),
  rtmr2: '44'.repeat(48),
  rtmr3: '55'.repeat(48),
} as const
