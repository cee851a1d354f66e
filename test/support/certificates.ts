import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runOk } from './command.ts'

/** Folders with ca.pem, cert.pem and key.pem, as docker and dockerd want them. */
export interface Certificates {
  server: string
  client: string
  /** As `client`, from an authority that the engine does not know. It trusts the real one. */
  stranger: string
  /** As `client`, and over since yesterday. */
  expired: string
}

/** Makes certificates for a server at 127.0.0.1, or by another name, with openssl, below `folder`. */
export async function makeCertificates(folder: string, name = 'IP:127.0.0.1'): Promise<Certificates> {
  const authority = await makeAuthority(join(folder, 'authority'))
  const other = await makeAuthority(join(folder, 'other-authority'))
  const make = async (name: string, from: string, extensions: string, days = ['-days', '2']) => {
    const target = join(folder, name)
    mkdirSync(target)
    await newKey(target)
    await runOk('openssl', [
      'req',
      '-new',
      '-key',
      `${target}/key.pem`,
      '-subj',
      `/CN=${name}`,
      '-out',
      `${target}/csr`
    ])
    writeFileSync(join(target, 'extensions'), extensions)
    const signing = ['-CA', `${from}/ca.pem`, '-CAkey', `${from}/key.pem`, '-CAcreateserial']
    const what = ['-in', `${target}/csr`, '-extfile', `${target}/extensions`, '-out', `${target}/cert.pem`]
    await runOk('openssl', ['x509', '-req', '-sha256', ...signing, ...what, ...days])
    copyFileSync(join(authority, 'ca.pem'), join(target, 'ca.pem'))
    return target
  }
  const ofClient = 'extendedKeyUsage=clientAuth'
  return {
    server: await make('server', authority, `subjectAltName=${name}\nextendedKeyUsage=serverAuth`),
    client: await make('client', authority, ofClient),
    stranger: await make('stranger', other, ofClient),
    expired: await make('expired', authority, ofClient, ['-days', '-1'])
  }
}

async function makeAuthority(folder: string): Promise<string> {
  mkdirSync(folder)
  await newKey(folder)
  const what = ['-x509', '-sha256', '-days', '2', '-key', `${folder}/key.pem`, '-out', `${folder}/ca.pem`]
  await runOk('openssl', ['req', ...what, '-subj', `/CN=${folder.split('/').at(-1)}`])
  return folder
}

function newKey(folder: string): Promise<string> {
  return runOk('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${folder}/key.pem`])
}
