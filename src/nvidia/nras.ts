import {
  encodeUtf8,
  EvidenceError,
  NrasFailure,
  toBase64,
  verifyNrasResponse,
  type Bytes,
  type Clock,
  type DeviceKind,
  type GenuineGpuEvidence,
  type GenuineNrasVerdict,
  type GpuEvidence,
  type GpuEvidenceItem,
  type NrasPolicy,
} from '@vouchgate/attestation'
import { isSafeUrl } from '../safe-url.ts'
import { fetchNvidia, NvidiaAnswerRefused, type NvidiaService } from './fetch.ts'
import { NrasKeySet } from './nras-keys.ts'

export const NVIDIA_NRAS_URL = 'https://nras.attestation.nvidia.com'

export interface NrasOptions {
  /** NVIDIA's service or a stand-in with the same paths, e.g. {@link NVIDIA_NRAS_URL}. */
  readonly service: NvidiaService
  /** `v3` answers with claims 2.0; `v4` is asked for claims 3.0. */
  readonly api: 'v3' | 'v4'
  readonly clock: Clock
  readonly policy: NrasPolicy
}

interface NrasQuestion {
  /** Read from what a provider presented. */
  readonly evidence: GpuEvidence
  /** The same, verified: nothing goes to NVIDIA that was not. */
  readonly genuine: GenuineGpuEvidence
  readonly kind: DeviceKind
}

/** NVIDIA's verdict on the devices of one kind, with what is needed to judge it again. */
export type NrasSource = (question: NrasQuestion) => Promise<GenuineNrasVerdict>

/** 64 device tokens of 2.5 KiB, several times over. */
const MAX_RESPONSE = 1 << 20

/**
 * Verdicts of NVIDIA's Remote Attestation Service. It learns which devices are used and from which address.
 *
 * Rejects with `NrasFailure` where NRAS says something against a device; with `EvidenceError` `gpu_platform_mixed` for
 * devices of several architectures, of which one request cannot be made; with `ChannelError` (`nvidia_*`,
 * `nras_answer_refused`) where there is no authentic answer. Evidence that is not what was verified, or has no device
 * of this kind, is a `TypeError`, and so is a service whose keys nothing would vouch for.
 */
export function nrasService({ service, api, clock, policy }: NrasOptions): NrasSource {
  checkConnection(service, policy)
  const base = service.url.replace(/\/+$/, '')
  const { timeoutMs } = service
  const keys = new NrasKeySet({ url: `${base}/.well-known/jwks.json`, timeoutMs }, clock)
  return async (question) => {
    const { genuine: evidence, kind } = question
    const response = await fetchNvidia({
      clock,
      url: `${base}/${api}/attest/${kind}`,
      timeoutMs,
      body: requestBody(question, api),
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      maxBytes: MAX_RESPONSE,
    })
    const judge = (jwks: Bytes) =>
      verifyNrasResponse({ response, jwks, evidence, kind, now: clock.now(), policy })
    const jwks = await keys.current()
    try {
      return await judge(jwks).catch(async (error: unknown) => {
        // A key that signed for the first time a moment ago is newer than the set that is held.
        if (!isUnknownKey(error)) throw error
        return judge(await keys.newerThan(jwks))
      })
    } catch (error) {
      throw refusal(error)
    }
  }
}

/** Unless their authority is pinned, keys are worth what the connection is on which they come. */
function checkConnection({ url }: NvidiaService, { jwks_pin: pin }: NrasPolicy): void {
  if (!isSafeUrl(url) && pin !== 'enforce') throw new TypeError('NRAS is asked over https')
}

const isUnknownKey = (error: unknown): boolean =>
  error instanceof EvidenceError && error.code === 'nras_key_unknown'

/** What NRAS signed against a device counts against it; everything else is a fault of the service. */
function refusal(error: unknown): unknown {
  const isFault = error instanceof EvidenceError && !(error instanceof NrasFailure)
  return isFault ? new NvidiaAnswerRefused('nras_answer_refused', error.code) : error
}

function requestBody({ evidence, genuine, kind }: NrasQuestion, api: 'v3' | 'v4'): Bytes {
  const { devices, nonce } = genuine
  if (!genuine.wasReadFrom(evidence.items))
    throw new TypeError('not the evidence that was verified')
  const sent = evidence.items.filter((_, at) => devices[at]?.kind === kind)
  const [arch, ...others] = new Set(
    devices.filter((device) => device.kind === kind).map((device) => device.arch),
  )
  if (arch === undefined) throw new TypeError('no device of this kind')
  if (others.length > 0) throw new EvidenceError('gpu_platform_mixed')
  const request = { nonce, arch, evidence_list: sent.map(encodeItem) }
  return encodeUtf8(JSON.stringify(api === 'v4' ? { ...request, claims_version: '3.0' } : request))
}

const encodeItem = ({ report, certificates }: GpuEvidenceItem) => ({
  evidence: toBase64(report),
  certificate: toBase64(encodeUtf8(certificates)),
})
