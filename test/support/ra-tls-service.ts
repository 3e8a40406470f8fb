import { createServer } from 'node:https'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '@vouchgate/attestation'
import { openAiService, type ChatBehaviour, type RecordedRequest } from './openai-service.ts'
import { listen, portOf, stop } from './ports.ts'
import { newRaTlsIdentity, type RaTlsFields, type RaTlsIdentity } from './ra-tls.ts'
import type { TeeVendor } from './tee-vendor.ts'

/** An OpenAI-like server in a TD that carries its quote in its TLS certificate. */
export interface RaTlsService {
  readonly origin: string
  readonly chat: ChatBehaviour
  readonly requests: readonly RecordedRequest[]
  identity(): RaTlsIdentity
  /** Bytes received above TLS. */
  applicationBytes(): number
  /** A new key and certificate, as after a restart: open connections are dropped. */
  rotate(fields?: RaTlsFields): Promise<void>
  /** Somebody else's certificate with this server's own key can not be shown; another key with it can. */
  show(identity: Pick<RaTlsIdentity, 'key' | 'cert'>): void
  close(): Promise<void>
}

export interface RaTlsServiceOptions {
  readonly vendor: TeeVendor
  readonly clock: Clock
  readonly fields?: RaTlsFields
}

export async function startRaTlsService(options: RaTlsServiceOptions): Promise<RaTlsService> {
  const { vendor, clock, fields = {} } = options
  let identity = await newRaTlsIdentity(vendor, fields)
  const service = openAiService({ clock, models: ['test-model'] })
  const open = new Set<TLSSocket>()
  let finished = 0
  const { key, cert } = identity
  const server = createServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  server.on('secureConnection', (socket) => {
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      finished += socket.bytesRead
    })
  })
  await listen(server)
  const show: RaTlsService['show'] = (shown) => {
    server.setSecureContext({ key: shown.key, cert: shown.cert, minVersion: 'TLSv1.3' })
    for (const socket of open) socket.destroy()
  }
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    chat: service.chat,
    requests: service.requests,
    identity: () => identity,
    applicationBytes: () => [...open].reduce((sum, socket) => sum + socket.bytesRead, finished),
    rotate: async (changed = fields) => {
      identity = await newRaTlsIdentity(vendor, changed)
      show(identity)
    },
    show,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}
