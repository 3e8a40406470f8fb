import {
  isVerificationError,
  parseGpuEvidence,
  parseGpuNonce,
  verifyGpuDevice,
  type Clock,
  type GenuineGpuDevice,
  type NvidiaRoots,
} from '@vouchgate/attestation'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { z } from 'zod'
import {
  newNrasAuthority,
  nrasJwks,
  nrasResponse,
  type NrasAuthority,
  type NrasChanges,
  type NrasClaims,
  type NrasSigningKey,
} from './nvidia-nras.ts'
import {
  answerFault,
  startService,
  type FakeService,
  type ServiceFault,
} from './nvidia-services.ts'

interface NrasRequest {
  /** Method and path. */
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

interface NrasControl {
  fault: ServiceFault | null
  jwksFault: ServiceFault | null
  changes: NrasChanges
  /** Signs, and is not published yet. */
  hidden: NrasSigningKey | null
}

export interface FakeNras extends FakeService {
  readonly authority: NrasAuthority
  readonly requests: NrasRequest[]
  readonly control: NrasControl
  /** A fresh key signs from now on; the earlier ones stay published. Returns it. */
  rotate(): NrasSigningKey
  /** Takes every key but the one that signs out of the set. */
  withdraw(): void
}

const requestSchema = z.object({
  nonce: z.string(),
  arch: z.enum(['HOPPER', 'BLACKWELL', 'LS10']),
  evidence_list: z.array(z.unknown()).min(1),
  claims_version: z.enum(['2.0', '3.0']).optional(),
})
const ROUTE = /^POST \/(v3|v4)\/attest\/(gpu|switch)$/
const JWKS = 'GET /.well-known/jwks.json'

/** NVIDIA's service for devices under these roots: it judges the evidence, and answers 200 whatever it finds. */
export async function startNras(clock: Clock, roots: NvidiaRoots): Promise<FakeNras> {
  const authority = newNrasAuthority()
  const requests: NrasRequest[] = []
  const control: NrasControl = { fault: null, jwksFault: null, changes: {}, hidden: null }
  let keys = [authority.newKey(clock.now())]
  const signer = (): NrasSigningKey => {
    const key = control.hidden ?? keys[0]
    if (key === undefined) throw new TypeError('one key is always there')
    return key
  }
  const service = await startService(async (request, response) => {
    const received = await receive(request)
    requests.push(received)
    response.setHeader('set-cookie', 'JSESSIONID=0123456789ABCDEF; Path=/; HttpOnly')
    if (received.line === JWKS) {
      if (answerFault(control.jwksFault, response)) return
      respond(response, nrasJwks(...keys.map(({ jwk }) => jwk)))
      return
    }
    if (answerFault(control.fault, response)) return
    const [, api, kind] = ROUTE.exec(received.line) ?? []
    const asked = requestSchema.safeParse(JSON.parse(received.body))
    const isJson = received.headers['content-type'] === 'application/json'
    if (api === undefined || !asked.success || !isJson) {
      response.writeHead(api === undefined ? 403 : 400).end('{"message":"BAD_REQUEST"}')
      return
    }
    const { nonce, claims_version: version = '2.0' } = asked.data
    const claims: NrasClaims = api === 'v3' ? '2.0' : version
    const [devices, errorCode] = await judge(asked.data, clock, roots)
    const question = { key: signer(), at: clock.now(), kind: named(kind), claims, nonce, devices }
    respond(response, nrasResponse(question, { errorCode, ...control.changes }))
  })
  return {
    ...service,
    authority,
    requests,
    control,
    rotate: () => {
      keys = [authority.newKey(clock.now()), ...keys]
      return signer()
    },
    withdraw: () => {
      keys = keys.slice(0, 1)
    },
  }
}

const named = (kind: string | undefined): 'gpu' | 'switch' => (kind === 'switch' ? 'switch' : 'gpu')

const respond = (response: ServerResponse, body: Uint8Array): unknown =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(body)

async function receive(request: IncomingMessage): Promise<NrasRequest> {
  const { method, url = '', headers } = request
  return { line: `${method} ${url}`, headers, body: (await buffer(request)).toString() }
}

/** Null in place of devices whose evidence does not hold, and what NRAS calls that. */
async function judge(
  asked: z.output<typeof requestSchema>,
  clock: Clock,
  roots: NvidiaRoots,
): Promise<readonly [(GenuineGpuDevice | null)[], number]> {
  const { items } = parseGpuEvidence(JSON.stringify(asked))
  const nonce = parseGpuNonce(asked.nonce)
  let errorCode = 4013
  const devices = await Promise.all(
    items.map((item) =>
      verifyGpuDevice(item, nonce, clock.now(), roots).catch((error: unknown) => {
        if (!isVerificationError(error)) throw error
        if (error.code === 'nonce_mismatch') errorCode = 4010
        if (error.code.startsWith('certificate_')) errorCode = 4014
        return null
      }),
    ),
  )
  return [devices, errorCode]
}
