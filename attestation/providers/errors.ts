import type { ErrorKind } from '../errors.ts'

type Step = 'provider' | 'binding' | 'channel' | 'freshness' | 'launch'

const entry =
  (kind: ErrorKind) =>
  (step: Step, message: string): ProviderErrorEntry => ({ kind, step, message })
const malformed = entry('malformed')
const rejected = entry('rejected')

export interface ProviderErrorEntry {
  readonly kind: ErrorKind
  readonly step: Step
  readonly message: string
}

/** What can be wrong with what a provider shows of itself. */
export const PROVIDER_EVIDENCE_ERRORS = {
  evidence_document_absent: malformed(
    'provider',
    'a document that this verification needs is absent',
  ),
  provider_report_malformed: malformed('provider', 'the report of the provider cannot be read'),
  provider_model_mismatch: rejected('provider', 'the report is about another model'),
  provider_keys_not_bound: rejected(
    'binding',
    'the quote does not commit to the keys of the report and to this challenge',
  ),
  provider_certificate_not_bound: rejected(
    'binding',
    'the quote does not commit to the certificate of the service that took it',
  ),
  provider_tee_unsupported: entry('unsupported')(
    'provider',
    'the evidence is of a TEE that this kind is not verified on',
  ),
  provider_instances_absent: rejected('provider', 'no instance shows both a key and evidence'),
  provider_runtime_not_measured: rejected(
    'launch',
    'the guest measures nothing of what runs in it',
  ),
  provider_channel_not_attested: rejected(
    'channel',
    'the key of the connection is not the attested one',
  ),
  provider_launch_mismatch: rejected(
    'launch',
    'what the report says of the launch is not what was measured',
  ),
  provider_actions_mismatch: rejected(
    'launch',
    'the log of what was started after boot is not the one that this TD attests',
  ),
} as const satisfies Record<string, ProviderErrorEntry>

export const PROVIDER_POLICY_ERRORS = {
  tee_not_accepted: 'a TEE of this kind is not accepted',
  gpu_binding_too_weak: 'the GPUs are bound to the CPU more weakly than required',
  release_not_expected: 'the release is not one that is expected',
  freshness_not_proven: 'the evidence answers no challenge of this caller',
  os_image_development: 'the guest runs a development image',
  os_image_not_expected: 'the OS image is not in the expected list',
  compose_not_expected: 'the app compose is not in the expected list',
  app_not_expected: 'the app id is not in the expected list',
  key_provider_not_expected: 'the key provider is not in the expected list',
} as const satisfies Record<string, string>
