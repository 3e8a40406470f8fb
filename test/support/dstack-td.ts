import { createHash } from 'node:crypto'
import type { Bytes } from '@vouchgate/attestation'
import { concat, hex } from './der.ts'
import {
  bootEntry,
  registersOf,
  runtimeEntry,
  sha384Of,
  ascii,
  type DstackEntry,
} from './eventlog.ts'
import type { QuoteFields, TeeVendor } from './tee-vendor.ts'

/** What a dstack guest is started with. */
export interface DstackTdOptions {
  readonly vendor: TeeVendor
  /** `image` of the machine; one with `-dev-` lets developers in. */
  readonly image?: string
  readonly appCompose?: string
  readonly osImageHash?: string
  readonly appId?: string
  readonly gpus?: number
}

/** A TDX guest of dstack: its quotes carry registers that its event log replays to. */
export interface DstackTd {
  readonly appCompose: string
  readonly composeHash: string
  readonly osImageHash: string
  readonly appId: string
  /** What a policy expects of it: MRTD and RTMR0 to RTMR2, hex. */
  readonly platform: Readonly<Record<'mrtd' | 'rtmr0' | 'rtmr1' | 'rtmr2', string>>
  /** A test changes the log or the quote while the guest runs. */
  entries: DstackEntry[]
  fields: Omit<QuoteFields, 'reportData'>
  quote(reportData: Uint8Array): Promise<Bytes>
  info(): Record<string, unknown>
  vmConfig(): string
}

const sha256Hex = (data: Uint8Array | string): string =>
  createHash('sha256').update(data).digest('hex')

const KEY_PROVIDER = JSON.stringify({ name: 'kms', id: '3059301306072a8648ce3d0201' })

export function newDstackTd(options: DstackTdOptions): DstackTd {
  const { vendor, image = 'dstack-nvidia-0.5.5', gpus = 1 } = options
  const appCompose = options.appCompose ?? `{"manifest_version":2,"name":"${image}"}`
  const composeHash = sha256Hex(appCompose)
  const osImageHash = options.osImageHash ?? sha256Hex(image)
  const appId = options.appId ?? sha256Hex(`app of ${image}`).slice(0, 40)
  const boot = [
    ...[0, 1, 2].map((at) => bootEntry(0, `firmware ${at}`)),
    ...[0, 1].map((at) => bootEntry(1, `${image} kernel ${at}`)),
    ...[0, 1].map((at) => bootEntry(2, `${image} initrd ${at}`)),
  ]
  const launch = [
    runtimeEntry('system-preparing'),
    runtimeEntry('app-id', hex(appId)),
    runtimeEntry('compose-hash', hex(composeHash)),
    runtimeEntry('instance-id', hex('cd'.repeat(20))),
    runtimeEntry('boot-mr-done'),
    runtimeEntry('os-image-hash', hex(osImageHash)),
    runtimeEntry('key-provider', ascii(KEY_PROVIDER)),
    runtimeEntry('system-ready'),
  ]
  const mrtd = Buffer.from(sha384Of(ascii(`${image} MRTD`))).toString('hex')
  const vmConfig = JSON.stringify({ image, os_image_hash: osImageHash, num_gpus: gpus })
  const { rtmr0, rtmr1, rtmr2 } = registersOf(boot)
  const td: DstackTd = {
    appCompose,
    composeHash,
    osImageHash,
    appId,
    platform: {
      mrtd,
      rtmr0: Buffer.from(rtmr0).toString('hex'),
      rtmr1: Buffer.from(rtmr1).toString('hex'),
      rtmr2: Buffer.from(rtmr2).toString('hex'),
    },
    entries: [...boot, ...launch],
    fields: {},
    quote: (reportData) =>
      vendor.quote({
        mrtd,
        ...registersOf(td.entries),
        mrConfigId: concat(Uint8Array.of(1), hex(composeHash), new Uint8Array(15)),
        ...td.fields,
        reportData,
      }),
    info: () => ({
      app_id: appId,
      instance_id: 'cd'.repeat(20),
      app_name: image,
      device_id: sha256Hex('device'),
      os_image_hash: osImageHash,
      compose_hash: composeHash,
      key_provider_info: KEY_PROVIDER,
      tcb_info: { mrtd, app_compose: appCompose, event_log: td.entries },
      vm_config: vmConfig,
    }),
    vmConfig: () => vmConfig,
  }
  return td
}
