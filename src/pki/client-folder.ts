import { join } from 'node:path'

/** The folder with ca.pem, cert.pem and key.pem for docker clients, as in DOCKER_CERT_PATH. */
export function clientFolder(folder: string): string {
  return join(folder, 'client')
}
