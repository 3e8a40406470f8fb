import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { Agent, request as send } from 'undici'
import {
  gpuPayload,
  newGpus,
  reportDataOf,
  startAttestedHost,
  type AttestedHost,
  type NodeOptions,
  type ServedRequest,
} from './attested-node.ts'
import { concat, hex } from './der.ts'
import { startPlainModelServer, type PlainModelServer } from './model-server.ts'
import { newNearKey, openNearRequest, sealNearReply, type NearKey } from './near-e2ee.ts'
import { sendError } from './openai-service.ts'

/*
 * NEAR AI's model nodes and router, as their documentation and captures have them: real TLS 1.3 with keys of their
 * own, quotes and GPU reports under the vendors of the tests. Every piece can be broken while they run.
 */

export const NEAR_MODEL = 'Qwen/Qwen3.5-122B-A10B'

type Json = Record<string, unknown>

interface CryptoBehaviour {
  /** `none`: the node, or somebody in front of it, answers in clear. */
  encrypt: 'all' | 'none'
  /** The reply is encrypted to this key instead of the client's. */
  replyKey: Uint8Array | null
}

export interface NearNode extends AttestedHost {
  readonly model: string
  /** The model behind: what it was asked, in clear, and how it answers. */
  readonly engine: PlainModelServer
  readonly crypto: CryptoBehaviour
  key(): NearKey
  /** Another signing key, as after the key service rotated. */
  rekey(): void
  /** A report as the route would give it. */
  report(nonce: string, algorithm?: string): Promise<Json>
  /** Changes the log of what was started after boot: shown, and the one that is quoted. */
  manager: { actions: Json[]; shown: (attestation: Json) => unknown }
}

export async function startNearNode(options: NodeOptions): Promise<NearNode> {
  const { vendor, nvidia, clock, model = NEAR_MODEL, image = 'dstack-nvidia-0.5.5' } = options
  const engine = await startPlainModelServer({ clock, models: [model] })
  const gpus = newGpus(nvidia, options.gpus ?? 1)
  let key = newNearKey()
  const crypto: CryptoBehaviour = { encrypt: 'all', replyKey: null }
  const manager: NearNode['manager'] = {
    actions: [
      { action: 'compose_up', tag: 'v1', file: 'model.yaml', file_sha256: 'ab'.repeat(32) },
      { action: 'compose_down', tag: 'v1', file: 'ältere.yaml' },
    ],
    shown: (attestation) => attestation,
  }
  const report: NearNode['report'] = (nonce, algorithm = 'ed25519') =>
    nodeReport({ host, key, gpus, model, manager }, nonce, algorithm)
  const host: AttestedHost = await startAttestedHost({
    vendor,
    image,
    gpus: gpus.length,
    report: (query) => report(query.get('nonce') ?? '', query.get('signing_algo') ?? 'ecdsa'),
    serve: (served) => serveEncrypted(served, { engine, crypto, seed: () => key.seed }),
  })
  return {
    ...host,
    model,
    engine,
    crypto,
    manager,
    report,
    key: () => key,
    rekey: () => {
      key = newNearKey()
    },
    close: async () => {
      await Promise.all([host.close(), engine.close()])
    },
  }
}

interface NodeParts {
  readonly host: AttestedHost
  readonly key: NearKey
  readonly gpus: ReturnType<typeof newGpus>
  readonly model: string
  readonly manager: NearNode['manager']
}

async function nodeReport(parts: NodeParts, nonce: string, algorithm: string): Promise<Json> {
  const { host, key, gpus, model, manager } = parts
  const { behaviour, td } = host
  const address = algorithm === 'ed25519' ? key.publicKey : key.publicKey.subarray(0, 20)
  const tls = behaviour.tlsFingerprint(host.spkiSha256())
  const bound = reportDataOf(address, tls, behaviour.nonce(nonce))
  const quote = await td.quote(behaviour.reportData(bound))
  const core = {
    model_name: model,
    signing_address: (algorithm === 'ed25519' ? '' : '0x') + Buffer.from(address).toString('hex'),
    signing_algo: algorithm,
    signing_public_key: key.publicKey.toString('hex'),
    request_nonce: behaviour.statedNonce(nonce),
    intel_quote: Buffer.from(quote).toString('hex'),
    nvidia_payload: gpuPayload(gpus, behaviour.gpuNonce(nonce)),
    event_log: td.entries,
    info: td.info(),
    tls_cert_fingerprint: tls,
  }
  const report = {
    ...core,
    all_attestations: [core],
    compose_manager_attestation: manager.shown(await managerReport(host, manager.actions, nonce)),
  }
  return Object.assign({}, behaviour.report(report))
}

/** Members sorted, no spaces, UTF-8 as it is. */
const sorted = (action: Json): Json =>
  Object.fromEntries(Object.entries(action).toSorted(([a], [b]) => (a < b ? -1 : 1)))

async function managerReport({ td }: AttestedHost, actions: Json[], nonce: string): Promise<Json> {
  const hash = createHash('sha256')
    .update(JSON.stringify(actions.map(sorted)))
    .digest()
  const quote = await td.quote(concat(hash, hex(nonce)))
  return {
    actions,
    actions_hash: hash.toString('hex'),
    nonce,
    nonce_source: 'client',
    quote: Buffer.from(quote).toString('hex'),
    event_log: JSON.stringify(td.entries),
  }
}

interface Serving {
  readonly engine: PlainModelServer
  readonly crypto: CryptoBehaviour
  readonly seed: () => Uint8Array
}

const clientKeyOf = ({ request }: ServedRequest): Uint8Array | null => {
  const { 'x-client-pub-key': client, 'x-signing-algo': algorithm } = request.headers
  return typeof client === 'string' && algorithm === 'ed25519' ? Buffer.from(client, 'hex') : null
}

/** Decrypts, asks the engine, encrypts what comes back event by event. */
async function serveEncrypted(served: ServedRequest, serving: Serving): Promise<void> {
  const { request, response, body } = served
  const client = clientKeyOf(served)
  let asked = Buffer.from(body)
  if (client !== null) {
    try {
      const value: Json = JSON.parse(asked.toString())
      openNearRequest(value, serving.seed())
      asked = Buffer.from(JSON.stringify(value))
    } catch {
      sendError(response, 400, 'invalid_request_error', 'Decryption failed')
      return
    }
  }
  const answer = await send(serving.engine.origin + (request.url ?? ''), {
    method: request.method === 'POST' ? 'POST' : 'GET',
    headers: { 'content-type': 'application/json' },
    body: asked,
  })
  response.writeHead(answer.statusCode, headersOf(answer.headers))
  const { encrypt, replyKey } = serving.crypto
  const encrypts = client !== null && encrypt === 'all' && answer.statusCode === 200
  try {
    await pump(answer.body, response, encrypts ? (replyKey ?? client) : null)
  } catch {
    response.destroy()
  }
}

/** Of an answer that is passed on. */
function headersOf(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  const passed: Record<string, string> = { 'content-type': String(headers['content-type'] ?? '') }
  const retryAfter = headers['retry-after']
  if (retryAfter !== undefined) passed['retry-after'] = String(retryAfter)
  return passed
}

async function pump(
  body: AsyncIterable<Uint8Array>,
  response: ServerResponse,
  client: Uint8Array | null,
): Promise<void> {
  let held = ''
  for await (const chunk of body) {
    if (client === null) response.write(chunk)
    else {
      held += Buffer.from(chunk).toString()
      const events = held.split('\n\n')
      held = events.pop() ?? ''
      for (const event of events) response.write(`${encrypted(event, client)}\n\n`)
    }
  }
  response.end(held === '' || client === null ? held : encrypted(held, client))
}

/** One event, or a whole JSON body. */
function encrypted(text: string, client: Uint8Array): string {
  if (text === 'data: [DONE]') return text
  const prefix = text.startsWith('data: ') ? 'data: ' : ''
  const value: Json = JSON.parse(text.slice(prefix.length))
  sealNearReply(value, client)
  return prefix + JSON.stringify(value)
}

export interface NearRouter extends AttestedHost {
  readonly key: NearKey
  /** The nodes whose evidence it shows, and to which it routes by key. */
  nodes: NearNode[]
  /** Edits everything at once: both attestations. */
  document: (document: Json) => unknown
  /** Answers prompts itself, where a test makes the router an attacker. */
  answer: ((served: ServedRequest) => Promise<void>) | null
}

export interface RouterOptions extends NodeOptions {
  readonly nodes: readonly NearNode[]
  /** The report route wants a key; default true, as NEAR's does. */
  readonly authorised?: boolean
}

export async function startNearRouter(options: RouterOptions): Promise<NearRouter> {
  const key = newNearKey()
  const agent = new Agent({ connect: { rejectUnauthorized: false }, allowH2: false })
  const settings: Pick<NearRouter, 'nodes' | 'document' | 'answer'> = {
    nodes: [...options.nodes],
    document: (document) => document,
    answer: null,
  }
  const gatewayReport = async (nonce: string): Promise<unknown> => {
    const { behaviour, td } = host
    const tls = behaviour.tlsFingerprint(host.spkiSha256())
    const bound = reportDataOf(key.publicKey, tls, behaviour.nonce(nonce))
    const quote = await td.quote(behaviour.reportData(bound))
    return behaviour.report({
      signing_address: key.publicKey.toString('hex'),
      signing_algo: 'ed25519',
      intel_quote: Buffer.from(quote).toString('hex'),
      event_log: JSON.stringify(td.entries),
      report_data: Buffer.from(bound).toString('hex'),
      request_nonce: behaviour.statedNonce(nonce),
      info: td.info(),
      tls_cert_fingerprint: tls,
    })
  }
  const host: AttestedHost = await startAttestedHost({
    vendor: options.vendor,
    image: options.image ?? 'dstack-0.5.4',
    gpus: 0,
    authorised: options.authorised ?? true,
    report: async (query) => {
      const nonce = query.get('nonce') ?? ''
      const model = query.get('model')
      const nodes = router.nodes.filter((node) => node.model === model)
      return router.document({
        gateway_attestation: await gatewayReport(nonce),
        model_attestations: await Promise.all(nodes.map((node) => node.report(nonce))),
        tls_certificate: '',
      })
    },
    serve: async (served) => {
      if (router.answer !== null) {
        await router.answer(served)
        return
      }
      const wanted = served.request.headers['x-model-pub-key']
      const node = router.nodes.find((each) => each.key().publicKey.toString('hex') === wanted)
      if (node === undefined) sendError(served.response, 503, 'server_error', 'no such backend')
      else await forward(served, node, agent)
    },
  })
  const router: NearRouter = Object.assign(settings, {
    ...host,
    key,
    close: async () => {
      await agent.destroy()
      await host.close()
    },
  })
  return router
}

/** As the router does: everything but the key that chose the backend. */
async function forward(served: ServedRequest, node: NearNode, agent: Agent): Promise<void> {
  const { request, response, body } = served
  const passed = ['content-type', 'x-signing-algo', 'x-client-pub-key', 'x-encryption-version']
  const headers = Object.fromEntries(
    [...passed, 'x-encrypt-all-fields'].map((name) => [name, String(request.headers[name] ?? '')]),
  )
  const answer = await send(node.origin + (request.url ?? ''), {
    method: 'POST',
    headers,
    body,
    dispatcher: agent,
  })
  response.writeHead(answer.statusCode, headersOf(answer.headers))
  try {
    for await (const chunk of answer.body) response.write(chunk)
    response.end()
  } catch {
    response.destroy()
  }
}
