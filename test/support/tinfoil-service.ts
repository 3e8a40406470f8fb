import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Bytes, Clock } from '@vouchgate/attestation'
import { newEhbpKey, type EhbpKey } from './ehbp-server.ts'
import type { SimulatedDevice } from './nvidia-gpu.ts'
import {
  openAiService,
  sendError,
  sendJson,
  type ChatBehaviour,
  type RecordedRequest,
} from './openai-service.ts'
import { newTlsIdentity, type TlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'
import type { SnpVendor } from './snp-vendor.ts'
import { documentText, gpuEvidence, reportDataOf, type DocumentFields } from './tinfoil-document.ts'

/** How the enclave behaves; a test changes it while it runs. */
interface EnclaveBehaviour {
  /** The document's fields before the hardware signs their hash. */
  bind: (fields: DocumentFields) => DocumentFields
  /** The document's text after that. */
  edit: (document: string) => string
  /** Another answer to the attestation route. */
  status: number
  hang: boolean
  delayMs: number
  /** Of an encrypted exchange. */
  reply: 'encrypted' | 'in-clear' | 'garbled' | 'cut' | 'mute-key'
}

export interface TinfoilEnclave {
  readonly origin: string
  readonly chat: ChatBehaviour
  /** What the model saw, decrypted. */
  readonly requests: readonly RecordedRequest[]
  readonly behaviour: EnclaveBehaviour
  /** Attestation documents that were asked for. */
  attestations(): number
  /** Bytes of request bodies on any route, encrypted or not. */
  promptBytes(): number
  /** Those bodies as they came over the wire. */
  readonly wire: readonly Buffer[]
  /** How many of those requests were encrypted. */
  encrypted(): number
  document(nonce: string): Promise<string>
  keys(): Pick<DocumentFields, 'tlsKey' | 'hpkeKey'>
  /** New keys, as after a restart: open connections are dropped. */
  rotate(): Promise<void>
  /** A new key to encrypt to under the same TLS key. */
  rotateHpke(): Promise<void>
  close(): Promise<void>
}

export interface TinfoilEnclaveOptions {
  readonly clock: Clock
  readonly platform: 'tdx' | 'sev-snp'
  /** A TDX quote or an SNP report over these 64 bytes of hex. */
  readonly attest: (reportData: string) => Promise<Bytes>
  /** Default none, as for a router. */
  readonly gpus?: readonly SimulatedDevice[]
  readonly models?: readonly string[]
}

const ATTESTATION = '/.well-known/tinfoil-attestation'

/** A Tinfoil enclave: TLS and EHBP end in it, and its hardware's report binds both keys and the GPUs' evidence. */
export async function startTinfoilEnclave(options: TinfoilEnclaveOptions): Promise<TinfoilEnclave> {
  const { clock, platform, gpus = [], models = ['test-model'] } = options
  let identity: TlsIdentity = newTlsIdentity()
  let ehbp: EhbpKey = await newEhbpKey()
  const behaviour: EnclaveBehaviour = {
    bind: (fields) => fields,
    edit: (document) => document,
    status: 200,
    hang: false,
    delayMs: 0,
    reply: 'encrypted',
  }
  const wire: Buffer[] = []
  const counts = { attestations: 0, promptBytes: 0, encrypted: 0 }
  const service = openAiService({ clock, models })
  const inner = createHttpServer((request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  await listen(inner)

  const document = async (nonce: string): Promise<string> => {
    const fields = behaviour.bind({
      tlsKey: identity.spkiSha256,
      hpkeKey: Buffer.from(ehbp.publicKey).toString('hex'),
      nonce,
      gpu: gpuEvidence(gpus, nonce),
      nvswitch: null,
    })
    const report = await options.attest(reportDataOf(fields))
    return behaviour.edit(documentText(fields, { platform, report }, identity))
  }

  const answerAttestation = async (url: URL, response: ServerResponse): Promise<void> => {
    counts.attestations += 1
    if (behaviour.hang) return
    if (behaviour.delayMs > 0) await delay(behaviour.delayMs)
    if (behaviour.status !== 200) return sendError(response, behaviour.status, 'error', 'not now')
    const text = await document(url.searchParams.get('nonce') ?? '')
    response.writeHead(200, { 'content-type': 'application/json' }).end(text)
  }

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'https://enclave.test')
    if (url.pathname === ATTESTATION) return answerAttestation(url, response)
    const body = await readCounted(request, (bytes) => (counts.promptBytes += bytes))
    wire.push(body)
    const enc = request.headers['ehbp-encapsulated-key']
    if (typeof enc !== 'string') return forward({ inner, request, body }, response, null)
    counts.encrypted += 1
    const opened = await ehbp.open(enc, body).catch(() => null)
    if (opened === null || behaviour.reply === 'mute-key') {
      response.writeHead(422, { 'content-type': 'application/problem+json' })
      response.end('{"type":"urn:ietf:params:ehbp:error:key-config"}')
      return
    }
    const sealing = behaviour.reply === 'in-clear' ? null : opened.reply()
    await forward({ inner, request, body: opened.body }, response, sealing, behaviour.reply)
  }

  const server = createHttpsServer(
    { key: identity.key, cert: identity.cert, minVersion: 'TLSv1.3' },
    (request, response) => {
      handle(request, response).catch(() => response.destroy())
    },
  )
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await listen(server)
  const rotateHpke = async (): Promise<void> => {
    ehbp = await newEhbpKey()
  }
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    chat: service.chat,
    requests: service.requests,
    wire,
    behaviour,
    attestations: () => counts.attestations,
    promptBytes: () => counts.promptBytes,
    encrypted: () => counts.encrypted,
    document,
    keys: () => ({
      tlsKey: identity.spkiSha256,
      hpkeKey: Buffer.from(ehbp.publicKey).toString('hex'),
    }),
    rotate: async () => {
      identity = newTlsIdentity()
      server.setSecureContext({ key: identity.key, cert: identity.cert, minVersion: 'TLSv1.3' })
      await rotateHpke()
      for (const socket of sockets) socket.destroy()
    },
    rotateHpke,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      inner.closeAllConnections()
      await Promise.all([stop(server), stop(inner)])
    },
  }
}

function readCounted(request: IncomingMessage, count: (bytes: number) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => {
      count(part.length)
      parts.push(part)
    })
    request.on('end', () => resolve(Buffer.concat(parts)))
    request.on('error', reject)
  })
}

interface Forwarded {
  readonly inner: ReturnType<typeof createHttpServer>
  readonly request: IncomingMessage
  readonly body: Buffer
}

interface Sealing {
  readonly nonce: string
  frame(piece: Uint8Array): Buffer
}

/** To the model and back; each piece of the answer becomes a frame where it is encrypted. */
function forward(
  { inner, request, body }: Forwarded,
  response: ServerResponse,
  sealing: Sealing | null,
  fault: EnclaveBehaviour['reply'] = 'encrypted',
): Promise<void> {
  const { method = 'GET', url = '/', headers } = request
  const { authorization = '', 'content-type': type = 'application/json' } = headers
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      port: portOf(inner),
      method,
      path: url,
      headers: { authorization, 'content-type': type, 'content-length': body.length },
    })
    response.once('close', () => outgoing.destroy())
    outgoing.on('error', reject)
    outgoing.on('response', (answer) => {
      const { 'content-type': answerType = '', 'retry-after': retryAfter } = answer.headers
      response.writeHead(answer.statusCode ?? 500, {
        'content-type': answerType,
        ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
        ...(sealing === null ? {} : { 'ehbp-response-nonce': sealing.nonce }),
      })
      answer.on('data', (piece: Buffer) => {
        const bytes = sealing === null ? piece : broken(sealing.frame(piece), fault)
        response.write(bytes)
      })
      answer.on('end', () => resolve(void response.end()))
      answer.on('error', () => resolve(void response.destroy()))
    })
    outgoing.end(body)
  })
}

function broken(frame: Buffer, fault: EnclaveBehaviour['reply']): Buffer {
  if (fault === 'cut') return frame.subarray(0, -1)
  if (fault === 'garbled') frame[frame.length - 1] = (frame.at(-1) ?? 0) ^ 1
  return frame
}

/** AMD's key distribution service for the processor of a simulated vendor. */
export async function startKdsService(vendor: SnpVendor): Promise<{
  readonly url: string
  readonly requests: string[]
  control: { status: number }
  close(): Promise<void>
}> {
  const requests: string[] = []
  const control = { status: 200 }
  const server = createHttpServer(({ url = '' }, response) => {
    requests.push(url)
    const body = url.endsWith('/cert_chain')
      ? Buffer.from(vendor.chain('vcek'))
      : Buffer.from(url.endsWith('/crl') ? vendor.crl() : vendor.leaf('vcek'))
    response.writeHead(control.status).end(body)
  })
  await listen(server)
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    requests,
    control,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

/** The repository of a release, as its proxies serve it. */
export interface PublishedRelease {
  readonly tag: string
  readonly digest: string
  readonly bundle: Bytes
}

export interface ReleaseService {
  readonly url: string
  /** By `owner/name`. */
  readonly releases: Map<string, PublishedRelease>
  readonly requests: string[]
  /** Paths that match are answered so, in place of what they would be. */
  fault: { readonly path: RegExp; readonly status: number; readonly body: string } | null
  close(): Promise<void>
}

/** GitHub's routes for releases and attestations, as far as a verifier needs them. */
export async function startReleaseService(): Promise<ReleaseService> {
  const releases = new Map<string, PublishedRelease>()
  const requests: string[] = []
  const server = createHttpServer((request, response) => {
    const { url = '' } = request
    requests.push(url)
    const { fault } = service
    if (fault?.path.test(url) === true) response.writeHead(fault.status).end(fault.body)
    else answerRelease(releases, url, response)
  })
  await listen(server)
  const service: ReleaseService = {
    url: `http://127.0.0.1:${portOf(server)}`,
    releases,
    requests,
    fault: null,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
  return service
}

function answerRelease(
  releases: ReadonlyMap<string, PublishedRelease>,
  url: string,
  response: ServerResponse,
): void {
  for (const [repository, { tag, digest, bundle }] of releases) {
    if (url === `/repos/${repository}/releases/latest`) {
      return sendJson(response, 200, { id: 1, tag_name: tag, draft: false })
    }
    if (url === `/${repository}/releases/download/${tag}/tinfoil.hash`) {
      response.writeHead(200, { 'content-type': 'text/plain' }).end(`${digest}\n`)
      return
    }
    if (url === `/repos/${repository}/attestations/sha256:${digest}`) {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(`{"attestations":[{"bundle":${Buffer.from(bundle).toString()}}]}`)
      return
    }
  }
  sendError(response, 404, 'not_found', 'no such release')
}
