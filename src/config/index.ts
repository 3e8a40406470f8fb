export {
  ConfigError,
  isAttested,
  type AttestedProvider,
  type Confidentiality,
  type Config,
  type ConfigProblem,
  type Key,
  type Model,
  type PlainProvider,
  type Provider,
  type Route,
} from './config.ts'
export { describeConfig } from './describe.ts'
export { demandsOf } from './describe-provider.ts'
export { loadConfig } from './load.ts'
export { parseConfig } from './parse.ts'
