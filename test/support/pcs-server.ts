import { createServer, type ServerResponse } from 'node:http'
import type { Collateral } from '@vouchgate/attestation'
import type { CollateralOverrides } from './collateral.ts'
import { hex } from './der.ts'
import { listen, portOf, stop } from './ports.ts'
import { toPem } from './pki.ts'

type PcsRoute = 'tcb' | 'qeIdentity' | 'pckCrl' | 'rootCrl'

/** Set by a test while the server runs. */
interface PcsControl {
  /** Routes that answer with this HTTP status and nothing else. */
  fail: Partial<Record<PcsRoute, number>>
  /** The `Retry-After` of those answers. */
  retryAfter: string | null
  /** How CRLs are served: Intel's way, or those of mirrors. */
  crl: 'der' | 'pem' | 'hex'
  /** What is served; `at` moves its validity. */
  collateral: CollateralOverrides
  /** Accept requests and never answer. */
  hang: boolean
}

export interface PcsServer {
  readonly url: string
  readonly rootCrlUrl: string
  /** Path and query of every request, in order. */
  readonly requests: string[]
  readonly control: PcsControl
  close(): Promise<void>
}

export interface PcsOptions {
  readonly collateral: (overrides: CollateralOverrides) => Collateral
  readonly fmspc: string
  readonly ca: 'platform' | 'processor'
}

interface Answer {
  readonly body: Uint8Array | string
  readonly type: string
  readonly chain?: readonly [header: string, pem: string]
}

const ROOT_CRL_PATH = '/IntelSGXRootCA.der'
const ROUTES: ReadonlyMap<string, PcsRoute> = new Map([
  ['/tdx/certification/v4/tcb', 'tcb'],
  ['/tdx/certification/v4/qe/identity', 'qeIdentity'],
  // What the documents of these say is SGX only where a test says so.
  ['/sgx/certification/v4/tcb', 'tcb'],
  ['/sgx/certification/v4/qe/identity', 'qeIdentity'],
  ['/sgx/certification/v4/pckcrl', 'pckCrl'],
  [ROOT_CRL_PATH, 'rootCrl'],
  // PCCS mirrors have it here.
  ['/sgx/certification/v4/rootcacrl', 'rootCrl'],
])

/** Intel's Provisioning Certification Service, version 4, for one platform: routes, bodies and headers. */
export async function startPcsServer(options: PcsOptions): Promise<PcsServer> {
  const requests: string[] = []
  const control: PcsControl = {
    fail: {},
    retryAfter: null,
    crl: 'der',
    collateral: {},
    hang: false,
  }
  const server = createServer((request, response) => {
    const target = request.url ?? '/'
    requests.push(target)
    request.resume()
    if (control.hang) return
    const { pathname, searchParams } = new URL(target, 'http://pcs.invalid')
    const route = ROUTES.get(pathname)
    const failure = route === undefined ? 404 : control.fail[route]
    if (route === undefined || failure !== undefined) {
      const { retryAfter } = control
      response
        .writeHead(failure ?? 404, retryAfter === null ? {} : { 'retry-after': retryAfter })
        .end()
      return
    }
    answer(response, content(route, searchParams, options, control))
  })
  await listen(server)
  const url = `http://127.0.0.1:${portOf(server)}`
  return {
    url,
    rootCrlUrl: `${url}${ROOT_CRL_PATH}`,
    requests,
    control,
    close: () => {
      server.closeAllConnections()
      return stop(server)
    },
  }
}

function content(
  route: PcsRoute,
  query: URLSearchParams,
  options: PcsOptions,
  control: PcsControl,
): Answer | number {
  const served = options.collateral(control.collateral)
  switch (route) {
    case 'tcb': {
      const fmspc = query.get('fmspc') ?? ''
      if (!/^[0-9a-fA-F]{12}$/.test(fmspc)) return 400
      if (fmspc.toLowerCase() !== options.fmspc) return 404
      return {
        type: 'application/json',
        body: `{"tcbInfo":${served.tcb_info},"signature":"${served.tcb_info_signature}"}`,
        chain: ['TCB-Info-Issuer-Chain', served.tcb_info_issuer_chain],
      }
    }
    case 'qeIdentity':
      return {
        type: 'application/json',
        body: `{"enclaveIdentity":${served.qe_identity},"signature":"${served.qe_identity_signature}"}`,
        chain: ['SGX-Enclave-Identity-Issuer-Chain', served.qe_identity_issuer_chain],
      }
    case 'pckCrl': {
      if (query.get('ca') !== options.ca) return 404
      const chain = ['SGX-PCK-CRL-Issuer-Chain', served.pck_crl_issuer_chain] as const
      return { ...crl(served.pck_crl, control.crl), chain }
    }
    case 'rootCrl':
      return crl(served.root_ca_crl, control.crl)
  }
}

function crl(text: string, form: PcsControl['crl']): Answer {
  if (form === 'hex') return { type: 'text/plain', body: text }
  const der = hex(text)
  return form === 'der'
    ? { type: 'application/pkix-crl', body: der }
    : { type: 'application/x-pem-file', body: toPem(der, 'X509 CRL') }
}

function answer(response: ServerResponse, found: Answer | number): void {
  if (typeof found === 'number') {
    response.writeHead(found).end()
    return
  }
  const [header, pem] = found.chain ?? []
  if (header !== undefined && pem !== undefined) response.setHeader(header, encodeURIComponent(pem))
  response.writeHead(200, { 'content-type': found.type }).end(found.body)
}
