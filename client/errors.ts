import type { ErrorKind } from '@vouchgate/attestation'

/** `unavailable`: nothing was judged, because something could not be reached. Trying again may help. */
export type FailureKind = ErrorKind | 'unavailable'

interface Entry {
  readonly kind: FailureKind
  readonly message: string
}

const entry = (kind: FailureKind, message: string): Entry => ({ kind, message })

const CHANNEL_ERRORS = {
  channel_unreachable: entry('unavailable', 'the service cannot be reached over TLS'),
  channel_timeout: entry('unavailable', 'the service did not answer in time'),
  tls_too_old: entry('rejected', 'the service does not speak TLS 1.3'),
  channel_key_unreadable: entry('rejected', 'the service shows no key that can be compared'),
  channel_key_mismatch: entry('rejected', 'the connection ends in a key that was not attested'),
  report_unavailable: entry('unavailable', 'the service does not serve its attestation report'),
  report_rate_limited: entry('unavailable', 'the service asks to be asked less often'),
  report_too_large: entry('malformed', 'the attestation report is over the size limit'),
  collateral_unavailable: entry('unavailable', 'the collateral of the quote cannot be fetched'),
  collateral_platform_unknown: entry(
    'unavailable',
    'the collateral service does not know this platform',
  ),
  collateral_withdrawn: entry(
    'unavailable',
    'the collateral service has withdrawn this collateral',
  ),
  collateral_rate_limited: entry(
    'unavailable',
    'the collateral service asks to be asked less often',
  ),
  collateral_service_failed: entry('unavailable', 'the collateral service has an error of its own'),
  collateral_refused: entry('unavailable', 'the collateral service serves what does not hold'),
  collateral_expired: entry(
    'unavailable',
    'the collateral has expired and no newer one can be fetched',
  ),
  collateral_too_large: entry('malformed', 'the collateral is over the size limit'),
  nvidia_unreachable: entry('unavailable', 'a service of NVIDIA cannot be reached'),
  nvidia_timeout: entry('unavailable', 'a service of NVIDIA did not answer in time'),
  nvidia_rate_limited: entry('unavailable', 'a service of NVIDIA asks to be asked less often'),
  nvidia_status: entry('unavailable', 'a service of NVIDIA does not answer with status 200'),
  nvidia_too_large: entry('unavailable', 'an answer of NVIDIA is over the size limit'),
  rim_not_found: entry('unavailable', 'NVIDIA has not published this reference manifest'),
  rim_answer_malformed: entry('unavailable', 'the RIM service gives an answer that cannot be read'),
  rim_answer_mismatch: entry(
    'unavailable',
    'the RIM service answers with another document than it says',
  ),
  ocsp_answer_refused: entry('unavailable', 'the OCSP service gives an answer that does not hold'),
  nras_answer_refused: entry(
    'unavailable',
    'the attestation service of NVIDIA gives an answer that does not hold',
  ),
} as const satisfies Record<string, Entry>

export type ChannelErrorCode = keyof typeof CHANNEL_ERRORS

/** Evidence that could not be collected, or a connection that does not end in the attested key. */
export class ChannelError extends Error {
  override readonly name = 'ChannelError'
  readonly code: ChannelErrorCode
  readonly kind: FailureKind
  /** How long the other side asks to be left alone; null where it does not say. */
  readonly retryAfterSeconds: number | null

  constructor(code: ChannelErrorCode, retryAfterSeconds: number | null = null) {
    super(CHANNEL_ERRORS[code].message)
    this.code = code
    this.kind = CHANNEL_ERRORS[code].kind
    this.retryAfterSeconds = retryAfterSeconds
  }
}

const CLIENT_ERRORS = {
  origin_not_verified: entry('rejected', 'the request is not for the gateway that was verified'),
  request_failed: entry('unavailable', 'the request to the gateway failed'),
  sessions_unavailable: entry('unavailable', 'the gateway does not serve its sessions'),
  sessions_malformed: entry('malformed', 'the list of sessions cannot be read'),
  session_id_mismatch: entry('rejected', 'a session is not the one that was asked for'),
  session_expired: entry('rejected', 'a session that is listed as current has expired'),
  receipt_unavailable: entry('unavailable', 'the gateway does not serve the receipt'),
  response_too_large: entry('malformed', 'a document of the gateway is over the size limit'),
  listen_not_loopback: entry(
    'rejected',
    'the proxy listens on loopback alone unless told otherwise',
  ),
  capture_unreadable: entry('malformed', 'the folder of the capture cannot be read'),
  capture_malformed: entry('malformed', 'a file of the capture is not what it should be'),
  capture_not_written: entry('unavailable', 'the capture cannot be written'),
  listen_failed: entry('unavailable', 'the proxy cannot listen on this address'),
} as const satisfies Record<string, Entry>

export type ClientErrorCode = keyof typeof CLIENT_ERRORS

/** What a relying party's own steps can run into. The message comes from the table, never from the input. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly code: ClientErrorCode
  readonly kind: FailureKind

  constructor(code: ClientErrorCode) {
    super(CLIENT_ERRORS[code].message)
    this.code = code
    this.kind = CLIENT_ERRORS[code].kind
  }
}
