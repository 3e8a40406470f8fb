import {
  encodeUtf8,
  receiptSigningInput,
  toHex,
  type Receipt,
  type UnsignedReceipt,
} from '@vouchgate/attestation'
import type { ReceiptKey } from './keys.ts'

/**
 * A receipt whose content is final. It is signed once, when somebody asks for it: a signature costs more than the rest of a
 * receipt, and most are never looked up. Until then it holds the key of its own generation, so whoever keeps sealed receipts
 * must have them signed after a rotation, or the key would stay in memory with them.
 */
export class SealedReceipt {
  readonly id: string
  readonly chatId: string | null
  #key: ReceiptKey | null
  #receipt: UnsignedReceipt | Receipt

  constructor(unsigned: UnsignedReceipt, key: ReceiptKey) {
    this.id = unsigned.receipt_id
    this.chatId = unsigned.chat_id
    this.#key = key
    this.#receipt = unsigned
  }

  get isSigned(): boolean {
    return this.#key === null
  }

  /** The receipt with its signature (ACI §7.2); the key is let go. */
  signed(): Receipt {
    if ('signature' in this.#receipt) return this.#receipt
    if (this.#key === null) throw new TypeError('a receipt without a signature has its key')
    const signature = this.#key.sign(encodeUtf8(receiptSigningInput(this.#receipt)))
    const receipt: Receipt = { ...this.#receipt, signature: toHex(signature) }
    this.#receipt = receipt
    this.#key = null
    return receipt
  }
}
