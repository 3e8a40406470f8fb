import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Bytes, Clock } from '@vouchgate/attestation'
import { concat, hex } from './der.ts'
import { newDstackTd, type DstackTd, type DstackTdOptions } from './dstack-td.ts'
import { countTraffic } from './model-server.ts'
import { newGpu, evidenceItem, type NvidiaVendor, type SimulatedDevice } from './nvidia-gpu.ts'
import { sendError, sendJson } from './openai-service.ts'
import { newTlsIdentity, type TlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'

/** How the attestation route behaves, and what can be wrong with what it says; a test changes it at run time. */
export interface ReportBehaviour {
  /** The challenge that the CPU quote answers, given the one that was asked. */
  nonce: (asked: string) => string
  /** The challenge that the GPUs answer. */
  gpuNonce: (asked: string) => string
  /** The challenge that the report states. */
  statedNonce: (asked: string) => string
  /** The TLS key that the report names and the quote binds, given the real one: SHA-256 of its SPKI, hex. */
  tlsFingerprint: (real: string) => string
  /** Edits the 64 bytes before they are quoted. */
  reportData: (reportData: Bytes) => Uint8Array
  /** Edits the report after everything was bound. */
  report: (report: Record<string, unknown>) => unknown
  /** Answers with this status instead. */
  status: number | null
  headers: Record<string, string>
  hang: boolean
  delayMs: number
}

export interface ServedRequest {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: Bytes
}

/** Anything with a TDX guest and a TLS key of its own. */
export interface AttestedHost {
  /** `https://127.0.0.1:port` */
  readonly origin: string
  readonly td: DstackTd
  readonly behaviour: ReportBehaviour
  spkiSha256(): string
  /** PEM of the self-signed certificate. */
  certificatePem(): string
  /** Of every request that is no attestation request, in order. */
  readonly bodies: Bytes[]
  /** `Authorization` of every request, in order; null where there was none. */
  readonly credentials: (string | null)[]
  /** Bytes of request bodies ever received, attestation requests aside. */
  promptBytes(): number
  /** Requests for the report. */
  reports(): number
  connections(): number
  /** Another TLS key; open connections are dropped. */
  rotateTls(): void
  dropConnections(): void
  close(): Promise<void>
}

export interface AttestedHostOptions extends DstackTdOptions {
  /** Answers the attestation route, once `behaviour` has nothing against it. */
  readonly report: (query: URLSearchParams) => Promise<unknown>
  readonly serve: (served: ServedRequest) => Promise<void>
  /** The attestation route wants a key. */
  readonly authorised?: boolean
}

const REPORT_PATH = '/v1/attestation/report'

export const newBehaviour = (): ReportBehaviour => ({
  nonce: (asked) => asked,
  gpuNonce: (asked) => asked,
  statedNonce: (asked) => asked,
  tlsFingerprint: (real) => real,
  reportData: (reportData) => reportData,
  report: (report) => report,
  status: null,
  headers: {},
  hang: false,
  delayMs: 0,
})

/** Report data as inference proxies make it: of both keys where a TLS key is named, else of the signing key alone. */
export function reportDataOf(address: Uint8Array, tls: string | null, nonce: string): Bytes {
  const first =
    tls === null
      ? concat(address, new Uint8Array(32 - address.length))
      : createHash('sha256')
          .update(concat(address, hex(tls)))
          .digest()
  return concat(first, hex(nonce))
}

async function readAll(request: IncomingMessage, seen: (bytes: number) => void): Promise<Bytes> {
  const parts: Buffer[] = []
  for await (const part of request) {
    const chunk = Buffer.from(part)
    seen(chunk.length)
    parts.push(chunk)
  }
  return concat(...parts)
}

export async function startAttestedHost(options: AttestedHostOptions): Promise<AttestedHost> {
  const td = newDstackTd(options)
  const behaviour = newBehaviour()
  const bodies: Bytes[] = []
  const credentials: (string | null)[] = []
  let identity: TlsIdentity = newTlsIdentity()
  let promptBytes = 0
  let reports = 0
  const attest = async (
    query: URLSearchParams,
    { response, request }: Omit<ServedRequest, 'body'>,
  ) => {
    reports += 1
    if (behaviour.hang) return
    if (behaviour.delayMs > 0) {
      await new Promise((resolve) => {
        setTimeout(resolve, behaviour.delayMs)
      })
    }
    for (const [name, value] of Object.entries(behaviour.headers)) response.setHeader(name, value)
    if (behaviour.status !== null) {
      sendError(response, behaviour.status, 'server_error', 'attestation is unavailable')
    } else if (options.authorised === true && request.headers.authorization === undefined) {
      sendError(response, 401, 'unauthorized', 'a key is needed')
    } else {
      sendJson(response, 200, await options.report(query))
    }
  }
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [path, query = ''] = (request.url ?? '').split('?')
    credentials.push(request.headers.authorization ?? null)
    if (path === REPORT_PATH) {
      await attest(new URLSearchParams(query), { request, response })
      return
    }
    const body = await readAll(request, (bytes) => {
      promptBytes += bytes
    })
    bodies.push(body)
    await options.serve({ request, response, body })
  }
  const { key, cert } = identity
  const server = createHttpsServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  const traffic = countTraffic(server, 'secureConnection')
  await listen(server)
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    td,
    behaviour,
    bodies,
    credentials,
    spkiSha256: () => identity.spkiSha256,
    certificatePem: () => identity.cert,
    promptBytes: () => promptBytes,
    reports: () => reports,
    connections: traffic.connections,
    dropConnections: traffic.dropAll,
    rotateTls: () => {
      identity = newTlsIdentity()
      server.setSecureContext({ key: identity.key, cert: identity.cert, minVersion: 'TLSv1.3' })
      traffic.dropAll()
    },
    close: () => {
      traffic.dropAll()
      return stop(server)
    },
  }
}

export interface NodeOptions {
  readonly vendor: DstackTdOptions['vendor']
  readonly nvidia: NvidiaVendor
  readonly clock: Clock
  readonly model?: string
  readonly image?: string
  readonly gpus?: number
}

export const newGpus = (nvidia: NvidiaVendor, count: number): SimulatedDevice[] =>
  Array.from({ length: count }, () => newGpu(nvidia))

/** `nvidia_payload`: a JSON text. */
export const gpuPayload = (gpus: readonly SimulatedDevice[], nonce: string): string =>
  JSON.stringify({
    arch: 'HOPPER',
    evidence_list: gpus.map(({ answer, pem, arch }) => evidenceItem(answer(hex(nonce)), pem, arch)),
    nonce,
  })
