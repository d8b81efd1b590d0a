export { OssConflictError, OssError, OssServiceError } from './errors.ts'
