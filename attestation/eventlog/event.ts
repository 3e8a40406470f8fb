import { equalBytes, sha384, type Bytes } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'

export type Rtmr = 0 | 1 | 2 | 3

/**
 * What stands beside a digest. `measured` bytes are exactly those whose SHA-384 is the digest, so a log that
 * replays proves them; a `label` is text by whoever wrote the log and proves nothing. The event's type is never
 * measured: the same bytes can be told under another one.
 */
export interface EventContent {
  readonly status: 'measured' | 'label'
  readonly bytes: Bytes
}

/** A TCG event of firmware, boot loader or kernel. */
export interface BootEvent {
  readonly kind: 'boot'
  readonly rtmr: Rtmr
  /** The TCG event type. */
  readonly type: number
  /** 48 bytes: what the register was extended with. */
  readonly digest: Bytes
  readonly content: EventContent
}

/** A dstack runtime event. Its digest was computed from name and payload, so both are measured. */
export interface RuntimeEvent {
  readonly kind: 'runtime'
  readonly rtmr: Rtmr
  readonly digest: Bytes
  readonly name: string
  readonly payload: Bytes
}

export type LogEvent = BootEvent | RuntimeEvent

/** A log that was read and, where digests can be computed, agrees with itself. Not yet compared with a quote. */
export interface EventLog {
  readonly format: 'ccel' | 'dstack'
  readonly events: readonly LogEvent[]
}

export const MAX_LOG_LENGTH = 1 << 22
export const MAX_EVENTS = 10_000
export const DIGEST_LENGTH = 48

/** Which part of an event's data its digest covers, and what to do where it covers none. */
interface Rule {
  readonly parts: (data: Bytes) => readonly Bytes[]
  readonly otherwise: 'refuse' | 'label'
}

const whole = (data: Bytes): readonly Bytes[] => [data]
const DEFINED: Rule = { parts: whole, otherwise: 'refuse' }

/** TCG PC Client Platform Firmware Profile §10.4.1: the event types whose digest is defined by their data. */
const RULES: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [0x0000_0004, DEFINED], // EV_SEPARATOR
  [0x0000_0005, DEFINED], // EV_ACTION
  // The kernel's tags name what was measured (EFI stub: load options, initrd); others hold it.
  [0x0000_0006, { parts: whole, otherwise: 'label' }], // EV_EVENT_TAG
  [0x0000_000d, { parts: loaderTexts, otherwise: 'label' }], // EV_IPL
  [0x8000_0001, DEFINED], // EV_EFI_VARIABLE_DRIVER_CONFIG
  [0x8000_0002, { parts: variableParts, otherwise: 'refuse' }], // EV_EFI_VARIABLE_BOOT
  [0x8000_0006, DEFINED], // EV_EFI_GPT_EVENT
  [0x8000_0007, DEFINED], // EV_EFI_ACTION
  [0x8000_000c, DEFINED], // EV_EFI_VARIABLE_BOOT2
  [0x8000_00e0, DEFINED], // EV_EFI_VARIABLE_AUTHORITY
])

/**
 * A boot event whose content has been compared with its digest. Empty data is a label: dstack strips it.
 *
 * @throws EvidenceError `eventlog_digest_mismatch` where the type defines the digest and it is another.
 */
export async function bootEvent(event: {
  readonly rtmr: Rtmr
  readonly type: number
  readonly digest: Bytes
  readonly data: Bytes
}): Promise<BootEvent> {
  const { data, ...rest } = event
  return { kind: 'boot', ...rest, content: await contentOf(event.type, event.digest, data) }
}

async function contentOf(type: number, digest: Bytes, data: Bytes): Promise<EventContent> {
  const rule = RULES.get(type)
  if (rule === undefined || data.length === 0) return { status: 'label', bytes: data }
  for (const bytes of rule.parts(data)) {
    if (equalBytes(await sha384(bytes), digest)) return { status: 'measured', bytes }
  }
  if (rule.otherwise === 'refuse') throw new EvidenceError('eventlog_digest_mismatch')
  return { status: 'label', bytes: data }
}

/**
 * UEFI_VARIABLE_DATA: GUID, name length in UTF-16 units (u64), data length (u64), name, data. Firmware hashes
 * the data alone for boot variables, so the name beside it is not measured.
 */
function variableParts(data: Bytes): readonly Bytes[] {
  const HEADER = 32
  if (data.length < HEADER) return [data]
  const view = new DataView(data.buffer, data.byteOffset)
  const value = BigInt(HEADER) + 2n * view.getBigUint64(16, true)
  const end = value + view.getBigUint64(24, true)
  return end === BigInt(data.length) ? [data.slice(Number(value)), data] : [data]
}

/**
 * GRUB and shim measure a text and log it behind a prefix (`grub_cmd: `, `kernel_cmdline: `) and before a NUL.
 * The prefix is not measured: only what follows it can be relied on.
 */
function loaderTexts(data: Bytes): readonly Bytes[] {
  const nul = data.indexOf(0)
  const text = nul === -1 ? data : data.slice(0, nul)
  return [data, text, text.slice(text.indexOf(0x20) + 1)]
}
