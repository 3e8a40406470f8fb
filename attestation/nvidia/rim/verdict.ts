import type { UnixSeconds } from '../../bytes.ts'
import type { NvidiaChain } from '../chain.ts'
import type { NvidiaRoots } from '../root.ts'
import type { RimDocument, RimSlot } from './document.ts'
import type { GoldenValues } from './resource.ts'

/** What reference values whose every signature held say. */
export interface RimFacts {
  readonly root: NvidiaRoots['kind']
  /** Of the document's bytes, hex. */
  readonly sha256: string
  readonly document: RimDocument
  readonly chain: NvidiaChain
  readonly validity: 'valid' | 'expired'
}

/** Whoever signed reference values; a later revision of the same values has a later signer. */
export interface RimSigner {
  readonly commonName: string | null
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
}

/**
 * Reference values that NVIDIA signed. Made only by `verifyRim`; the private field makes look-alikes fail the type
 * check and {@link is}. Whether they are the ones of a device is for `matchRims`.
 */
export class GenuineRim {
  readonly #facts: RimFacts

  constructor(facts: RimFacts) {
    this.#facts = Object.freeze(facts)
  }

  get root(): NvidiaRoots['kind'] {
    return this.#facts.root
  }

  /** Of the document's bytes, hex. NVIDIA revises documents in place, so one id may have several. */
  get sha256(): string {
    return this.#facts.sha256
  }

  /** `GH100`, `GB100`, `LS10`. */
  get product(): string {
    return this.#facts.document.product
  }

  get edition(): 'GPU' | 'SWITCH' {
    return this.#facts.document.edition
  }

  get slot(): RimSlot {
    return this.#facts.document.slot
  }

  /** As written: `550.90.07`, `96.00.9F.00.01`. */
  get version(): string {
    return this.#facts.document.version
  }

  get tagId(): string {
    return this.#facts.document.tagId
  }

  /** Active ones. Index i is for SPDM block i + 1. */
  get golden(): GoldenValues {
    return this.#facts.document.golden
  }

  get chain(): NvidiaChain {
    return this.#facts.chain
  }

  get signer(): RimSigner {
    const { commonName, notBefore, notAfter } = this.#facts.chain.leaf
    return { commonName, notBefore, notAfter }
  }

  /** `expired`: a certificate's end has passed, not that of the root. Whether that is accepted is a policy. */
  get validity(): 'valid' | 'expired' {
    return this.#facts.validity
  }

  /** The end of the first certificate to expire; in the past where `validity` is `expired`. */
  get expiresAt(): UnixSeconds {
    return Math.min(...this.#facts.chain.certificates.map(({ notAfter }) => notAfter))
  }

  static is(value: unknown): value is GenuineRim {
    return typeof value === 'object' && value !== null && #facts in value
  }
}
