import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { XMLParser } from 'fast-xml-parser'
import { afterAll, describe, expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { type AnswerModel, answerFile } from '#windows/answer-file.ts'

const FIXTURES = fileURLToPath(new URL('../../fixtures/answer-file', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'oriel-answer-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const MODEL: AnswerModel = {
  architecture: 'x86_64',
  imageName: 'Windows Server 2025 SERVERSTANDARDCORE',
  uiLanguage: 'en-US',
  locale: 'de-DE',
  keyboard: '0407:00000407',
  password: 'Example-of-a-passw0rd',
  computerName: 'ORIEL-SETUP'
}

/** One file each: what a person gets from an evaluation disc, and what differs with other discs. */
const GOLDEN: Record<string, AnswerModel> = {
  ...Object.fromEntries(
    ['2016', '2019', '2022', '2025'].flatMap(release => [
      [`${release}-core`, { ...MODEL, imageName: `Windows Server ${release} SERVERSTANDARDCORE` }],
      [`${release}-desktop`, { ...MODEL, imageName: `Windows Server ${release} SERVERSTANDARD` }]
    ])
  ),
  '2025-core-volume': {
    ...MODEL,
    imageName: 'Windows Server 2025 SERVERDATACENTERCORE',
    // Microsoft's public key for clients of a key management service.
    productKey: 'D764K-2NDRG-47T6Q-P8T8W-YP6DF'
  },
  '11-arm64': {
    ...MODEL,
    architecture: 'aarch64',
    imageName: 'Windows 11 Enterprise',
    locale: 'ja-JP',
    keyboard: '0411:{03B5835F-F03C-411B-9CE2-AA23E1171E36}{A76C93D9-5523-4E90-AAFA-4DB112F9AC76}',
    client: true
  }
}

/** What xmllint says of a text against the schema; empty when it is valid. */
function lint(text: string): string {
  const file = join(folder, 'Autounattend.xml')
  writeFileSync(file, text)
  const { status, stderr } = spawnSync('xmllint', ['--noout', '--relaxng', join(FIXTURES, 'unattend.rng'), file], {
    encoding: 'utf8'
  })
  return status === 0 ? '' : stderr
}

interface Parsed {
  [name: string]: Parsed & string
}

/** All that one component is told in a pass, read by a parser. */
function settings(text: string, pass: string, name: string): Parsed {
  const parsed = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '@', parseTagValue: false }).parse(text)
  return parsed.unattend.settings
    .find((s: Parsed) => s['@pass'] === pass)
    .component.find((c: Parsed) => c['@name'] === `Microsoft-Windows-${name}`)
}

describe.each(Object.entries(GOLDEN))('%s', (name, model) => {
  const text = answerFile(model)

  test('is as it was reviewed', () => {
    const file = join(FIXTURES, `${name}.xml`)
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
    expect(text).toBe(readFileSync(file, 'utf8'))
  })

  test('fits the schema', () => {
    expect(lint(text)).toBe('')
  })
})

test('no reviewed file is left over', () => {
  const files = readdirSync(FIXTURES).filter(file => file.endsWith('.xml'))
  expect(files.sort()).toEqual(
    Object.keys(GOLDEN)
      .map(name => `${name}.xml`)
      .sort()
  )
})

describe('the schema refuses', () => {
  const text = answerFile(MODEL)
  test.each<[string, string | RegExp, string]>([
    ['a misspelt element', /HideEULAPage/g, 'HideEulaPage'],
    ['a computer name of 16', '>ORIEL-SETUP<', '>ORIEL-SETUP-1234<'],
    ['a computer name of digits', '>ORIEL-SETUP<', '>12345<'],
    ['an empty key', '<ProductKey>', '<ProductKey><Key></Key>'],
    ['an empty key in short', '<ProductKey>', '<ProductKey><Key/>'],
    ['a wrong pass', 'pass="specialize"', 'pass="specialise"'],
    ['a component in another pass', 'Microsoft-Windows-ServerManager-SvrMgrNc', 'Microsoft-Windows-Setup'],
    ['another namespace', 'urn:schemas-microsoft-com:unattend', 'urn:other'],
    ['a list item that does not say so', '<Disk wcm:action="add">', '<Disk>'],
    ['a size and extension', '<Extend>true</Extend>', '<Extend>true</Extend><Size>1</Size>'],
    ['a setting twice', '<DiskID>0</DiskID>', '<DiskID>0</DiskID><DiskID>0</DiskID>'],
    ['a password in plain text', '<PlainText>false', '<PlainText>true'],
    ['a command that is too long', '<CommandLine>', `<CommandLine>${'x'.repeat(200)}`],
    ['a boolean that is none', '<WillWipeDisk>true', '<WillWipeDisk>yes'],
    ['endless automatic logons', '<LogonCount>1</LogonCount>', ''],
    ['another architecture', 'amd64', 'x86_64'],
    ['a language that is none', '<UserLocale>de-DE', '<UserLocale>German']
  ])('%s', (_, from, to) => {
    const changed = text.replace(from, to)
    expect(changed).not.toBe(text)
    expect(lint(changed)).toMatch(/fails to validate/)
  })
})

test('settings in another order are as good', () => {
  const text = answerFile(MODEL)
  const turned = text.replace(/(<DiskID>0<\/DiskID>)\s*(<ModifyPartitions>.*<\/ModifyPartitions>)/s, '$2$1')
  expect(turned).not.toBe(text)
  expect(lint(turned)).toBe('')
})

test('evaluation media get no key at all, others theirs', () => {
  const userData = (text: string) => settings(text, 'windowsPE', 'Setup').UserData?.ProductKey
  expect(userData(answerFile(MODEL))).toEqual({ WillShowUI: 'OnError' })
  const key = 'TVRH6-WHNXV-R9WG3-9XRFY-MY832'
  expect(userData(answerFile({ ...MODEL, productKey: key }))).toEqual({ Key: key, WillShowUI: 'OnError' })
})

test('the passwords are hidden, and whole', () => {
  const password = `a<&">b'c ß漢𝄞 `
  const text = answerFile({ ...MODEL, password })
  expect(lint(text)).toBe('')
  expect(text).not.toContain('ß')
  const shell = settings(text, 'oobeSystem', 'Shell-Setup')
  const shown = (element: Parsed | undefined) => Buffer.from(element?.Value ?? '', 'base64').toString('utf16le')
  expect(shown(shell.AutoLogon?.Password)).toBe(`${password}Password`)
  expect(shown(shell.UserAccounts?.AdministratorPassword)).toBe(`${password}AdministratorPassword`)
})

test('names with characters of XML arrive as they are', () => {
  const imageName = `Windows <11> & "more" 'of it' ]]> ü`
  const text = answerFile({ ...MODEL, imageName })
  expect(lint(text)).toBe('')
  expect(settings(text, 'windowsPE', 'Setup').ImageInstall?.OSImage?.InstallFrom?.MetaData?.Value).toBe(imageName)
})

test('the one command of the first logon is that of the contract', () => {
  const contract = readFileSync(new URL('../../../guest/windows/CONTRACT.md', import.meta.url), 'utf8')
  const command = settings(answerFile(MODEL), 'oobeSystem', 'Shell-Setup').FirstLogonCommands?.SynchronousCommand
  expect(command?.CommandLine).toMatch(/^cmd\.exe /)
  expect(command?.CommandLine?.length).toBeLessThan(260)
  expect(contract).toContain(`\`${command?.CommandLine}\``)
})

test('only a server has a Server Manager, only a client has its checks passed by', () => {
  const client = answerFile({ ...MODEL, client: true })
  expect(client).toContain('BypassTPMCheck')
  expect(client).not.toMatch(/ServerManager|InitialConfigurationTasks/)
  expect(answerFile(MODEL)).not.toContain('LabConfig')
  expect(answerFile(MODEL)).toContain('<DoNotOpenServerManagerAtLogon>true')
})

test('the words of Setup are in a language of the disc, the rest is the person’s', () => {
  const text = answerFile({ ...MODEL, uiLanguage: 'fr-FR', locale: 'sr-Latn-RS', keyboard: '081a:0000081A' })
  expect(lint(text)).toBe('')
  const expected = {
    InputLocale: '081a:0000081A',
    SystemLocale: 'sr-Latn-RS',
    UILanguage: 'fr-FR',
    UserLocale: 'sr-Latn-RS'
  }
  expect(settings(text, 'windowsPE', 'International-Core-WinPE')).toMatchObject({
    ...expected,
    SetupUILanguage: { UILanguage: 'fr-FR' }
  })
  expect(settings(text, 'oobeSystem', 'International-Core')).toMatchObject(expected)
})

test.each<[string, Partial<AnswerModel>]>([
  ['no image', { imageName: '' }],
  ['an image with a line end', { imageName: 'Windows\nServer' }],
  ['an image with a blank before it', { imageName: ' Windows' }],
  ['half a surrogate pair', { imageName: 'Windows \ud800' }],
  ['an empty key', { productKey: '' }],
  ['a key in small letters', { productKey: 'tvrh6-whnxv-r9wg3-9xrfy-my832' }],
  ['a key that is too short', { productKey: 'TVRH6-WHNXV-R9WG3-9XRFY' }],
  ['a locale in POSIX form', { locale: 'de_DE.UTF-8' }],
  ['a language with XML', { uiLanguage: 'en-US</UILanguage>' }],
  ['a keyboard that is a language', { keyboard: 'de-DE' }],
  ['half an input method', { keyboard: '0411:{03B5835F-F03C-411B-9CE2-AA23E1171E36}' }],
  ['no password', { password: '' }],
  ['a password with a line end', { password: 'a\nb' }],
  ['a password of 128', { password: 'x'.repeat(128) }],
  ['a computer name of 16', { computerName: 'ABCDEFGHIJKLMNOP' }],
  ['a computer name of digits', { computerName: '2025' }],
  ['a computer name with a dot', { computerName: 'oriel.win' }],
  ['a computer name with a hyphen at its end', { computerName: 'ORIEL-' }],
  ['no computer name', { computerName: '' }]
])('%s is refused', (_, part) => {
  const make = () => answerFile({ ...MODEL, ...part })
  expect(make).toThrow(Fault)
  expect(make).toThrow(expect.objectContaining({ exitCode: 2 }))
})

test('a refused password is not in the message', () => {
  expect(() => answerFile({ ...MODEL, password: 'secret\n' })).toThrow(/^(?![\s\S]*secret)/)
})
