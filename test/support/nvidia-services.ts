import { equalBytes, sha256, toBase64, toHex, type Bytes, type Clock } from '@vouchgate/attestation'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { derElements, type DerElement } from '../../attestation/der.ts'
import { generalizedTime } from './der.ts'
import {
  CERTIFICATE_HOLD,
  certIdOf,
  issueResponder,
  OCSP_STATUS,
  ocspFailure,
  ocspResponse,
  type OcspFields,
  type Pair384,
} from './nvidia-ocsp.ts'
import type { Certificate384, Extension384 } from './nvidia-pki.ts'
import { listen, portOf, stop } from './ports.ts'

/** What can be wrong with any of the services, whatever it would say. */
export type ServiceFault = 'oversized' | 'slow' | 'redirect' | 'html' | 'error' | 'limited'

export interface FakeService {
  readonly url: string
  close(): Promise<void>
}

const MEGABYTE = 1 << 20

/** Gives whether it has answered. */
export function answerFault(fault: ServiceFault | null, response: ServerResponse): boolean {
  switch (fault) {
    case null:
      return false
    case 'oversized':
      response.end(Buffer.alloc(4 * MEGABYTE))
      return true
    case 'slow':
      response.writeHead(200).write('{')
      return true
    case 'redirect':
      response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end()
      return true
    case 'html':
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><html></html>')
      return true
    case 'error':
      response.writeHead(500).end('{"message":"INTERNAL"}')
      return true
    case 'limited':
      response.writeHead(429, { 'retry-after': '30' }).end()
      return true
  }
}

export async function startService(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<unknown>,
): Promise<FakeService & { readonly server: Server }> {
  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await listen(server)
  return {
    server,
    url: `http://127.0.0.1:${portOf(server)}`,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

interface RimControl {
  fault: ServiceFault | null
  /** Members of the answer in place of the right ones. */
  changes: Record<string, unknown>
}

export interface FakeRimService extends FakeService {
  readonly documents: Map<string, Uint8Array>
  /** Method and path of every request, in order. */
  readonly requests: string[]
  readonly control: RimControl
}

/** NVIDIA's RIM service for the given documents. */
export async function startRimService(
  documents: ReadonlyMap<string, Uint8Array>,
): Promise<FakeRimService> {
  const held = new Map(documents)
  const requests: string[] = []
  const control: RimControl = { fault: null, changes: {} }
  const service = await startService(async (request, response) => {
    const { method, url = '' } = request
    requests.push(`${method} ${url}`)
    if (answerFault(control.fault, response)) return
    const id = /^\/v1\/rim\/([^/?]+)$/.exec(url)?.[1] ?? ''
    const document = held.get(id)
    if (document === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end('{"message":"RIM_NOT_FOUND","request_id":"1"}')
      return
    }
    const found = {
      id,
      rim: toBase64(document),
      sha256: toHex(await sha256(document)),
      last_updated: '2026-01-01T00:00:00Z',
      rim_format: 'TCG',
      request_id: '1',
      ...control.changes,
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(found))
  })
  return { ...service, documents: held, requests, control }
}

export type OcspMode =
  | 'good'
  | 'hold'
  | 'revoked'
  | 'unknown'
  | 'unauthorized'
  | 'try-later'
  | 'stale'
  | 'wrong-nonce'
  | 'no-nonce'
  | 'wrong-certificate'

interface OcspControl {
  fault: ServiceFault | null
  mode: OcspMode
  /** Until when an answer holds, from the time of the clock on. */
  lifetimeSeconds: number
}

export interface FakeOcspResponder extends FakeService {
  /** Bodies of the requests, in order. */
  readonly requests: Bytes[]
  readonly control: OcspControl
}

/** NVIDIA's OCSP service for these certificates; each issuer has delegated to a responder of its own. */
export async function startOcspResponder(
  pairs: readonly Pair384[],
  clock: Clock,
): Promise<FakeOcspResponder> {
  const responders = new Map<Certificate384, Certificate384>()
  for (const { issuer } of pairs) {
    if (!responders.has(issuer)) responders.set(issuer, issueResponder(issuer))
  }
  const requests: Bytes[] = []
  const control: OcspControl = { fault: null, mode: 'good', lifetimeSeconds: 86_400 }
  const service = await startService(async (request, response) => {
    const body = Uint8Array.from(await buffer(request))
    requests.push(body)
    if (answerFault(control.fault, response)) return
    const { certId, extensions } = readRequest(body)
    const pair = pairs.find((known) => equalBytes(certIdOf(known), certId))
    const responder = pair === undefined ? undefined : responders.get(pair.issuer)
    const der =
      request.method !== 'POST' || request.headers['content-type'] !== 'application/ocsp-request'
        ? ocspFailure(1)
        : pair === undefined || responder === undefined
          ? ocspFailure(6)
          : answer({ ...pair, responder, at: clock.now() }, extensions, control)
    response.writeHead(200, { 'content-type': 'application/ocsp-response' }).end(der)
  })
  return { ...service, requests, control }
}

function answer(
  question: Pair384 & { readonly responder: Certificate384; readonly at: number },
  asked: readonly Extension384[],
  { mode, lifetimeSeconds }: OcspControl,
): Bytes {
  const { at, issuer } = question
  const nextUpdate = generalizedTime(at + lifetimeSeconds)
  const say = (status: Uint8Array): Bytes =>
    ocspResponse(question, { extensions: asked, answers: [{ status, nextUpdate }] })
  const but = (changes: Partial<OcspFields>): Bytes =>
    ocspResponse(question, { extensions: asked, ...changes })
  switch (mode) {
    case 'good':
      return say(OCSP_STATUS.good)
    case 'hold':
      return say(OCSP_STATUS.revoked(at, CERTIFICATE_HOLD))
    case 'revoked':
      return say(OCSP_STATUS.revoked(at, 1))
    case 'unknown':
      return say(OCSP_STATUS.unknown)
    case 'unauthorized':
      return ocspFailure(6)
    case 'try-later':
      return ocspFailure(3)
    case 'stale':
      return but({ answers: [{ nextUpdate: generalizedTime(at - 1) }] })
    case 'wrong-nonce':
      return but({
        extensions: asked.map(({ id, value }) => ({
          id,
          value: value.map((byte, index) => (index < 2 ? byte : byte ^ 0xff)),
        })),
      })
    case 'no-nonce':
      return but({ extensions: [] })
    case 'wrong-certificate':
      return but({ answers: [{ certId: certIdOf({ subject: issuer, issuer }) }] })
  }
}

/** CertID and extensions of a request for one certificate (RFC 6960 §4.1.1). */
function readRequest(der: Uint8Array): { certId: Uint8Array; extensions: Extension384[] } {
  const inside = (element: DerElement | undefined): DerElement[] =>
    derElements(element?.content ?? new Uint8Array(0), 'ocsp_malformed')
  const [tbs] = inside(derElements(der, 'ocsp_malformed')[0])
  const [list, tagged] = inside(tbs)
  const [certId] = inside(inside(list)[0])
  const extensions = inside(inside(tagged)[0]).map((extension) => {
    const [, value] = inside(extension)
    return { id: '1.3.6.1.5.5.7.48.1.2', value: value?.content ?? new Uint8Array(0) }
  })
  return { certId: certId?.bytes ?? new Uint8Array(0), extensions }
}
