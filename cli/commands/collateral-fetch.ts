import {
  collateralIssuedAt,
  collateralKey,
  collateralName,
  formatTime,
  INTEL_SGX_ROOT,
  renewCollateral,
  testPkiRoot,
  verifyCollateral,
  type CollateralKey,
  type Renewal,
  type TrustedRoot,
} from '@vouchgate/attestation'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { INTEL_PCS_URL, pcsFetch } from '../../client/index.ts'
import { readBundle, writeAtomically, writeBundle, type Bundle } from '../collateral-file.ts'
import { CliError } from '../errors.ts'
import { EXIT } from '../exit.ts'
import { readQuote, readText } from '../input.ts'
import { withExample, type JsonOption, type Shell } from '../options.ts'
import { execute, type Report } from '../output.ts'

interface Options extends JsonOption {
  readonly quote?: string
  readonly fmspc?: string
  readonly ca?: CollateralKey['ca']
  readonly tee: CollateralKey['tee']
  readonly out?: string
  readonly bundle?: string
  readonly pcs: string
  readonly trustedRoot?: string
}

const TIMEOUT_MS = 20_000

export function addCollateral(program: Command, shell: Shell): void {
  const collateral = program
    .command('collateral')
    .description('the signed documents that quotes are judged by')
  const command = collateral
    .command('fetch')
    .description('fetch and verify the collateral of one platform, and keep it in a file')
    .option('--quote <file>', 'a quote of the platform: raw bytes, hex or base64')
    .option('--fmspc <hex>', 'the platform, where there is no quote: 12 hex digits', parseFmspc)
    .addOption(caOption())
    .addOption(teeOption())
    .option('--out <file>', 'one collateral document, as `verify-quote --collateral` takes it')
    .option('--bundle <file>', 'add it to the bundle that a gateway starts from')
    .option('--pcs <url>', "Intel's service or a mirror of it", INTEL_PCS_URL)
    .option('--trusted-root <pem>', "a test PKI's root in place of Intel's; no proof of hardware")
  withExample(
    command,
    'collateral fetch --fmspc 90c06f000000 --ca platform --out collateral.json',
  ).action(async (options: Options) => {
    shell.finish(await execute(shell.io, options.json === true, () => fetch(options, shell)))
  })
}

const caOption = () =>
  new Option('--ca <name>', 'the CA of its PCK certificate').choices(['platform', 'processor'])

const teeOption = () =>
  new Option('--tee <name>', 'what it runs, where there is no quote')
    .choices(['tdx', 'sgx'])
    .default('tdx')

function parseFmspc(text: string): string {
  if (!/^[0-9a-fA-F]{12}$/.test(text)) throw new InvalidArgumentError('an FMSPC is 12 hex digits.')
  return text.toLowerCase()
}

async function fetch(options: Options, { io }: Shell): Promise<Report> {
  const { out, bundle: bundlePath, pcs } = options
  if (out === undefined && bundlePath === undefined) throw new CliError('output_required')
  if (URL.parse(pcs) === null) throw new CliError('url_malformed')
  const key = await platformOf(options)
  const root =
    options.trustedRoot === undefined
      ? INTEL_SGX_ROOT
      : await testPkiRoot(await readText(options.trustedRoot))
  const bundle = bundlePath === undefined ? new Map() : await readBundle(bundlePath)
  const now = io.clock.now()
  const held = await heldIn(bundle, key, root, now)
  const collateral = await pcsFetch({ baseUrl: pcs, timeoutMs: TIMEOUT_MS, clock: io.clock })(key)
  const renewal = await renewCollateral(held, { collateral, key, now, trustedRoot: root })
  const taken = renewal.verified.collateral
  if (out !== undefined) await writeAtomically(out, `${JSON.stringify(taken, null, 2)}\n`)
  if (bundlePath !== undefined) {
    await writeBundle(bundlePath, bundle.set(collateralName(key), { key, collateral: taken }))
  }
  return report(key, renewal, root)
}

async function platformOf({ quote, fmspc, ca, tee }: Options): Promise<CollateralKey> {
  if (quote === undefined) {
    if (fmspc === undefined || ca === undefined) throw new CliError('platform_required')
    return { tee, fmspc, ca }
  }
  if (fmspc !== undefined || ca !== undefined) throw new CliError('platform_required')
  return collateralKey(await readQuote(quote))
}

/** What the bundle has of this platform, expired or not: nothing older may take its place. */
async function heldIn(bundle: Bundle, key: CollateralKey, trustedRoot: TrustedRoot, now: number) {
  const entry = bundle.get(collateralName(key))
  if (entry === undefined) return null
  const { collateral } = entry
  const at = Math.min(now, collateralIssuedAt(collateral))
  return verifyCollateral({ collateral, key, now: at, trustedRoot })
}

function report(key: CollateralKey, { verified, older }: Renewal, root: TrustedRoot): Report {
  const { tcb_info: tcbInfo, qe_identity: qeIdentity } = verified.editions
  const expiresAt = formatTime(verified.expiresAt)
  const evaluationDataNumber = Math.min(
    tcbInfo.evaluationDataNumber,
    qeIdentity.evaluationDataNumber,
  )
  return {
    exit: EXIT.ok,
    json: {
      ok: true,
      platform: collateralName(key),
      expiresAt,
      tcbEvaluationDataNumber: evaluationDataNumber,
      keptNewer: older,
      ...(root.kind === 'intel' ? {} : { trustedRoot: { kind: root.kind, sha256: root.sha256 } }),
    },
    lines: (style) => [
      style.good('The collateral holds and is kept.'),
      style.fact('platform', collateralName(key)),
      style.fact('TCB evaluation', String(evaluationDataNumber)),
      style.fact('valid until', expiresAt),
      ...older.map((part) =>
        style.warn(`The service offers an older ${part}: the newer one is kept.`),
      ),
      ...(root.kind === 'intel' ? [] : [style.warn('Judged under a test root, not under Intel.')]),
    ],
  }
}
