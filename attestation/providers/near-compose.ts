import { jcs } from '../aci/jcs.ts'
import { concatBytes, encodeUtf8, equalBytes, fromHex, sha256, toHex } from '../bytes.ts'
import { EvidenceError } from '../errors.ts'
import type { JsonValue } from '../json.ts'
import type { AcceptedQuote } from '../tdx/verdict.ts'
import { acceptTdx } from './cpu.ts'
import type { KindInput } from './kind.ts'
import type { NearReport } from './near-report.ts'

/**
 * dstack measures a manager that starts the model's containers later, from a log of its own: MRCONFIGID says nothing
 * of them. The manager's quote must come from the same TD, or another machine's log would be shown.
 *
 * @returns the hash of the log; null where the node shows none.
 * @throws EvidenceError `provider_actions_mismatch`, and what judging its quote throws.
 */
export async function checkComposeManager(
  { compose_manager_attestation: manager }: NearReport,
  nonce: string,
  quote: AcceptedQuote,
  input: KindInput,
): Promise<string | null> {
  if (manager === null || manager === undefined) return null
  const { actions, actions_hash: stated } = manager
  const own = await acceptTdx(fromHex(manager.quote), input)
  const holds =
    (await isHashOf(stated, actions)) &&
    equalBytes(own.reportData, concatBytes(fromHex(stated), fromHex(nonce))) &&
    SAME_TD.every((register) => own.measurements[register] === quote.measurements[register])
  if (!holds) throw new EvidenceError('provider_actions_mismatch')
  return stated
}

const SAME_TD = ['mrtd', 'rtmr0', 'rtmr1', 'rtmr2', 'rtmr3', 'mrconfigid'] as const

/** Managers hash sorted members today; older ones hashed them in the order in which they declare them. */
async function isHashOf(stated: string, actions: readonly JsonValue[]): Promise<boolean> {
  for (const text of [jcs(actions), JSON.stringify(actions.map(declared))]) {
    if (toHex(await sha256(encodeUtf8(text))) === stated) return true
  }
  return false
}

const DECLARED = [
  'timestamp',
  'action',
  'tag',
  'commit',
  'file',
  'file_sha256',
  'services',
  'container',
  'image',
]

/** A member that is not declared is kept, at the end: it must change the hash. */
function declared(action: JsonValue): JsonValue {
  if (typeof action !== 'object' || action === null || Array.isArray(action)) return action
  const members = Object.entries(action)
  const place = (name: string): number => {
    const at = DECLARED.indexOf(name)
    return at === -1 ? DECLARED.length : at
  }
  return Object.fromEntries(members.toSorted(([left], [right]) => place(left) - place(right)))
}
