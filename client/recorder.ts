import {
  collateralKey,
  encodeUtf8,
  formatTime,
  fromHex,
  ISSUER_CHAIN_HEADERS,
  NVIDIA_DOCUMENTS,
  pcsRoutes,
  toBase64,
  type Bytes,
  type Collateral,
  type UnixSeconds,
} from '@vouchgate/attestation'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { INTEL_PCS_URL, INTEL_ROOT_CRL_URL, type CollateralSource } from './collateral.ts'
import { ClientError } from './errors.ts'
import type { CertificateFetch, EvidenceFetch, EvidenceRequest } from './evidence-fetch.ts'

interface Recorded {
  /** `TLS`: a handshake over which nothing was asked. */
  readonly method: 'GET' | 'POST' | 'TLS'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly spkiSha256: Bytes | null
  readonly body: Uint8Array
}

export interface Subject {
  readonly provider: string
  readonly model: string | null
  /** 64 lower-case hex digits; null where none was sent. */
  readonly nonce: string | null
  readonly at: UnixSeconds
}

/** Nothing of a request but its URL is kept, and of an answer only these: the others can name a client or a cookie. */
const KEPT_HEADERS: ReadonlySet<string> = new Set([
  'content-type',
  'date',
  ...Object.values(ISSUER_CHAIN_HEADERS),
])

/**
 * Notes what one verification collects, as a capture that `readCapture` reads: evidence to attach to a ticket, or to
 * judge again. There are no credentials in it, and no prompts: none has been sent yet.
 */
export class Recorder {
  readonly #recorded: Recorded[] = []

  fetch(inner: EvidenceFetch): EvidenceFetch {
    return async (asked) => {
      const answer = await inner(asked)
      this.#note(methodOf(asked), asked.origin + asked.path, {
        headers: Object.fromEntries(
          Object.entries(answer.headers).flatMap(([name, value]) =>
            KEPT_HEADERS.has(name) ? [[name, String(value)]] : [],
          ),
        ),
        spkiSha256: answer.spkiSha256,
        body: answer.body,
      })
      return answer
    }
  }

  /** The certificate of a handshake, as the body of what it answered. */
  certificate(inner: CertificateFetch): CertificateFetch {
    return async (origin) => {
      const shown = await inner(origin)
      const { certificate: body, spkiSha256 } = shown
      this.#note('TLS', `${origin}/`, { headers: {}, spkiSha256, body })
      return shown
    }
  }

  /** Collateral, at the addresses where Intel serves it. */
  collateral(inner: CollateralSource): CollateralSource {
    return async (quote) => {
      const collateral = await inner(quote)
      const routes = pcsRoutes(await collateralKey(quote))
      for (const [path, header, text] of pcsAnswers(routes, collateral)) {
        const headers = header === null ? {} : { [header[0]]: encodeURIComponent(header[1]) }
        this.#note('GET', INTEL_PCS_URL + path, { headers, spkiSha256: null, body: text })
      }
      const crl = fromHex(collateral.root_ca_crl)
      this.#note('GET', INTEL_ROOT_CRL_URL, { headers: {}, spkiSha256: null, body: crl })
      return collateral
    }
  }

  /** Documents of NVIDIA's services, by the names of `NVIDIA_DOCUMENTS`. */
  nvidia(documents: readonly (readonly [name: string, document: Bytes])[]): void {
    for (const [name, body] of documents) {
      const route = NVIDIA_ROUTES.find(([prefix]) => name.startsWith(prefix))
      if (route === undefined) continue
      const [, method, url, headers] = route
      const numbered = url.endsWith('/') ? url + String(this.#recorded.length) : url
      this.#note(method, numbered, { headers, spkiSha256: null, body })
    }
  }

  /** Documents of a service that vouches for them by signatures, by their paths. */
  service(origin: string, answers: readonly (readonly [path: string, body: Bytes])[]): void {
    for (const [path, body] of answers) {
      this.#note('GET', origin + path, { headers: {}, spkiSha256: null, body })
    }
  }

  /** The challenge that was sent; null where nothing that was asked for carried one. */
  get nonce(): string | null {
    const nonces = this.#recorded.map(({ url }) => new URL(url).searchParams.get('nonce'))
    return nonces.find((nonce) => nonce !== null) ?? null
  }

  /** Writes the capture into a new folder. Throws `capture_not_written`. */
  async write(dir: string, { provider, model, nonce, at }: Subject): Promise<void> {
    const manifest = { provider, model, nonce_hex: nonce, captured_at: formatTime(at) }
    try {
      const responses = join(dir, 'responses')
      await mkdir(responses, { recursive: true, mode: 0o700 })
      for (const [index, one] of this.#recorded.entries()) {
        const base = join(responses, fileName(index, one.url))
        await writeFile(`${base}.body`, one.body)
        await writeFile(`${base}.json`, `${JSON.stringify(meta(one), null, 1)}\n`)
      }
      // Last, so that a capture with a manifest is whole.
      await writeFile(join(dir, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`)
    } catch {
      throw new ClientError('capture_not_written')
    }
  }

  #note(
    method: Recorded['method'],
    url: string,
    answer: Pick<Recorded, 'headers' | 'spkiSha256' | 'body'>,
  ): void {
    this.#recorded.push({ method, url, ...answer })
  }
}

const methodOf = ({ body }: EvidenceRequest): 'GET' | 'POST' =>
  body === undefined ? 'GET' : 'POST'

type Route = readonly [
  prefix: string,
  method: 'GET' | 'POST',
  url: string,
  headers: Readonly<Record<string, string>>,
]
const JSON_TYPE = { 'content-type': 'application/json' }
const NRAS = 'https://nras.attestation.nvidia.com'

const NVIDIA_ROUTES: readonly Route[] = [
  [NVIDIA_DOCUMENTS.rim, 'GET', 'https://rim.attestation.nvidia.com/v1/rim/', {}],
  [
    NVIDIA_DOCUMENTS.ocsp,
    'POST',
    'https://ocsp.ndis.nvidia.com/',
    { 'content-type': 'application/ocsp-response' },
  ],
  [NVIDIA_DOCUMENTS.nrasKeys.gpu, 'GET', `${NRAS}/.well-known/jwks.json`, JSON_TYPE],
  [NVIDIA_DOCUMENTS.nrasKeys.switch, 'GET', `${NRAS}/.well-known/jwks.json`, JSON_TYPE],
  [NVIDIA_DOCUMENTS.nras.gpu, 'POST', `${NRAS}/v4/attest/gpu`, JSON_TYPE],
  [NVIDIA_DOCUMENTS.nras.switch, 'POST', `${NRAS}/v4/attest/switch`, JSON_TYPE],
]

type PcsRoutes = ReturnType<typeof pcsRoutes>
type PcsNote = readonly [path: string, chain: readonly [string, string] | null, body: Uint8Array]

/** Texts as they were signed, in the envelopes that Intel puts around them. */
const pcsAnswers = (routes: PcsRoutes, collateral: Collateral): PcsNote[] => [
  [
    routes.tcb,
    [ISSUER_CHAIN_HEADERS.tcb, collateral.tcb_info_issuer_chain],
    signed('tcbInfo', collateral.tcb_info, collateral.tcb_info_signature),
  ],
  [
    routes.qeIdentity,
    [ISSUER_CHAIN_HEADERS.qeIdentity, collateral.qe_identity_issuer_chain],
    signed('enclaveIdentity', collateral.qe_identity, collateral.qe_identity_signature),
  ],
  [
    routes.pckCrl,
    [ISSUER_CHAIN_HEADERS.pckCrl, collateral.pck_crl_issuer_chain],
    fromHex(collateral.pck_crl),
  ],
]

const signed = (member: string, text: string, signature: string): Bytes =>
  encodeUtf8(`{"${member}":${text},"signature":"${signature}"}`)

/** Host and path, as far as they make a file name. */
function fileName(index: number, address: string): string {
  const { host, pathname } = new URL(address)
  const words = `${host}${pathname}`.replaceAll(/[^A-Za-z0-9.-]+/g, '_').slice(0, 80)
  return `${String(index + 1).padStart(4, '0')}_${words.replace(/_+$/, '')}`
}

const meta = ({ method, url, headers, spkiSha256 }: Recorded) => ({
  method,
  url,
  status: 200,
  headers,
  peer_spki_sha256_base64: spkiSha256 === null ? null : toBase64(spkiSha256),
})
