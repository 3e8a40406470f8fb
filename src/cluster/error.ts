const CLUSTER_ERRORS = {
  workers_not_permitted:
    'workers is more than 1, and this process may not start others: start it with launch.sh --workers',
  worker_failed: 'a worker could not be started',
  listen_failed: 'the address cannot be listened on',
} as const satisfies Record<string, string>

export type ClusterErrorCode = keyof typeof CLUSTER_ERRORS

/** Several processes could not become one gateway. The message comes from the table. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ClusterErrorCode

  constructor(code: ClusterErrorCode) {
    super(CLUSTER_ERRORS[code])
    this.code = code
  }
}
