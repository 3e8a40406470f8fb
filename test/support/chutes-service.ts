import { randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '@vouchgate/attestation'
import {
  ChutesInstance,
  MEASURED,
  type InstanceBehaviour,
  type OpenedRequest,
} from './chutes-instance.ts'
import type { NvidiaVendor } from './nvidia-gpu.ts'
import { sendJson } from './openai-service.ts'
import { newTlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'
import type { TeeVendor } from './tee-vendor.ts'

/** How a route fails: a status in place of the answer, with an optional Retry-After; or silence. */
type RouteFault =
  | { readonly status: number; readonly retryAfter?: number; readonly body?: string }
  | 'hang'

interface ChutesBehaviour {
  readonly faults: Partial<Record<'chutes' | 'instances' | 'evidence' | 'invoke', RouteFault>>
  /** Before an answer of the evidence route, which is slow in life. */
  evidenceDelayMs: number
  /** Seconds that a token lives. */
  tokenSeconds: number
  tokensPerInstance: number
  /** Which instances one answer shows, of those there are. */
  sample: (instances: readonly ChutesInstance[]) => readonly ChutesInstance[]
  /** The whole body of a reply in place of the sealed one, with its content type. */
  whole: (opened: OpenedRequest, answer: Buffer) => { type: string; body: Buffer }
  /** The lines of a stream, given the events of the answer. */
  lines: (opened: OpenedRequest, events: readonly string[]) => string[]
  /** Break the connection after so many lines. */
  cutAfterLines: number | null
  chunkDelayMs: number
}

export interface ChutesService {
  readonly origin: string
  /** To be trusted as a root by whoever talks to it: it is the edge, not the TEE. */
  readonly certificatePem: string
  readonly chuteId: string
  readonly model: string
  readonly instances: ChutesInstance[]
  readonly behaviour: ChutesBehaviour
  /** `GET /path`, in order, without queries. */
  readonly asked: string[]
  /** Bytes of every body that reached the invoke route: what could be a prompt. */
  promptBytes(): number
  /** Headers of each invocation. */
  readonly invocations: IncomingMessage['headers'][]
  add(quote?: InstanceBehaviour['quote']): ChutesInstance
  /** Tokens that were given out are not taken any more: so many of the oldest, or all. */
  forgetTokens(count?: number): void
  close(): Promise<void>
}

export interface ChutesServiceOptions {
  readonly vendor: TeeVendor
  readonly nvidia: NvidiaVendor
  readonly clock: Clock
  readonly instances?: number
  readonly model?: string
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null

/** A completion that repeats the last message, whole and as the events of a stream. */
function answerTo(body: Readonly<Record<string, unknown>>, instance: string, served: number) {
  const messages: unknown = body['messages']
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : null
  const text = isRecord(last) ? String(last['content']) : ''
  const head = {
    id: `chatcmpl-${served}`,
    created: 0,
    model: body['model'],
    system_fingerprint: instance,
  }
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 }
  const choice = { index: 0, message: { role: 'assistant', content: `You said: ${text}` } }
  const whole = {
    ...head,
    object: 'chat.completion',
    choices: [{ ...choice, finish_reason: 'stop' }],
    usage,
  }
  const chunk = (delta: object, finish_reason: string | null) =>
    `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] })}\n\n`
  const words = `You said: ${text}`.match(/\S+\s*/g) ?? []
  const events = [
    chunk({ role: 'assistant', content: '' }, null),
    ...words.map((content) => chunk({ content }, null)),
    chunk({}, 'stop'),
  ]
  return { whole: Buffer.from(JSON.stringify(whole)), events }
}

/** What the relay writes around the events of an honest stream. */
export function sealedLines({ reply }: OpenedRequest, events: readonly string[]): string[] {
  const { init, box } = reply.stream()
  return [
    frame({ e2e_init: init }),
    ...events.map((event) => frame({ e2e: box(event) })),
    frame({ usage: { prompt_tokens: 3, completion_tokens: 4 } }),
    'data: [DONE]\n\n',
  ]
}

export const frame = (value: object): string => `data: ${JSON.stringify(value)}\n\n`

export async function startChutesService(options: ChutesServiceOptions): Promise<ChutesService> {
  const { vendor, nvidia, clock, model = 'org/model-TEE' } = options
  const chuteId = randomUUID()
  const instances: ChutesInstance[] = []
  const tokens = new Map<string, { readonly instance: string; readonly until: number }>()
  const asked: string[] = []
  const invocations: IncomingMessage['headers'][] = []
  let promptBytes = 0
  let served = 0
  const behaviour: ChutesBehaviour = {
    faults: {},
    evidenceDelayMs: 0,
    tokenSeconds: 60,
    tokensPerInstance: 10,
    sample: (all) => all,
    whole: ({ reply }, answer) => ({ type: 'application/octet-stream', body: reply.whole(answer) }),
    lines: sealedLines,
    cutAfterLines: null,
    chunkDelayMs: 0,
  }
  const add: ChutesService['add'] = (quote = MEASURED) => {
    const instance = new ChutesInstance(vendor, nvidia, quote)
    instances.push(instance)
    return instance
  }
  for (let count = options.instances ?? 2; count > 0; count--) add()

  const list = () => ({
    instances: behaviour.sample(instances).map((instance) => {
      const nonces = Array.from({ length: behaviour.tokensPerInstance }, () =>
        randomBytes(24).toString('base64url'),
      )
      const until = clock.now() + behaviour.tokenSeconds
      for (const nonce of nonces) tokens.set(nonce, { instance: instance.id, until })
      const e2e_pubkey = instance.behaviour.servedKey(instance.publicKeyText)
      return { instance_id: instance.id, ...(e2e_pubkey === null ? {} : { e2e_pubkey }), nonces }
    }),
    nonce_expires_in: 60,
    nonce_expires_at: clock.now() + 60,
  })

  async function evidence(nonce: string) {
    if (behaviour.evidenceDelayMs > 0) await delay(behaviour.evidenceDelayMs)
    const all = await Promise.all(instances.map((instance) => instance.evidence(nonce)))
    return { evidence: all.filter((entry) => entry !== null), failed_instance_ids: [] }
  }

  async function invoke(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { headers } = request
    const blob = await buffer(request)
    promptBytes += blob.length
    invocations.push(headers)
    const token = String(headers['x-e2e-nonce'])
    const known = tokens.get(token)
    const usable =
      known !== undefined &&
      known.instance === headers['x-instance-id'] &&
      known.until > clock.now()
    if (!usable) {
      return sendJson(response, 403, { detail: 'Invalid, expired, or already-used nonce' })
    }
    tokens.delete(token)
    const instance = instances.find(({ id }) => id === known.instance)
    if (instance === undefined) return sendJson(response, 404, { detail: 'Instance not found' })
    const opened = instance.open(blob)
    if (opened === null) return sendJson(response, 400, { detail: 'cannot be decrypted' })
    served += 1
    const { whole, events } = answerTo(opened.body, instance.id, served)
    if (headers['x-e2e-stream'] === 'true') return stream(response, behaviour.lines(opened, events))
    const { type, body } = behaviour.whole(opened, whole)
    response.writeHead(200, { 'content-type': type }).end(body)
  }

  async function stream(response: ServerResponse, lines: readonly string[]): Promise<void> {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    for (const [index, line] of lines.entries()) {
      if (index === behaviour.cutAfterLines) {
        await delay(10)
        response.destroy()
        return
      }
      if (behaviour.chunkDelayMs > 0) await delay(behaviour.chunkDelayMs)
      response.write(line)
    }
    response.end()
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', 'https://api')
    asked.push(`${request.method} ${pathname}`)
    const route = routeOf(pathname, chuteId)
    if (route === null) return sendJson(response, 404, { detail: 'Not Found' })
    const fault = behaviour.faults[route]
    if (fault !== undefined) {
      if (route === 'invoke') promptBytes += (await buffer(request)).length
      answerFault(fault, response)
      return
    }
    switch (route) {
      case 'chutes': {
        // The real route finds parts of names too.
        const items = [
          { name: `${model}-long`, chute_id: randomUUID() },
          { name: model, chute_id: chuteId },
        ]
        const wanted = searchParams.get('name') ?? ''
        return sendJson(response, 200, {
          items: items.filter(({ name }) => name.includes(wanted)),
        })
      }
      case 'instances':
        return sendJson(response, 200, list())
      case 'evidence':
        return sendJson(response, 200, await evidence(searchParams.get('nonce') ?? ''))
      case 'invoke':
        return invoke(request, response)
    }
  }

  const identity = newTlsIdentity()
  const { key, cert } = identity
  const server = createServer({ key, cert }, (request, response) => {
    handle(request, response).catch(() => response.destroy())
  })
  await listen(server)
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    certificatePem: cert,
    chuteId,
    model,
    instances,
    behaviour,
    asked,
    promptBytes: () => promptBytes,
    invocations,
    add,
    forgetTokens: (count = tokens.size) => {
      for (const token of [...tokens.keys()].slice(0, count)) tokens.delete(token)
    },
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

function answerFault(fault: RouteFault, response: ServerResponse): void {
  if (fault === 'hang') return
  const { status, retryAfter, body = '{"detail":"no"}' } = fault
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
  })
  response.end(body)
}

function routeOf(path: string, chuteId: string): keyof ChutesBehaviour['faults'] | null {
  if (path === '/chutes/') return 'chutes'
  if (path === `/e2e/instances/${chuteId}`) return 'instances'
  if (path === `/chutes/${chuteId}/evidence`) return 'evidence'
  return path === '/e2e/invoke' ? 'invoke' : null
}
