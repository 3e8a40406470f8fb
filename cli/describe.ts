import {
  formatTime,
  isVerifiedAciService,
  toHex,
  workloadRow,
  type AcceptedQuote,
  type ChannelBinding,
  type Claims,
  type GenuineQuote,
  type VerifiedAciService,
  type VerifiedEndpoint,
  type WorkloadRow,
} from '@vouchgate/attestation'
import type { Style } from './output.ts'

/** The facts of a quote whose every signature held. */
export function quoteJson(quote: GenuineQuote) {
  const { teeType, quoteVersion, tcb, fmspc, debug, reportData, measurements } = quote
  return {
    teeType,
    quoteVersion,
    tcbStatus: tcb.status,
    advisoryIds: tcb.advisoryIds,
    tcbDate: tcb.tcbDate === null ? null : formatTime(tcb.tcbDate),
    fmspc,
    debug,
    reportData: toHex(reportData),
    measurements,
  }
}

export function endpointJson(endpoint: VerifiedAciService) {
  const { origin, binding, keysetDigest, quote, boot, workload } = endpoint
  return {
    origin,
    proven: workload === 'pinned' ? 'identity' : 'genuineness',
    workload,
    trustedRoot: quote.root,
    keysetDigest,
    spkiSha256: toHex(binding.digest),
    verifiedAt: formatTime(endpoint.verifiedAt),
    expiresAt: formatTime(endpoint.expiresAt),
    quote: quoteJson(quote),
    boot,
    measured: measuredRow(endpoint),
  }
}

const measuredRow = ({ quote, boot }: VerifiedAciService): WorkloadRow | null =>
  workloadRow(quote, boot?.config_digest ?? null)

export function endpointLines(style: Style, endpoint: VerifiedAciService): string[] {
  const { origin, binding, keysetDigest, quote, boot } = endpoint
  const notHeld = Object.entries(boot?.self_check ?? {}).filter(([, state]) => state !== 'held')
  return [
    style.fact('origin', origin),
    ...quoteLines(style, quote),
    style.fact('keyset', keysetDigest),
    style.fact('TLS key', `sha256 ${toHex(binding.digest)}`),
    ...(boot === null
      ? []
      : [style.fact('software', boot.software), style.fact('configuration', boot.config_digest)]),
    ...notHeld.map(([fact, state]) =>
      style.warn(
        `self-check: ${fact} ${state === 'unknown' ? 'could not be looked at' : 'does not hold'}`,
      ),
    ),
    style.fact('valid until', formatTime(endpoint.expiresAt)),
    ...rootLines(style, quote),
    ...workloadLines(style, endpoint),
  ]
}

export function quoteLines(style: Style, quote: GenuineQuote): string[] {
  const { tcb, measurements } = quote
  const date = tcb.tcbDate === null ? '' : ` (of ${formatTime(tcb.tcbDate).slice(0, 10)})`
  const [name = 'measurement', value = ''] = Object.entries(measurements)[0] ?? []
  return [
    style.fact('TEE', `Intel ${quote.teeType.toUpperCase()}, quote version ${quote.quoteVersion}`),
    style.fact('TCB status', `${tcb.status}${date}`),
    ...(tcb.currentStatus === null
      ? []
      : [style.fact('launch, now', `${tcb.launchStatus}, ${tcb.currentStatus}`)]),
    ...(tcb.advisoryIds.length === 0 ? [] : [style.fact('advisories', tcb.advisoryIds.join(', '))]),
    style.fact('debug', quote.debug ? 'yes' : 'no'),
    ...(quote.padding === 0 ? [] : [style.fact('padding', `${quote.padding} zero bytes`)]),
    style.fact(name.toUpperCase(), value),
  ]
}

/** Another root than Intel's proves nothing about hardware, and every output says so. */
export const rootLines = (style: Style, { root }: GenuineQuote): string[] =>
  root === 'intel'
    ? []
    : [style.warn('Trusted under a test root, not under Intel: this is no proof of hardware.')]

function workloadLines(style: Style, endpoint: VerifiedAciService): string[] {
  if (endpoint.workload === 'pinned') {
    return [style.good('Identity proven: the measurements are in the policy.')]
  }
  const row = measuredRow(endpoint)
  return [
    style.warn('Only genuineness was proven, not identity: the policy says `workload: any`.'),
    ...(row === null
      ? []
      : [
          '  To expect exactly what runs there now, put this into the policy:',
          '',
          ...yamlRow(row),
        ]),
  ]
}

const yamlRow = (row: WorkloadRow): string[] => [
  'workload:',
  ...Object.entries(row).map(
    ([name, value], index) => `  ${index === 0 ? '-' : ' '} ${name}: "${value}"`,
  ),
]

/** Of any verified endpoint; what an ACI/1 service has beyond that, as `endpointJson` shows it. */
export function channelJson(endpoint: VerifiedEndpoint) {
  if (isVerifiedAciService(endpoint)) return { kind: endpoint.kind, ...endpointJson(endpoint) }
  const { kind, origin, bindings, identity, claims } = endpoint
  return {
    kind,
    origin,
    proven: claims.extra['workload'] === 'pinned' ? 'identity' : 'genuineness',
    trustedRoot: claims.extra['trusted_root'] ?? null,
    verifiedAt: formatTime(endpoint.verifiedAt),
    expiresAt: formatTime(endpoint.expiresAt),
    identity,
    channelBinding: bindings.map(bindingJson),
    claims,
  }
}

export const bindingJson = (binding: ChannelBinding) =>
  binding.kind === 'tls-spki-sha256'
    ? { type: 'tls_spki_sha256', spki_sha256: toHex(binding.digest) }
    : {
        type: 'e2ee_public_key_sha256',
        algorithm: binding.protocol,
        key_id: binding.keyId,
        public_key_sha256: toHex(binding.digest),
      }

export function channelLines(style: Style, endpoint: VerifiedEndpoint): string[] {
  if (isVerifiedAciService(endpoint)) return endpointLines(style, endpoint)
  const { kind, origin, bindings, claims } = endpoint
  return [
    style.fact('kind', kind),
    style.fact('origin', origin),
    ...bindings.map((binding) =>
      style.fact(
        binding.kind === 'tls-spki-sha256' ? 'TLS key' : binding.protocol,
        `sha256 ${toHex(binding.digest)}`,
      ),
    ),
    style.fact('valid until', formatTime(endpoint.expiresAt)),
    ...claimLines(style, claims),
    ...(claims.extra['workload'] === 'pinned'
      ? [style.good('Identity proven: the measurements are in the policy.')]
      : [
          style.warn(
            'Only genuineness was proven, not identity: the policy expects no measurement.',
          ),
        ]),
  ]
}

/** One line per claim, with why. */
export const claimLines = (style: Style, claims: Partial<Claims>): string[] =>
  Object.entries(claims)
    .filter(([name]) => name !== 'extra')
    .map(([name, claim]) => style.fact(name, describeClaim(claim)))

const describeClaim = (claim: unknown): string => {
  if (typeof claim !== 'object' || claim === null || !('status' in claim)) return ''
  const reason = 'reason' in claim && typeof claim.reason === 'string' ? `: ${claim.reason}` : ''
  return `${String(claim.status)}${reason}`
}

/** One sentence for outputs that do not show the whole endpoint. */
export const provenLine = (
  style: Style,
  { workload }: AcceptedQuote | VerifiedAciService,
): string =>
  workload === 'pinned'
    ? style.good('Identity proven: the measurements are in the policy.')
    : style.warn('Only genuineness was proven, not identity: the policy expects no measurement.')
