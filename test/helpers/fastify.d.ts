// Types of the part of Fastify that an example uses. Fastify is not installed with the other packages.

declare module 'fastify' {
  interface Server {
    get(path: string, handler: () => Promise<string>): void
    listen(options: { port: number }): Promise<string>
    close(): Promise<void>
  }

  export default function fastify(options: {
    logger: { stream: { write(line: string): unknown } }
  }): Server
}
