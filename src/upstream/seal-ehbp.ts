import type { E2eeBinding } from '@vouchgate/attestation'
import { AEAD_AES_256_GCM, CipherSuite, KDF_HKDF_SHA256, KEM_DHKEM_X25519_HKDF_SHA256 } from 'hpke'
import type { SenderContext } from 'hpke'
import type { IncomingHttpHeaders } from 'node:http'
import { expose, Sensitive } from '../sensitive.ts'
import { EhbpFrames, type ResponseKeyInput } from './ehbp-frames.ts'
import type { OpeningSink, Seal } from './seal.ts'
import { SendError, type ResponseSink } from './send.ts'

/**
 * The Encrypted HTTP Body Protocol: a request body to an attested X25519 key by HPKE (RFC 9180, base mode), the reply
 * under a key that both sides derive from the request's (SPEC.md of tinfoilsh/encrypted-http-body-protocol).
 *
 * The path, the headers and the end of a body are not authenticated. So the model is named in the body, the caller
 * demands a complete answer (`[DONE]`, whole JSON), and a channel that can also pins the TLS key.
 */
const SUITE = new CipherSuite(KEM_DHKEM_X25519_HKDF_SHA256, KDF_HKDF_SHA256, AEAD_AES_256_GCM)
const INFO = Buffer.from('ehbp request')
const EXPORT_LABEL = Buffer.from('ehbp response')
const SECRET_LENGTH = 32
/** The specification leaves the size to the sender, and limits what a receiver takes to 64 MiB. */
const REQUEST_FRAME = 1 << 20

const NONCE_HEADER = 'ehbp-response-nonce'
const NONCE = /^[0-9a-f]{64}$/i
const PROBLEM = /^application\/problem\+json\s*(?:;|$)/i

export const sealEhbp: Seal = async (outbound, binding) => {
  const { encapsulatedSecret: enc, ctx } = await begin(binding)
  const body = await sealBody(ctx, expose(outbound.message.body))
  const secret = await ctx.Export(EXPORT_LABEL, SECRET_LENGTH)
  return {
    request: {
      path: outbound.path,
      headers: { 'ehbp-encapsulated-key': Buffer.from(enc).toString('hex') },
      body: new Sensitive(body),
    },
    open: (sink) => new EhbpOpening({ secret, enc }, sink),
  }
}

/** A key that is no point of the curve, or of low order, is nothing that can be encrypted to. */
async function begin({ publicKey }: E2eeBinding) {
  try {
    return await SUITE.SetupSender(await SUITE.DeserializePublicKey(publicKey), { info: INFO })
  } catch {
    throw new SendError('unreachable')
  }
}

async function sealBody(context: SenderContext, plaintext: Buffer): Promise<Buffer> {
  const frames: Uint8Array[] = []
  for (let at = 0; at < plaintext.length; at += REQUEST_FRAME) {
    const sealed = await context.Seal(plaintext.subarray(at, at + REQUEST_FRAME))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(sealed.length)
    frames.push(length, sealed)
  }
  return Buffer.concat(frames)
}

class EhbpOpening implements OpeningSink {
  readonly #input: ResponseKeyInput
  readonly #sink: ResponseSink
  /** Null where the reply is a diagnostic in clear. */
  #frames: EhbpFrames | null = null

  constructor(input: ResponseKeyInput, sink: ResponseSink) {
    this.#input = input
    this.#sink = sink
  }

  sent(): void {
    this.#sink.sent()
  }

  head(status: number, headers: IncomingHttpHeaders): void {
    const nonce = headers[NONCE_HEADER]
    if (nonce === undefined) refuseInClear(status, headers['content-type'])
    else this.#frames = new EhbpFrames(this.#input, nonceOf(nonce))
    this.#sink.head(status, headers)
  }

  data(chunk: Buffer, resume: () => void): boolean {
    if (this.#frames === null) return this.#sink.data(chunk, resume)
    const plaintext = this.#frames.push(chunk)
    return plaintext.length === 0 || this.#sink.data(plaintext, resume)
  }

  end(): void {
    this.#frames?.end()
  }
}

/** Somebody on the way can answer in clear, but never with a success, and nobody's refusal is more than a diagnostic. */
function refuseInClear(status: number, type: string | undefined): void {
  if (status >= 200 && status < 300) throw new SendError('not_encrypted')
  // Only EHBP answers so: the enclave has another key now, could not decrypt, and has to be verified again.
  if (status === 422 && PROBLEM.test(type ?? '')) throw new SendError('key_mismatch')
}

function nonceOf(header: string | string[]): Buffer {
  if (typeof header !== 'string' || !NONCE.test(header)) throw new SendError('undecryptable')
  return Buffer.from(header, 'hex')
}
