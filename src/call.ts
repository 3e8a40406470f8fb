import type { Clock } from '@vouchgate/attestation'
import type { Enclave } from '../enclave/index.ts'
import type { Config, Model } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { ProviderId, Random, ReceiptId, RequestId } from './ids.ts'
import type { Principal } from './keys.ts'
import type { Logger } from './log.ts'
import type { Metrics } from './metrics.ts'
import { bodyHash, promptBytes, type Prompt } from './prompt.ts'
import type { Operation } from './operations.ts'
import type { ReceiptStore } from './receipt-store.ts'
import { ReceiptBuilder } from './receipts.ts'
import type { Answer } from './relay.ts'
import type { Routing } from './routing.ts'
import type { ClientResponse } from './response.ts'
import type { Tenant, TenantNames } from './tenant.ts'
import { VerificationRefused } from './upstream/failure.ts'
import type { Upstream } from './upstream/upstream.ts'

/** What every prompt shares. */
export interface Pipeline {
  readonly config: Config
  readonly clock: Clock
  readonly enclave: Enclave
  readonly upstreams: ReadonlyMap<ProviderId, Upstream>
  readonly routing: Routing
  readonly tenants: TenantNames
  readonly receipts: ReceiptStore
  readonly log: Logger
  readonly metrics: Metrics
  readonly random: Random
}

export interface PromptCallFields {
  readonly requestId: RequestId
  readonly operation: Operation
  readonly receiptId: ReceiptId
  readonly principal: Principal
  readonly prompt: Prompt
  /** Of the body as it arrived. */
  readonly contentType: string
  readonly response: ClientResponse
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal
}

/** One prompt request, from its body to its sealed receipt. */
export class PromptCall {
  readonly requestId: RequestId
  readonly operation: Operation
  readonly principal: Principal
  readonly prompt: Prompt
  readonly contentType: string
  readonly response: ClientResponse
  readonly signal: AbortSignal
  readonly receipt: ReceiptBuilder
  /** `sha256:<hex>` of the body as it arrived. */
  readonly receivedHash: string
  readonly tenant: Tenant
  /** When the whole answer must be there, by `performance.now()`; null for no such limit. */
  readonly #deadline: number | null
  readonly #pipeline: Pipeline
  #model: Model | null = null
  #sealed = false

  constructor(pipeline: Pipeline, fields: PromptCallFields) {
    this.#pipeline = pipeline
    this.requestId = fields.requestId
    this.operation = fields.operation
    this.principal = fields.principal
    this.prompt = fields.prompt
    this.contentType = fields.contentType
    this.response = fields.response
    this.signal = fields.signal
    const { total_seconds: total } = pipeline.config.limits
    this.#deadline = total === null ? null : performance.now() + 1000 * total
    this.tenant = pipeline.tenants.of(fields.principal.team)
    this.receivedHash = bodyHash(fields.prompt)
    this.receipt = new ReceiptBuilder(fields.receiptId, this.receivedHash)
  }

  get sealed(): boolean {
    return this.#sealed
  }

  /** Only a configured model's name may be logged; what a client asks for can be anything. */
  admitted(model: Model): void {
    this.#model = model
  }

  /** The model that the prompt was admitted to. */
  get model(): Model {
    if (this.#model === null) throw new GatewayError('internal')
    return this.#model
  }

  /** Milliseconds until the whole answer must be there; null for no such limit. */
  get leftMs(): number | null {
    return this.#deadline === null ? null : Math.max(0, this.#deadline - performance.now())
  }

  get expired(): boolean {
    return this.leftMs === 0
  }

  /** Silent streams are kept open from now on. */
  keepAlive(stream: boolean): void {
    const { keep_alive_seconds: seconds } = this.#pipeline.config.limits
    const { convertible, name } = this.operation
    if (!stream || seconds === 0 || !(convertible || name === 'completions')) return
    this.response.keepAlive(1000 * seconds)
  }

  trying(provider: ProviderId): void {
    this.receipt.retrying()
    this.response.trying(provider)
  }

  abandoned(provider: ProviderId, error: GatewayError): void {
    const { log, metrics } = this.#pipeline
    const { code } = error
    this.response.attempted(code)
    this.receipt.abandoned(
      provider,
      code,
      error instanceof VerificationRefused ? error.reason : null,
    )
    metrics.add('vouchgate_attempts_failed_total', { provider, code })
    log({ event: 'attempt_failed', request: this.requestId, provider, code })
  }

  /** Signs and keeps the receipt, and accounts for the request. Called once, before the last byte leaves. */
  seal(answer: Answer, returnedHash: string): void {
    // First, so that a receipt that cannot be signed is not tried twice.
    this.#sealed = true
    const { enclave, receipts, clock, log, metrics } = this.#pipeline
    const { end, code, chatId, usage } = answer
    if (chatId !== null) this.receipt.answeredAs(chatId)
    const receipt = enclave.sign(this.receipt.finish(returnedHash, end, clock.now()))
    receipts.add(receipt, this.principal.sha256, this.receipt.session)
    metrics.add('vouchgate_prompts_total', { end, code: code ?? 'none' })
    if (usage !== null) {
      metrics.add('vouchgate_tokens_total', { kind: 'prompt' }, usage.prompt)
      metrics.add('vouchgate_tokens_total', { kind: 'completion' }, usage.completion)
    }
    log({
      event: 'prompt_done',
      request: this.requestId,
      receipt: this.receipt.id,
      key: this.principal.id,
      model: this.#model?.name ?? null,
      end,
      code,
      status: this.response.status,
      requestBytes: promptBytes(this.prompt),
      responseBytes: this.response.bytes,
    })
  }
}
