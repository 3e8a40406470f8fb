interface Mount {
  readonly point: string
  readonly type: string
  readonly writable: boolean
}

/** Kept in memory or made by the kernel; what is written there is gone with the guest. */
const MEMORY_TYPES = new Set([
  'bpf',
  'cgroup',
  'cgroup2',
  'configfs',
  'debugfs',
  'devpts',
  'devtmpfs',
  'fusectl',
  'hugetlbfs',
  'mqueue',
  'proc',
  'ramfs',
  'securityfs',
  'sysfs',
  'tmpfs',
  'tracefs',
])

/** `/proc/self/mounts`: device, mount point, type, options, two numbers (proc_pid_mounts(5)). */
function parseMounts(text: string): Mount[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, point = '', type = '', options = ''] = line.split(' ')
      return { point, type, writable: !options.split(',').includes('ro') }
    })
}

/**
 * A file system of any other type may end on a disk: block devices, but also an overlay, whose upper directory
 * cannot be seen from inside a container, and shares of the host.
 */
export const hasNoWritableDisk = (mounts: string): boolean =>
  parseMounts(mounts).every(({ type, writable }) => !writable || MEMORY_TYPES.has(type))

/** Some files are written to the working directory whatever `--permission` says (trace events, heap snapshots). */
export function isReadOnly(mounts: string, path: string): boolean {
  const above = parseMounts(mounts).filter(({ point }) => isWithin(path, point))
  const longest = Math.max(...above.map(({ point }) => point.length))
  // The last of several mounts on one point is the one that is seen.
  const mount = above.findLast(({ point }) => point.length === longest)
  return mount !== undefined && !mount.writable
}

const isWithin = (path: string, point: string): boolean =>
  path === point || path.startsWith(point.endsWith('/') ? point : `${point}/`)
