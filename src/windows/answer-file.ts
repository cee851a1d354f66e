import { XMLBuilder } from 'fast-xml-parser'
import { Fault } from '#lib/fault.ts'
import { checkComputerName } from './computer-name.ts'
import { PRODUCT_KEY } from './product-key.ts'

// Components, settings and their limits: https://learn.microsoft.com/windows-hardware/customize/desktop/unattend/

/** What Windows Setup is to install, and how. */
export interface AnswerModel {
  architecture: 'x86_64' | 'aarch64'
  /** The NAME of an image in the disc's install.wim: `Windows Server 2025 SERVERSTANDARDCORE`. */
  imageName: string
  /** Absent for evaluation media: an empty key stops their Setup. */
  productKey?: string
  /** A language that is on the disc; Setup stops and asks when it is not. */
  uiLanguage: string
  /** How dates and numbers are written, and the code page of old programs: `de-DE`. */
  locale: string
  /** Language and layout: `0407:00000407`. */
  keyboard: string
  /** Of Administrator, for the time of the set-up. */
  password: string
  computerName: string
  /** Windows 11, which has no Server Manager, and whose Setup would ask for a TPM. */
  client?: boolean
}

type Xml = { [name: string]: Xml | readonly Xml[] | string | number | boolean }

// What is stored of a first-logon command are 259 characters: Windows skips a longer one without a word.
const COMMAND_LENGTH = 259

// guest/windows/CONTRACT.md has the same line.
const FIRST_LOGON_COMMAND = String.raw`cmd.exe /c for %d in (D E F G H) do if exist %d:\oriel\setup.ps1 powershell.exe -NoProfile -ExecutionPolicy Bypass -File %d:\oriel\setup.ps1`

// Microsoft asks for 260 MB where a disk may have sectors of 4096 bytes, since FAT32 takes no less there; 200 would do on
// others. It is the size that fits all, and next to the rest of the disk it is nothing.
const EFI_MEGABYTES = 260
const MSR_MEGABYTES = 16

/** The text of Autounattend.xml. The same model gives the same text. Fault 2 for a value that Windows Setup does not take. */
export function answerFile(model: AnswerModel): string {
  checkModel(model)
  const component = (name: string, settings: Xml): Xml => ({
    '@name': name,
    '@processorArchitecture': model.architecture === 'x86_64' ? 'amd64' : 'arm64',
    '@publicKeyToken': '31bf3856ad364e35',
    '@language': 'neutral',
    '@versionScope': 'nonSxS',
    ...settings
  })
  const international = {
    InputLocale: model.keyboard,
    SystemLocale: model.locale,
    UILanguage: model.uiLanguage,
    UserLocale: model.locale
  }
  const builder = new XMLBuilder({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    suppressBooleanAttributes: false,
    format: true
  })
  return builder.build({
    '?xml': { '@version': '1.0', '@encoding': 'utf-8' },
    unattend: {
      '@xmlns': 'urn:schemas-microsoft-com:unattend',
      '@xmlns:wcm': 'http://schemas.microsoft.com/WMIConfig/2002/State',
      settings: [
        {
          '@pass': 'windowsPE',
          component: [
            component('Microsoft-Windows-International-Core-WinPE', {
              ...international,
              SetupUILanguage: { UILanguage: model.uiLanguage }
            }),
            component('Microsoft-Windows-Setup', setup(model))
          ]
        },
        { '@pass': 'specialize', component: specialize(model).map(([name, settings]) => component(name, settings)) },
        {
          '@pass': 'oobeSystem',
          component: [
            // Without the same again the first start asks for it.
            component('Microsoft-Windows-International-Core', international),
            component('Microsoft-Windows-Shell-Setup', firstStart(model))
          ]
        }
      ]
    }
  })
}

function setup({ client, imageName, productKey }: AnswerModel): Xml {
  return {
    DiskConfiguration: {
      Disk: {
        ...ADD,
        CreatePartitions: {
          CreatePartition: [
            { ...ADD, Order: 1, Size: EFI_MEGABYTES, Type: 'EFI' },
            { ...ADD, Order: 2, Size: MSR_MEGABYTES, Type: 'MSR' },
            // The last on the disk, so that it can grow with it; hence no partition for recovery.
            { ...ADD, Extend: true, Order: 3, Type: 'Primary' }
          ]
        },
        DiskID: 0,
        ModifyPartitions: {
          ModifyPartition: [
            { ...ADD, Format: 'FAT32', Label: 'System', Order: 1, PartitionID: 1 },
            { ...ADD, Order: 2, PartitionID: 2 },
            { ...ADD, Format: 'NTFS', Label: 'Windows', Letter: 'C', Order: 3, PartitionID: 3 }
          ]
        },
        WillWipeDisk: true
      },
      WillShowUI: 'OnError'
    },
    DynamicUpdate: { Enable: false, WillShowUI: 'OnError' },
    ImageInstall: {
      OSImage: {
        InstallFrom: { MetaData: { ...ADD, Key: '/IMAGE/NAME', Value: imageName } },
        InstallTo: { DiskID: 0, PartitionID: 3 },
        WillShowUI: 'OnError'
      }
    },
    ...(client === true ? { RunSynchronous: runSynchronous(LAB_CONFIG) } : {}),
    UserData: {
      AcceptEula: true,
      FullName: 'Oriel',
      Organization: 'Oriel',
      // Some Setups insist on the element even where they take no key.
      ProductKey: { ...(productKey === undefined ? {} : { Key: productKey }), WillShowUI: 'OnError' }
    }
  }
}

function specialize({ client, computerName, productKey }: AnswerModel): [name: string, settings: Xml][] {
  const skipActivation: [string, Xml][] = [['Microsoft-Windows-Security-SPP-UX', { SkipAutoActivation: true }]]
  const serverManager: [string, Xml][] = [
    ['Microsoft-Windows-OutOfBoxExperience', { DoNotOpenInitialConfigurationTasksAtLogon: true }],
    ['Microsoft-Windows-ServerManager-SvrMgrNc', { DoNotOpenServerManagerAtLogon: true }]
  ]
  return [
    ['Microsoft-Windows-Deployment', { RunSynchronous: runSynchronous(FIRST_SETTINGS) }],
    // An evaluation that is not activated within ten days shuts itself down every hour, so it may activate itself as soon as
    // it has a network. A licensed Windows is activated by its owner, with a key that is not the one of this file.
    ...(productKey === undefined ? [] : skipActivation),
    ['Microsoft-Windows-Shell-Setup', { ComputerName: computerName, TimeZone: 'UTC' }],
    ...(client === true ? [] : serverManager)
  ]
}

function firstStart({ password }: AnswerModel): Xml {
  return {
    AutoLogon: {
      Enabled: true,
      LogonCount: 1,
      Password: hidden(password, 'Password'),
      Username: 'Administrator'
    },
    FirstLogonCommands: {
      SynchronousCommand: {
        ...ADD,
        CommandLine: short(FIRST_LOGON_COMMAND),
        Description: 'Set up Oriel',
        Order: 1
      }
    },
    // No SkipMachineOOBE or SkipUserOOBE: with them some clients never run the command above.
    OOBE: {
      HideEULAPage: true,
      HideLocalAccountScreen: true,
      HideOEMRegistrationScreen: true,
      HideOnlineAccountScreens: true,
      HideWirelessSetupInOOBE: true,
      ProtectYourPC: 3
    },
    UserAccounts: { AdministratorPassword: hidden(password, 'AdministratorPassword') }
  }
}

/** How a list item says that it is one. */
const ADD = { '@wcm:action': 'add' }

interface RegistryValue {
  why: string
  key: string
  name: string
}

/** Each is a DWORD of 1. */
const FIRST_SETTINGS: readonly RegistryValue[] = [
  {
    why: 'The hardware clock is in UTC',
    key: String.raw`HKLM\SYSTEM\CurrentControlSet\Control\TimeZoneInformation`,
    name: 'RealTimeIsUniversal'
  },
  {
    // Otherwise the first logon asks, or takes the network for a public one.
    why: 'The first network is a private one',
    key: String.raw`HKLM\SOFTWARE\Policies\Microsoft\Windows NT\CurrentVersion\NetworkList\Signatures\FirstNetwork`,
    name: 'Category'
  }
]

const LAB_CONFIG: readonly RegistryValue[] = ['TPM', 'SecureBoot', 'RAM', 'CPU', 'Storage'].map(part => ({
  why: `No check of ${part}`,
  key: String.raw`HKLM\SYSTEM\Setup\LabConfig`,
  name: `Bypass${part}Check`
}))

function runSynchronous(values: readonly RegistryValue[]): Xml {
  return {
    RunSynchronousCommand: values.map(({ why, key, name }, index) => ({
      ...ADD,
      Description: why,
      Order: index + 1,
      // Setup stops with a dialog when a command fails, and none of these is worth that.
      Path: short(`cmd.exe /c "reg.exe add "${key}" /v ${name} /t REG_DWORD /d 1 /f & exit /b 0"`)
    }))
  }
}

function short(command: string): string {
  if (command.length > COMMAND_LENGTH) throw new Error(`Windows Setup would not run, as it is too long: ${command}`)
  return command
}

/** A password as Windows' own tool hides it: nobody reads it in passing, and anybody can who wants to. */
function hidden(password: string, element: string): Xml {
  return { Value: Buffer.from(password + element, 'utf16le').toString('base64'), PlainText: false }
}

const UNPRINTABLE = /[\p{Cc}\p{Surrogate}\ufffe\uffff]/u
const LANGUAGE = /^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?(-[a-z]{5,8})?$/
// Language and layout, or language and the two GUIDs of an input method.
const KEYBOARD = /^[0-9a-f]{4}:([0-9a-f]{8}|(\{[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}){2})$/i
const PASSWORD_LENGTH = 127

function checkModel(model: AnswerModel): void {
  const refuse = (what: string) => {
    throw new Fault(what, { exitCode: 2 })
  }
  const { imageName, uiLanguage, locale, keyboard, password, productKey } = model
  if (imageName.trim() !== imageName || imageName === '' || UNPRINTABLE.test(imageName)) {
    refuse(`${JSON.stringify(imageName)} cannot be the name of an image of Windows.`)
  }
  for (const language of [uiLanguage, locale]) {
    if (!LANGUAGE.test(language)) refuse(`${JSON.stringify(language)} is no language such as en-US.`)
  }
  if (!KEYBOARD.test(keyboard)) refuse(`${JSON.stringify(keyboard)} is no keyboard such as 0409:00000409.`)
  if (password === '' || password.length > PASSWORD_LENGTH || UNPRINTABLE.test(password)) {
    refuse(`the password cannot be used: 1 to ${PASSWORD_LENGTH} characters, and no control characters.`)
  }
  if (productKey !== undefined && !PRODUCT_KEY.test(productKey)) refuse('the product key is not valid.')
  checkComputerName(model.computerName)
}
