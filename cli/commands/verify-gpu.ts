import {
  acceptGpuEvidence,
  DEFAULT_GPU_POLICY,
  gpuRoots,
  isVerificationError,
  measureGpu,
  parseGpuEvidence,
  parseGpuNonce,
  parseSpdmReport,
  toHex,
  verifyGpuDevice,
  verifyGpuEvidence,
  type AcceptedGpuEvidence,
  type Bytes,
  type EvidenceError,
  type GenuineGpuDevice,
  type GenuineGpuEvidence,
  type GpuEvidence,
  type GpuEvidenceItem,
  type GpuPolicy,
  type NvidiaRoots,
  type PolicyError,
  type UnixSeconds,
} from '@vouchgate/attestation'
import type { Command } from 'commander'
import { EXIT, failureOf } from '../exit.ts'
import { readOcsp, readRims, type RimFolder } from '../gpu-files.ts'
import { parseMoment, readGpuPolicy, readText } from '../input.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, failureLines, type Report, type Style } from '../output.ts'

interface Options extends JsonOption {
  readonly evidence: string
  readonly nonce: string
  readonly rims?: string
  readonly ocsp?: string
  readonly at: UnixSeconds
  readonly policy?: string
}

export function addVerifyGpu(program: Command, shell: Shell): void {
  const command = program
    .command('verify-gpu')
    .description('judge NVIDIA GPU and switch evidence, offline')
    .requiredOption('--evidence <file>', 'nvidia_payload, a list of evidence, or {"evidences":[…]}')
    .requiredOption('--nonce <hex>', 'the 32 bytes the devices were asked with')
    .option('--rims <folder>', "NVIDIA's reference values: *.xml, *.swidtag")
    .option('--ocsp <folder>', 'OCSP responses, DER or base64: *.der, *.ocsp, *.resp, *.b64')
    .requiredOption('--at <time>', 'the moment to judge at: ISO 8601 or unix seconds', parseMoment)
    .option('--policy <file>', 'what to accept (default: everything is required)')
  withExample(
    command,
    'verify-gpu --evidence payload.json --nonce 5bb2…0aca --rims rims/ --ocsp ocsp/ --at 2026-11-20T00:00:00Z',
  ).action(async (options: Options) => {
    shell.finish(await execute(shell.io, options.json === true, () => verifyGpuFiles(options)))
  })
}

/** Everything that a judgement needs, read and checked for its form. */
interface Question {
  readonly evidence: GpuEvidence
  readonly nonce: Bytes
  readonly now: UnixSeconds
  readonly policy: GpuPolicy
  readonly roots: NvidiaRoots
  readonly rims: RimFolder
  readonly ocsp: readonly Bytes[]
}

async function verifyGpuFiles(options: Options): Promise<Report> {
  const policy =
    options.policy === undefined ? DEFAULT_GPU_POLICY : await readGpuPolicy(options.policy)
  const [roots, now] = [await gpuRoots(policy), options.at]
  const question = {
    nonce: parseGpuNonce(options.nonce),
    evidence: parseGpuEvidence(await readText(options.evidence)),
    now,
    policy,
    roots,
    rims:
      options.rims === undefined
        ? { rims: [], refused: [] }
        : await readRims(options.rims, now, roots),
    ocsp: options.ocsp === undefined ? [] : await readOcsp(options.ocsp),
  }
  const verdict = await judge(question)
  return report(question, verdict, await deviceRows(question, verdict.genuine))
}

interface Verdict {
  readonly genuine: GenuineGpuEvidence | null
  readonly accepted: AcceptedGpuEvidence | null
  /** Null where the evidence is accepted. */
  readonly error: VerificationError | null
}

type VerificationError = EvidenceError | PolicyError

async function judge(question: Question): Promise<Verdict> {
  let genuine: GenuineGpuEvidence | null = null
  try {
    genuine = await verifyGpuEvidence(question)
    const { now, policy, ocsp, rims } = question
    const given = { evidence: genuine, rims: rims.rims, ocsp, nras: [], now, policy }
    return { genuine, accepted: await acceptGpuEvidence(given), error: null }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return { genuine, accepted: null, error: reasonOf(error, question) }
  }
}

/** Reference values that were given and are not genuine say more than that there are none. */
function reasonOf(error: VerificationError, { rims }: Question): VerificationError {
  const [refused] = rims.refused
  const isMissing = error.code === 'gpu_rim_unavailable'
  return isMissing && refused !== undefined && isVerificationError(refused) ? refused : error
}

/** One device, as far as it proved itself; what was not proven is null. */
async function deviceRows(question: Question, genuine: GenuineGpuEvidence | null) {
  const devices = genuine?.devices ?? (await provenDevices(question))
  return devices.map((device) => (device === null ? UNPROVEN : provenRow(device, question.rims)))
}

/** Each for itself, where together they are refused. */
const provenDevices = async ({ evidence, now, roots }: Question) =>
  Promise.all(evidence.items.map(async (item) => provenDevice(item, now, roots)))

const UNPROVEN = {
  arch: null,
  kind: null,
  ueid: null,
  serial: null,
  driver: null,
  vbios: null,
  signatureValid: false,
  measurements: 'unavailable',
  mismatches: [],
} as const

/** By its own nonce and architecture, so that a replay or a wrong label is told from a forgery. */
async function provenDevice(
  item: GpuEvidenceItem,
  now: UnixSeconds,
  roots: NvidiaRoots,
): Promise<GenuineGpuDevice | null> {
  try {
    const own = { ...item, statedArch: null }
    return await verifyGpuDevice(own, parseSpdmReport(item.report).requestNonce, now, roots)
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return null
  }
}

function provenRow(device: GenuineGpuDevice, { rims }: RimFolder) {
  const { arch, kind, ueid, deviceId: serial, driver, vbios } = device
  const named = { arch, kind, ueid, serial, driver, vbios: vbios.toLowerCase() }
  return { ...named, signatureValid: true, ...measured(device, rims) }
}

function measured(device: GenuineGpuDevice, rims: RimFolder['rims']) {
  const none = { measurements: 'unavailable', mismatches: [] } as const
  try {
    const found = measureGpu(device, rims)
    if (found.status === 'unavailable') return none
    const mismatches = found.comparison.mismatches.map(({ index, source }) => ({
      goldenIndex: index,
      spdmBlock: index + 1,
      source,
    }))
    return { measurements: found.status, mismatches }
  } catch (error) {
    if (!isVerificationError(error)) throw error
    return none
  }
}

type Rows = Awaited<ReturnType<typeof deviceRows>>

function nonceMatches({ evidence, nonce }: Question, { genuine }: Verdict): boolean {
  if (genuine !== null) return true
  return evidence.items.every(({ report: bytes }) => {
    try {
      return toHex(parseSpdmReport(bytes).requestNonce) === toHex(nonce)
    } catch (error) {
      if (!isVerificationError(error)) throw error
      return false
    }
  })
}

function report(question: Question, verdict: Verdict, devices: Rows): Report {
  const { genuine, accepted, error } = verdict
  return {
    exit: error === null ? EXIT.ok : failureOf(error).exit,
    json: {
      genuine: genuine !== null,
      accepted: accepted !== null,
      devices,
      nonceMatches: nonceMatches(question, verdict),
      // GPU evidence alone says nothing of the CPU TEE beside it.
      boundToCpu: 'none',
      error: error && { code: error.code, step: error.step },
      // Said only where it is not NVIDIA's, and then always.
      ...(question.roots.kind === 'nvidia' ? {} : { trustedRoot: { kind: question.roots.kind } }),
    },
    lines: (style) => verdictLines(style, question, verdict, devices),
  }
}

function verdictLines(style: Style, question: Question, verdict: Verdict, devices: Rows): string[] {
  const { genuine, accepted, error } = verdict
  const title = genuine === null ? 'not genuine.' : 'genuine, and not accepted.'
  return [
    style.title(`The devices are ${accepted === null ? title : 'genuine and accepted.'}`),
    ...devices.map((device, at) => deviceLine(style, device, at)),
    ...(accepted === null ? [] : weaknessLines(style, accepted)),
    style.warn('Bound to no CPU TEE: this looks at GPU evidence alone.'),
    ...(question.roots.kind === 'nvidia'
      ? []
      : [style.warn('Judged under test roots, not under NVIDIA.')]),
    ...(error === null ? [] : failureLines(style, failureOf(error))),
  ]
}

function deviceLine(style: Style, device: Rows[number], at: number): string {
  if (!device.signatureValid) return style.fact(`device ${at}`, 'proved nothing')
  const { arch, serial, driver, vbios, measurements } = device
  const firmware = [driver === null ? null : `driver ${driver}`, `firmware ${vbios}`]
  const parts = [arch, serial, ...firmware, `measurements: ${measurements}`]
  return style.fact(`device ${at}`, parts.filter((part) => part !== null).join(', '))
}

/** What the policy let pass unproven, said beside what was proven. */
const weaknessLines = (style: Style, accepted: AcceptedGpuEvidence): string[] => [
  ...(accepted.measurements === 'unchecked' ? [style.warn('Firmware was not compared.')] : []),
  ...(accepted.revocation === 'unchecked' ? [style.warn('Revocation was not checked.')] : []),
  ...(accepted.platform.switchEvidence === 'absent'
    ? [style.warn('The switches between the GPUs did not prove themselves.')]
    : []),
]
