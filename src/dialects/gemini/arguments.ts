import type { JsonValue } from '@vouchgate/attestation'
import { GatewayError } from '../../errors.ts'
import { listAt, textAt, writeJson } from '../loose.ts'
import { member } from '../json.ts'

/** Arguments that come piece by piece (`partialArgs`), each with a path such as `$.operations[0].action`. */
type Node = { readonly kind: 'object'; readonly members: Map<string, Node> } | List | Leaf
interface List {
  readonly kind: 'list'
  readonly items: Node[]
}
interface Leaf {
  readonly kind: 'leaf'
  value: JsonValue
  /** A text that the next piece with its path goes on. */
  open: boolean
}

const MAX_DEPTH = 32
const MAX_LENGTH = 8 << 20
const STEP = /\.([^.[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]/y

const malformed = (): GatewayError => new GatewayError('upstream_malformed')

function steps(path: string): (string | number)[] {
  if (!path.startsWith('$')) throw malformed()
  const found: (string | number)[] = []
  STEP.lastIndex = 1
  while (STEP.lastIndex < path.length) {
    const match = STEP.exec(path)
    if (match === null || found.length === MAX_DEPTH) throw malformed()
    const [, name, index, single, double] = match
    const quoted = (single ?? double)?.replaceAll(/\\(.)/g, '$1')
    found.push(index === undefined ? (name ?? quoted ?? '') : Number(index))
  }
  return found
}

const emptyFor = (step: string | number | undefined): Node => {
  if (step === undefined) return { kind: 'leaf', value: null, open: false }
  return typeof step === 'number'
    ? { kind: 'list', items: [] }
    : { kind: 'object', members: new Map() }
}

/** The child at a step, made where there is none. A list grows by one at a time. */
function child(node: Node, step: string | number, next: string | number | undefined): Node {
  if (node.kind === 'object' && typeof step === 'string') {
    const found = node.members.get(step) ?? emptyFor(next)
    node.members.set(step, found)
    return found
  }
  if (node.kind !== 'list' || typeof step !== 'number' || step > node.items.length)
    throw malformed()
  const found = node.items[step] ?? emptyFor(next)
  node.items[step] = found
  return found
}

function write(node: Node): string {
  if (node.kind === 'leaf') return writeJson(node.value, 'upstream_malformed')
  if (node.kind === 'list') return `[${node.items.map(write).join(',')}]`
  const members = [...node.members].map(([name, one]) => `${JSON.stringify(name)}:${write(one)}`)
  return `{${members.join(',')}}`
}

const scalar = (piece: JsonValue): JsonValue =>
  member(piece, 'numberValue') ?? member(piece, 'boolValue') ?? null

export class PartialArguments {
  readonly #root: Node = { kind: 'object', members: new Map() }
  #length = 0

  /** Takes the `partialArgs` of one part. Throws `upstream_malformed`. */
  add(call: JsonValue): void {
    for (const piece of listAt(call, 'partialArgs')) this.#piece(piece)
  }

  /** The whole arguments as JSON. */
  text(): string {
    return write(this.#root)
  }

  #piece(piece: JsonValue): void {
    const path = steps(textAt(piece, 'jsonPath') ?? '')
    let node = this.#root
    for (const [index, step] of path.entries()) node = child(node, step, path[index + 1])
    if (node.kind !== 'leaf') throw malformed()
    const text = textAt(piece, 'stringValue')
    this.#length += path.length + (text?.length ?? 1)
    if (this.#length > MAX_LENGTH) throw malformed()
    if (text === null) node.value = scalar(piece)
    else node.value = node.open && typeof node.value === 'string' ? node.value + text : text
    node.open = member(piece, 'willContinue') === true
  }
}
