#!/usr/bin/env -S node --conditions=vouchgate-source
// Parses on any Node: an older one would otherwise fail on the first type annotation, with a syntax error.
const major = Number(process.versions.node.split('.')[0])
if (major < 26) {
  process.stderr.write(`vouchgate needs Node 26 or later; this is Node ${process.versions.node}.\n`)
  process.exitCode = 1
} else {
  await import('../cli/main.ts')
}
