import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { TLSSocket } from 'node:tls'
import type { Bytes, Clock } from '@vouchgate/attestation'
import { concat } from './der.ts'
import { evidenceItem, newGpu, type NvidiaVendor } from './nvidia-gpu.ts'
import { openAiService, type RecordedRequest } from './openai-service.ts'
import { newTlsIdentity, type TlsIdentity } from './pki.ts'
import { listen, portOf, stop } from './ports.ts'
import type { QuoteFields, TeeVendor } from './tee-vendor.ts'

export const COMPOSE = 'services:\n  model:\n    image: model@sha256:00\n'
/** The root file system of the image, as RTMR3 has it. */
export const ROOTFS = 'ab'.repeat(32)

/** What the machine shows; a test breaks one thing before it is asked. */
export interface SecretAiBehaviour {
  quote: Omit<QuoteFields, 'reportData'>
  reportData: (reportData: Bytes) => Uint8Array
  /** Body of each route, given the right one; null for status 404. */
  body: (route: string, own: string) => string | null
  /** What the GPUs answer, given the nonce that was quoted. */
  gpuNonce: (quoted: Bytes) => Uint8Array
}

/** RTMR3 after entries that are extended as they are. */
export function extendedBy(...entries: readonly Uint8Array[]): Bytes {
  let value: Bytes = new Uint8Array(48)
  for (const entry of entries) {
    const padded = concat(entry, new Uint8Array(48 - entry.length))
    value = Uint8Array.from(createHash('sha384').update(value).update(padded).digest())
  }
  return value
}

export const sha256 = (text: string): Bytes =>
  Uint8Array.from(createHash('sha256').update(text).digest())

/** Everything a SecretVM shows of itself, by route. */
export interface SecretAiMachine {
  readonly behaviour: SecretAiBehaviour
  readonly identity: TlsIdentity
  documents(): Promise<ReadonlyMap<string, string>>
}

export function newSecretAiMachine(vendor: TeeVendor, nvidia: NvidiaVendor): SecretAiMachine {
  const identity = newTlsIdentity()
  const gpus = [newGpu(nvidia), newGpu(nvidia)]
  const nonce = Uint8Array.from(randomBytes(32))
  const behaviour: SecretAiBehaviour = {
    quote: {},
    reportData: (reportData) => reportData,
    body: (_, own) => own,
    gpuNonce: (quoted) => quoted,
  }
  return {
    behaviour,
    identity,
    documents: async () => {
      const spki = Uint8Array.from(Buffer.from(identity.spkiSha256, 'hex'))
      const reportData = behaviour.reportData(concat(spki, nonce))
      const rtmr3 = extendedBy(sha256(COMPOSE), Uint8Array.from(Buffer.from(ROOTFS, 'hex')))
      const quote = await vendor.quote({ rtmr3, ...behaviour.quote, reportData })
      const answered = behaviour.gpuNonce(nonce)
      const gpu = {
        nonce: Buffer.from(answered).toString('hex'),
        arch: 'HOPPER',
        evidence_list: gpus.map(({ arch, pem, answer }) =>
          evidenceItem(answer(answered), pem, arch),
        ),
      }
      return new Map([
        ['/cpu', `${Buffer.from(quote).toString('hex')}\n`],
        ['/gpu', JSON.stringify(gpu)],
        ['/docker-compose', COMPOSE],
      ])
    },
  }
}

export interface SecretAiService {
  readonly origin: string
  readonly machine: SecretAiMachine
  /** Prompts that were read to their end. */
  readonly prompts: () => readonly RecordedRequest[]
  /** The same routes behind another TLS key, as somebody who relays evidence would have them. */
  relay(identity: TlsIdentity): void
  /** From the next connection on another key. */
  changeKey(identity: TlsIdentity): void
  close(): Promise<void>
}

export interface SecretAiOptions {
  readonly vendor: TeeVendor
  readonly nvidia: NvidiaVendor
  readonly clock: Clock
}

export async function startSecretAi(options: SecretAiOptions): Promise<SecretAiService> {
  const machine = newSecretAiMachine(options.vendor, options.nvidia)
  const { key, cert } = machine.identity
  const intercept = async (request: IncomingMessage, response: ServerResponse) => {
    const route = request.url ?? ''
    const own = (await machine.documents()).get(route)
    if (own === undefined) return false
    const body = machine.behaviour.body(route, own)
    response.writeHead(body === null ? 404 : 200, { 'content-type': 'text/plain' }).end(body ?? '')
    return true
  }
  const service = openAiService({ clock: options.clock, models: ['test-model'], intercept })
  const open = new Set<TLSSocket>()
  const server = createServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  server.on('secureConnection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  await listen(server)
  const changeKey: SecretAiService['changeKey'] = (identity) =>
    server.setSecureContext({ key: identity.key, cert: identity.cert, minVersion: 'TLSv1.3' })
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    machine,
    prompts: () => service.requests.filter(({ method }) => method === 'POST'),
    changeKey,
    relay: (identity) => {
      changeKey(identity)
      for (const socket of open) socket.destroy()
    },
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}
