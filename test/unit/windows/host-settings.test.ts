import { describe, expect, test } from 'vitest'
import { hostSettings, parseKeyboard, parseLocale, parseTimeZone } from '#windows/host-settings.ts'
import { findLocale, LOCALES } from '#windows/locales.ts'

const linux = { platform: 'linux', locale: 'fr-FR', timeZone: 'Europe/Berlin' } as const
const mac = { platform: 'darwin', locale: 'zh-Hans-CN', timeZone: 'America/Los_Angeles' } as const

describe('the table', () => {
  test('has well-formed lines, no locale twice, and the languages that people have', () => {
    expect(LOCALES.size).toBeGreaterThan(100)
    for (const [locale, keyboard] of LOCALES) {
      expect(locale).toMatch(/^[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}$/)
      expect(keyboard).toMatch(/^[0-9a-f]{4}:[0-9a-f]{8}$/)
      // What the runtime calls canonical is what Windows calls it.
      expect(Intl.getCanonicalLocales(locale)).toEqual([locale])
      expect(findLocale(locale)).toEqual({ locale, exact: true })
    }
    const languages = [...LOCALES.values()].map(keyboard => keyboard.slice(0, 4))
    expect(new Set(languages).size).toBe(LOCALES.size)
  })
})

describe('hostSettings', () => {
  test.each([
    ['de_DE.UTF-8', 'de-DE', '0407:00000407'],
    ['en_US.UTF-8', 'en-US', '0409:00000409'],
    ['en_GB', 'en-GB', '0809:00000809'],
    ['pt_BR.ISO-8859-1', 'pt-BR', '0416:00000416'],
    ['ja_JP.UTF-8', 'ja-JP', '0411:00000411'],
    ['sr_RS@latin', 'sr-Latn-RS', '241a:0000081a'],
    ['sr_RS.UTF-8', 'sr-Cyrl-RS', '281a:00000c1a'],
    ['no_NO.UTF-8', 'nb-NO', '0414:00000414'],
    ['ca_ES.UTF-8@valencia', 'ca-ES', '0403:0000040a'],
    ['zh-Hant-HK', 'zh-HK', '0c04:00000c04'],
    // A country that Windows has no such locale for, and a language that it is not listed with.
    ['de_BE.UTF-8', 'de-DE', '0407:00000407'],
    ['tlh_AA.UTF-8', 'en-US', '0409:00000409'],
    ['C', 'en-US', '0409:00000409'],
    ['C.UTF-8', 'en-US', '0409:00000409'],
    ['POSIX', 'en-US', '0409:00000409'],
    ['../../etc', 'en-US', '0409:00000409']
  ])('LANG=%s', async (LANG, locale, keyboard) => {
    expect(await hostSettings({ LANG }, linux)).toEqual({ locale, keyboard, timeZone: 'W. Europe Standard Time' })
  })

  test('the first variable that is set counts', async () => {
    const localeOf = async (env: NodeJS.ProcessEnv) => (await hostSettings(env, linux)).locale
    expect(await localeOf({ LC_ALL: 'it_IT', LC_MESSAGES: 'de_DE', LANG: 'fr_FR' })).toBe('it-IT')
    expect(await localeOf({ LC_ALL: '', LC_MESSAGES: 'de_DE', LANG: 'fr_FR' })).toBe('de-DE')
    expect(await localeOf({ LC_ALL: 'C', LANG: 'fr_FR' })).toBe('en-US')
    expect(await localeOf({})).toBe('en-US')
  })

  test('a Mac without variables says it itself', async () => {
    expect(await hostSettings({}, mac)).toEqual({
      locale: 'zh-CN',
      keyboard: '0804:00000804',
      timeZone: 'Pacific Standard Time'
    })
    expect((await hostSettings({ LANG: 'de_DE.UTF-8' }, mac)).locale).toBe('de-DE')
    expect((await hostSettings({}, { ...mac, locale: 'en-US-u-va-posix' })).locale).toBe('en-US')
  })

  test.each([
    ['Asia/Tokyo', 'Tokyo Standard Time'],
    [':Asia/Kolkata', 'India Standard Time'],
    ['/usr/share/zoneinfo/America/New_York', 'Eastern Standard Time'],
    ['UTC', 'UTC'],
    ['', 'W. Europe Standard Time'],
    [':/etc/localtime', 'W. Europe Standard Time'],
    ['CET-1CEST', 'W. Europe Standard Time']
  ])('TZ=%s', async (TZ, timeZone) => {
    expect((await hostSettings({ TZ }, linux)).timeZone).toBe(timeZone)
  })

  test('every zone of this runtime has a Windows name', async () => {
    for (const timeZone of Intl.supportedValuesOf('timeZone')) {
      const found = (await hostSettings({}, { ...linux, timeZone })).timeZone
      // Troll station changes its clock by two hours, which no Windows zone does.
      if (timeZone !== 'Antarctica/Troll' && !/^(Etc\/)?(GMT|UTC|UCT)$/.test(timeZone)) {
        expect([timeZone, found]).not.toEqual([timeZone, 'UTC'])
      }
    }
    expect((await hostSettings({}, { ...linux, timeZone: 'Antarctica/Troll' })).timeZone).toBe('UTC')
    expect((await hostSettings({}, { ...linux, timeZone: 'Mars/Olympus' })).timeZone).toBe('UTC')
  })

  test('this host has settings of its own', async () => {
    const settings = await hostSettings(process.env)
    expect(LOCALES.has(settings.locale)).toBe(true)
    expect(await parseTimeZone(settings.timeZone)).toBe(settings.timeZone)
  })
})

describe('what a person writes', () => {
  test.each([
    ['de-DE', 'de-DE'],
    ['DE_de', 'de-DE'],
    ['de_DE.UTF-8', 'de-DE'],
    ['de', 'de-DE'],
    ['sr-latn-rs', 'sr-Latn-RS'],
    [' fr-CA ', 'fr-CA']
  ])('locale %s', (text, locale) => {
    expect(parseLocale(text)).toBe(locale)
  })

  test.each([
    ['de-DD', 'Did you mean de-DE?'],
    ['xx-YY', undefined],
    ['den-DE', 'Did you mean de-DE?'],
    ['C', undefined],
    ['', undefined],
    ['german', undefined],
    ['de-DE"/>', undefined]
  ])('locale %s is refused', (text, hint) => {
    expect(() => parseLocale(text)).toThrow(
      expect.objectContaining({ name: 'Fault', exitCode: 2, hint: hint ?? expect.any(String) })
    )
  })

  test.each([
    ['de-DE', '0407:00000407'],
    ['de-CH', '0807:00000807'],
    ['0407:00000407', '0407:00000407'],
    ['0C0C:00001009', '0c0c:00001009']
  ])('keyboard %s', (text, keyboard) => {
    expect(parseKeyboard(text)).toBe(keyboard)
  })

  test.each(['0407', '0407:407', '0407:0000040g', 'qwertz', 'de-DD', ''])('keyboard %s is refused', text => {
    expect(() => parseKeyboard(text)).toThrow(expect.objectContaining({ name: 'Fault', exitCode: 2 }))
  })

  test.each([
    ['Europe/Berlin', 'W. Europe Standard Time'],
    ['europe/berlin', 'W. Europe Standard Time'],
    ['Europe/Kyiv', 'FLE Standard Time'],
    ['Asia/Calcutta', 'India Standard Time'],
    ['US/Pacific', 'Pacific Standard Time'],
    ['W. Europe Standard Time', 'W. Europe Standard Time'],
    ['w. europe standard time', 'W. Europe Standard Time'],
    ['UTC', 'UTC'],
    ['utc', 'UTC'],
    ['Etc/UTC', 'UTC']
  ])('time zone %s', async (text, zone) => {
    expect(await parseTimeZone(text)).toBe(zone)
  })

  test.each([
    ['Berlin', 'Did you mean Europe/Berlin?'],
    ['new york', 'Did you mean America/New_York?'],
    ['Europe/Berln', 'Did you mean Europe/Berlin?'],
    ['Pacific Standart Time', 'Did you mean Pacific Standard Time?'],
    ['', expect.stringContaining('Europe/Berlin')],
    ['Mars/Olympus', expect.stringContaining('Europe/Berlin')]
  ])('time zone %s is refused', async (text, hint) => {
    await expect(parseTimeZone(text)).rejects.toMatchObject({ name: 'Fault', exitCode: 2, hint })
  })
})
