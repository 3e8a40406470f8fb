import type { AttestationReport, Keyset, UnixSeconds } from '@vouchgate/attestation'
import { Generation, type LiveGeneration } from './generation.ts'
import { HpkeKey, ReceiptKey, ServerKey } from './keys.ts'

/**
 * A generation on its way to a worker of the same gateway. The private keys are in it, so it goes through the pipe between
 * the two processes and nowhere else: never into arguments, variables, files or logs.
 */
export interface HandedGeneration {
  readonly keyset: Keyset
  /** `sha256:<hex>` */
  readonly keysetDigest: string
  readonly bornAt: UnixSeconds
  /** PEM. */
  readonly certificate: string
  /** PKCS #8 as PEM, one key per role. */
  readonly keys: { readonly tls: string; readonly receipt: string; readonly hpke: string }
  /** Over no nonce. */
  readonly report: AttestationReport
}

export function handOver(live: LiveGeneration): HandedGeneration {
  const { generation, receiptKey, hpkeKey, report } = live
  const { keyset, keysetDigest, bornAt } = generation
  const { key, cert: certificate } = generation.tls
  const keys = { tls: key, receipt: receiptKey.pem(), hpke: hpkeKey.pem() }
  return { keyset, keysetDigest, bornAt, certificate, keys, report }
}

export function takeOver({ keys, report, ...fields }: HandedGeneration): LiveGeneration {
  return {
    generation: new Generation({ ...fields, key: ServerKey.fromPem(keys.tls) }),
    receiptKey: ReceiptKey.fromPem(keys.receipt),
    hpkeKey: HpkeKey.fromPem(keys.hpke),
    report,
  }
}
