import { createServer } from 'node:https'
import { aciService, type AciService } from '../support/aci-service.ts'
import { openAiService, sendJson } from '../support/openai-service.ts'
import { newTlsIdentity } from '../support/pki.ts'
import { listen, portOf, stop } from '../support/ports.ts'
import { MRTD, type World } from './world.ts'

export interface AttestedServer {
  readonly origin: string
  readonly aci: AciService
  /** JSON answers by path; a string is sent as it is. */
  readonly routes: Map<string, unknown>
  /** The `authorization` headers of requests for `routes`. */
  readonly authorizations: (string | undefined)[]
  close(): Promise<void>
}

/** An attested service with documents of a test's choice. */
export async function startAttestedServer({ vendor, clock }: World): Promise<AttestedServer> {
  const { key, cert, spkiSha256 } = newTlsIdentity()
  const fields = { mrtd: MRTD }
  const aci = await aciService({
    vendor,
    clock,
    fields,
    boot: null,
    lifetimeSeconds: 86_400,
    spkiSha256,
  })
  const routes = new Map<string, unknown>()
  const authorizations: (string | undefined)[] = []
  const service = openAiService({
    clock,
    models: [],
    intercept: async (request, response) => {
      const answer = routes.get(request.url ?? '')
      if (answer === undefined) return aci.intercept(request, response)
      authorizations.push(request.headers.authorization)
      if (typeof answer === 'string') response.writeHead(200).end(answer)
      else sendJson(response, 200, answer)
      return true
    },
  })
  const server = createServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => {
    service.handle(request, response).catch(() => response.destroy())
  })
  await listen(server)
  return {
    origin: `https://127.0.0.1:${portOf(server)}`,
    aci,
    routes,
    authorizations,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}
