import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { keysetDigest, type BootDocument, type Clock, type Keyset } from '@vouchgate/attestation'
import { aciService, type EvidenceBehaviour } from './aci-service.ts'
import { openAiService, type ChatBehaviour, type RecordedRequest } from './openai-service.ts'
import { newTlsIdentity, type TlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'
import type { QuoteFields, TeeVendor } from './tee-vendor.ts'

export { startRelay, type Relay } from './relay.ts'

/** An OpenAI-like model server on 127.0.0.1 that records what reached it. */
export interface PlainModelServer {
  /** `http://127.0.0.1:port` or `https://127.0.0.1:port`; the OpenAI base URL is this plus `/v1`. */
  readonly origin: string
  readonly models: readonly string[]
  readonly chat: ChatBehaviour
  /** Requests that were read to their end, in order. */
  readonly requests: readonly RecordedRequest[]
  /** TCP connections ever accepted. */
  connections(): number
  /** Bytes received above TLS (or TCP, where there is none), on all connections together. */
  applicationBytes(): number
  /** Responses that the peer gave up before their end. */
  aborted(): number
  /** Forgets what was recorded and counted. */
  reset(): void
  close(): Promise<void>
}

/** The same behind TLS 1.3, as an attested ACI/1 service. */
export interface ModelServer extends PlainModelServer {
  readonly evidence: EvidenceBehaviour
  /** Hex of the TLS key that the connections end in. */
  spkiSha256(): string
  /** PEM of the self-signed certificate. */
  certificatePem(): string
  keyset(): Keyset
  keysetDigest(): Promise<string>
  /** What the attestation route would answer. */
  report(nonce: string | null): Promise<unknown>
  /** A new TLS key and keyset, as after a restart: open connections are dropped. */
  rotate(): void
}

export interface PlainModelServerOptions {
  readonly clock: Clock
  /** Default one model, `test-model`. */
  readonly models?: readonly string[]
  /** Default any free port. */
  readonly port?: number
}

export interface ModelServerOptions extends PlainModelServerOptions {
  readonly vendor: TeeVendor
  /** Fields of the TD that the service claims to run in. */
  readonly fields?: Omit<QuoteFields, 'reportData'>
  /** Published and bound through the keyset's subject; default none. */
  readonly boot?: BootDocument
  /** Of the keyset; default one day. */
  readonly lifetimeSeconds?: number
}

const DEFAULT_MODELS = ['test-model']
const DAY = 86_400

export interface Traffic {
  readonly connections: () => number
  readonly bytes: () => number
  readonly reset: () => void
  readonly dropAll: () => void
}

/** Counts on the sockets themselves, so that half a request counts too. */
export function countTraffic(server: Server, event: 'connection' | 'secureConnection'): Traffic {
  const open = new Map<Socket | TLSSocket, number>()
  const raw = new Set<Socket>()
  let connections = 0
  let finished = 0
  server.on('connection', (socket: Socket) => {
    connections += 1
    raw.add(socket)
    socket.once('close', () => raw.delete(socket))
  })
  server.on(event, (socket: Socket | TLSSocket) => {
    open.set(socket, 0)
    socket.once('close', () => {
      finished += socket.bytesRead - (open.get(socket) ?? 0)
      open.delete(socket)
    })
  })
  return {
    connections: () => connections,
    bytes: () => {
      let sum = finished
      for (const [socket, start] of open) sum += socket.bytesRead - start
      return sum
    },
    reset: () => {
      connections = 0
      finished = 0
      for (const socket of open.keys()) open.set(socket, socket.bytesRead)
    },
    dropAll: () => {
      for (const socket of raw) socket.destroy()
    },
  }
}

function controls(server: Server, traffic: Traffic, service: ReturnType<typeof openAiService>) {
  return {
    chat: service.chat,
    requests: service.requests,
    connections: traffic.connections,
    applicationBytes: traffic.bytes,
    aborted: service.aborted,
    reset: () => {
      service.requests.length = 0
      traffic.reset()
    },
    close: () => {
      traffic.dropAll()
      return stop(server)
    },
  }
}

/** Without TLS and without evidence: the upstream of models that are not TEE-marked. */
export async function startPlainModelServer(
  options: PlainModelServerOptions,
): Promise<PlainModelServer> {
  const { clock, models = DEFAULT_MODELS, port } = options
  const service = openAiService({ clock, models })
  const server = createHttpServer((request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  const traffic = countTraffic(server, 'connection')
  await listen(server, port)
  return {
    origin: `http://127.0.0.1:${portOf(server)}`,
    models,
    ...controls(server, traffic, service),
  }
}

/** Quotes come from the simulated vendor; everything else is a real TLS 1.3 server with keys in memory. */
export async function startModelServer(options: ModelServerOptions): Promise<ModelServer> {
  const { vendor, clock, models = DEFAULT_MODELS, port, boot = null, fields = {} } = options
  let identity: TlsIdentity = newTlsIdentity()
  const aci = await aciService({
    vendor,
    clock,
    fields,
    boot,
    lifetimeSeconds: options.lifetimeSeconds ?? DAY,
    spkiSha256: identity.spkiSha256,
  })
  const service = openAiService({ clock, models, intercept: aci.intercept })
  const { key, cert } = identity
  const server = createHttpsServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  const traffic = countTraffic(server, 'secureConnection')
  await listen(server, port)
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    models,
    ...controls(server, traffic, service),
    evidence: aci.evidence,
    spkiSha256: () => identity.spkiSha256,
    certificatePem: () => identity.cert,
    keyset: aci.keyset,
    keysetDigest: () => keysetDigest(aci.keyset()),
    report: aci.report,
    rotate: () => {
      identity = newTlsIdentity()
      server.setSecureContext({ key: identity.key, cert: identity.cert, minVersion: 'TLSv1.3' })
      aci.bind(identity.spkiSha256)
      traffic.dropAll()
    },
  }
}
