import type { Clock } from '@vouchgate/attestation'
import type { Enclave } from '../enclave/index.ts'
import type { Config, Model, Route } from './config/index.ts'
import { GatewayError } from './errors.ts'
import type { ProviderId, Random, ReceiptId, RequestId } from './ids.ts'
import type { Principal } from './keys.ts'
import type { Logger } from './log.ts'
import { meter } from './metering.ts'
import type { Metrics } from './metrics.ts'
import { bodyHash, promptBytes, type Prompt } from './prompt.ts'
import type { Operation } from './operations.ts'
import { usdText } from './prices/cost.ts'
import type { Prices } from './prices/prices.ts'
import type { ReceiptStore } from './receipt-store.ts'
import { ReceiptBuilder } from './receipts.ts'
import type { Answer } from './answer-sink.ts'
import type { Routing } from './routing.ts'
import type { ClientResponse } from './response.ts'
import type { Tenant, TenantNames } from './tenant.ts'
import type { PromptTrace } from './telemetry/prompt-trace.ts'
import type { Telemetry } from './telemetry/telemetry.ts'
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
  readonly prices: Prices
  readonly telemetry: Telemetry
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
  /** The header `anthropic-beta` where the client speaks Anthropic's API, else nothing. */
  readonly betas: string
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
  readonly betas: string
  readonly response: ClientResponse
  readonly signal: AbortSignal
  readonly receipt: ReceiptBuilder
  /** `sha256:<hex>` of the body as it arrived. */
  readonly receivedHash: string
  readonly tenant: Tenant
  /** When the whole answer must be there, by `performance.now()`; null for no such limit. */
  readonly #deadline: number | null
  readonly #pipeline: Pipeline
  /** Null where no telemetry is wanted. */
  readonly #trace: PromptTrace | null
  #model: Model | null = null
  #route: Route | null = null
  #sealed = false

  constructor(pipeline: Pipeline, fields: PromptCallFields) {
    this.#pipeline = pipeline
    this.requestId = fields.requestId
    this.operation = fields.operation
    this.principal = fields.principal
    this.prompt = fields.prompt
    this.contentType = fields.contentType
    this.betas = fields.betas
    this.response = fields.response
    this.signal = fields.signal
    const { total_seconds: total } = pipeline.config.limits
    this.#deadline = total === null ? null : performance.now() + 1000 * total
    this.tenant = pipeline.tenants.of(fields.principal.team)
    this.receivedHash = bodyHash(fields.prompt)
    this.#trace = pipeline.telemetry.prompt(fields.operation.name)
    this.receipt = new ReceiptBuilder({
      id: fields.receiptId,
      endpoint: `/v1${fields.operation.path}`,
      received: this.receivedHash,
    })
  }

  get sealed(): boolean {
    return this.#sealed
  }

  /** Only a configured model's name may be logged; what a client asks for can be anything. */
  admitted(model: Model): void {
    this.#model = model
    this.#trace?.admitted(model)
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

  /** This provider is asked next. */
  trying(route: Route): void {
    this.receipt.retrying()
    this.response.trying(route.provider)
    this.#route = route
    this.#trace?.attempting(route.provider)
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
    this.#trace?.abandoned(code)
    log({ event: 'attempt_failed', request: this.requestId, provider, code })
  }

  /** Fixes and keeps the receipt, and accounts for the request. Called once, before the last byte leaves. */
  seal(answer: Answer, returnedHash: string): void {
    // First, so that a receipt that cannot be sealed is not tried twice.
    this.#sealed = true
    const { enclave, receipts, clock, log, metrics } = this.#pipeline
    const { end, code, chatId, usage } = answer
    // Before the receipt, without which there may be no answer: it has cost the same.
    const costMicroUsd = this.#meter(answer)
    this.#trace?.end({ end, code, usage, costMicroUsd })
    if (costMicroUsd !== null) {
      this.response.lateHeader('x-vouchgate-cost-usd', usdText(costMicroUsd))
    }
    if (chatId !== null) this.receipt.answeredAs(chatId)
    const receipt = enclave.seal(this.receipt.finish(returnedHash, end, clock.now()))
    receipts.add(receipt, this.principal.sha256, this.receipt.session)
    metrics.add('vouchgate_prompts_total', { end, code: code ?? 'none' })
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

  /** Nothing where no prompt was sent. */
  #meter(answer: Answer): number | null {
    const { principal, requestId: request } = this
    const model = this.#model
    const route = this.#route
    if (model === null || route === null || !this.receipt.sent) return null
    return meter(this.#pipeline, { request, principal, model: model.name, route, answer })
  }
}
