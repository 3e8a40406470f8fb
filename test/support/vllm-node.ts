import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { request as send } from 'undici'
import { ethereumAddress } from '../../attestation/keccak.ts'
import {
  gpuPayload,
  newGpus,
  reportDataOf,
  startAttestedHost,
  type AttestedHost,
  type NodeOptions,
} from './attested-node.ts'
import { startPlainModelServer, type PlainModelServer } from './model-server.ts'

/** A node of Phala's vllm-proxy: no encryption of its own; version 2 of its report binds the TLS key, 1 does not. */
export interface VllmNode extends AttestedHost {
  readonly engine: PlainModelServer
  /** The newest version of the report that it knows. */
  settings: { version: 1 | 2; evidence: 'all' | 'none' }
}

type Json = Record<string, unknown>

/** `x ‖ y`. */
const newSecp256k1Key = (): Buffer =>
  generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    .publicKey.export({ format: 'der', type: 'spki' })
    .subarray(-64)

export async function startVllmNode(
  options: NodeOptions & { readonly authorised?: boolean },
): Promise<VllmNode> {
  const { vendor, nvidia, clock, model = 'test-model', image = 'dstack-nvidia-0.5.8' } = options
  const engine = await startPlainModelServer({ clock, models: [model] })
  const gpus = newGpus(nvidia, options.gpus ?? 1)
  const signingKey = newSecp256k1Key()
  const address = Buffer.from(ethereumAddress(signingKey), 'hex')
  const settings: VllmNode['settings'] = { version: 2, evidence: 'all' }
  const report = async (query: URLSearchParams): Promise<unknown> => {
    const { behaviour, td } = host
    const nonce = query.get('nonce') ?? randomBytes(32).toString('hex')
    const bindsTls = settings.version === 2 && query.get('version') === '2'
    const tls = bindsTls ? behaviour.tlsFingerprint(host.spkiSha256()) : null
    const bound = reportDataOf(address, tls, behaviour.nonce(nonce))
    const quote = Buffer.from(await td.quote(behaviour.reportData(bound))).toString('hex')
    const core: Json = {
      signing_address: `0x${address.toString('hex')}`,
      signing_algo: 'ecdsa',
      signing_public_key: signingKey.toString('hex'),
      request_nonce: behaviour.statedNonce(nonce),
      intel_quote: quote,
      quote,
      nvidia_payload:
        settings.evidence === 'none'
          ? JSON.stringify({ arch: 'HOPPER', evidence_list: [], nonce })
          : gpuPayload(gpus, behaviour.gpuNonce(nonce)),
      // Newer guest agents leave the digests of runtime events to the reader.
      event_log: JSON.stringify(
        td.entries.map((entry) => (entry.imr === 3 ? { ...entry, digest: '' } : entry)),
      ),
      info: td.info(),
      vm_config: td.vmConfig(),
      ...(bindsTls ? { version: 2, tls_cert_fingerprint: tls } : {}),
    }
    return behaviour.report({ ...core, all_attestations: [core] })
  }
  const host: AttestedHost = await startAttestedHost({
    vendor,
    image,
    gpus: gpus.length,
    authorised: options.authorised ?? false,
    report,
    serve: async ({ request, response, body }) => {
      const answer = await send(engine.origin + (request.url ?? ''), {
        method: request.method === 'POST' ? 'POST' : 'GET',
        headers: { 'content-type': 'application/json' },
        body,
      })
      response.writeHead(answer.statusCode, {
        'content-type': String(answer.headers['content-type']),
      })
      try {
        for await (const chunk of answer.body) response.write(chunk)
        response.end()
      } catch {
        response.destroy()
      }
    },
  })
  return {
    ...host,
    engine,
    settings,
    close: async () => {
      await Promise.all([host.close(), engine.close()])
    },
  }
}
