// Locale, LCID and default keyboard layout, from Microsoft's list "Default Input Profiles (Input Locales) in Windows"
// https://learn.microsoft.com/windows-hardware/manufacture/desktop/default-input-locales-for-windows-language-packs
// The first line of a language is what the language alone means. Chinese, Japanese and Korean have the plain layout and not
// the input method of that list: a Server Core console shows none.
const TABLE = `
en-US 0409 00000409
en-AU 0c09 00000409
en-CA 1009 00000409
en-GB 0809 00000809
en-IE 1809 00001809
en-IN 4009 00004009
en-JM 2009 00000409
en-MY 4409 00000409
en-NZ 1409 00000409
en-PH 3409 00000409
en-SG 4809 00000409
en-TT 2c09 00000409
en-ZA 1c09 00000409
en-ZW 3009 00000409
de-DE 0407 00000407
de-AT 0c07 00000407
de-CH 0807 00000807
de-LI 1407 00000807
de-LU 1007 00000407
fr-FR 040c 0000040c
fr-BE 080c 0000080c
fr-CA 0c0c 00011009
fr-CH 100c 0000100c
fr-LU 140c 0000100c
fr-MC 180c 0000040c
it-IT 0410 00000410
it-CH 0810 0000100c
es-ES 0c0a 0000040a
es-AR 2c0a 0000080a
es-BO 400a 0000080a
es-CL 340a 0000080a
es-CO 240a 0000080a
es-CR 140a 0000080a
es-DO 1c0a 0000080a
es-EC 300a 0000080a
es-GT 100a 0000080a
es-HN 480a 0000080a
es-MX 080a 0000080a
es-NI 4c0a 0000080a
es-PA 180a 0000080a
es-PE 280a 0000080a
es-PR 500a 0000080a
es-PY 3c0a 0000080a
es-SV 440a 0000080a
es-US 540a 0000080a
es-UY 380a 0000080a
es-VE 200a 0000080a
pt-BR 0416 00000416
pt-PT 0816 00000816
nl-NL 0413 00020409
nl-BE 0813 00000813
da-DK 0406 00000406
sv-SE 041d 0000041d
sv-FI 081d 0000041d
nb-NO 0414 00000414
nn-NO 0814 00000414
fi-FI 040b 0000040b
is-IS 040f 0000040f
ga-IE 083c 00001809
cy-GB 0452 00000452
lb-LU 046e 0000046e
mt-MT 043a 0000043a
ca-ES 0403 0000040a
eu-ES 042d 0000040a
gl-ES 0456 0000040a
pl-PL 0415 00000415
cs-CZ 0405 00000405
sk-SK 041b 0000041b
hu-HU 040e 0000040e
ro-RO 0418 00010418
bg-BG 0402 00030402
el-GR 0408 00000408
tr-TR 041f 0000041f
hr-HR 041a 0000041a
hr-BA 101a 0000041a
sl-SI 0424 00000424
bs-Latn-BA 141a 0000041a
bs-Cyrl-BA 201a 0000201a
sr-Cyrl-RS 281a 00000c1a
sr-Latn-RS 241a 0000081a
mk-MK 042f 0001042f
sq-AL 041c 0000041c
et-EE 0425 00000425
lv-LV 0426 00020426
lt-LT 0427 00010427
ru-RU 0419 00000419
uk-UA 0422 00020422
be-BY 0423 00000423
ka-GE 0437 00010437
hy-AM 042b 0002042b
az-Latn-AZ 042c 0000042c
kk-KZ 043f 0000043f
ky-KG 0440 00000440
uz-Latn-UZ 0443 00000409
mn-MN 0450 00000450
he-IL 040d 0002040d
ar-SA 0401 00000401
ar-AE 3801 00000401
ar-BH 3c01 00000401
ar-EG 0c01 00000401
ar-IQ 0801 00000401
ar-JO 2c01 00000401
ar-KW 3401 00000401
ar-LB 3001 00000401
ar-LY 1001 00000401
ar-MA 1801 00020401
ar-OM 2001 00000401
ar-QA 4001 00000401
ar-SY 2801 00000401
ar-TN 1c01 00020401
ar-YE 2401 00000401
fa-IR 0429 00000429
ur-PK 0420 00000420
hi-IN 0439 00010439
bn-IN 0445 00020445
bn-BD 0845 00000445
ta-IN 0449 00000449
te-IN 044a 0000044a
mr-IN 044e 0000044e
gu-IN 0447 00000447
kn-IN 044b 0000044b
ml-IN 044c 0000044c
pa-IN 0446 00000446
ne-NP 0461 00000461
si-LK 045b 0000045b
th-TH 041e 0000041e
lo-LA 0454 00000454
km-KH 0453 00000453
vi-VN 042a 0000042a
id-ID 0421 00000409
ms-MY 043e 00000409
fil-PH 0464 00000409
sw-KE 0441 00000409
zu-ZA 0435 00000409
zh-CN 0804 00000804
zh-TW 0404 00000404
zh-HK 0c04 00000c04
zh-SG 1004 00001004
ja-JP 0411 00000411
ko-KR 0412 00000412
`

/** Windows locales that are known, each with the input locale `LCID:KLID` of the keyboard that is usual there. */
export const LOCALES: ReadonlyMap<string, string> = new Map(
  TABLE.trim()
    .split('\n')
    .map(line => {
      const [locale = '', language = '', keyboard = ''] = line.split(' ')
      return [locale, `${language}:${keyboard}`] as const
    })
)

// Names that glibc, macOS or older systems use, and what Windows calls the language.
const LANGUAGES: Readonly<Record<string, string>> = { no: 'nb', iw: 'he', in: 'id', tl: 'fil' }
// macOS names the script of Chinese, often without a region.
const SCRIPT_REGIONS: Readonly<Record<string, string>> = { hans: 'CN', hant: 'TW' }

/**
 * The Windows locale for a name as POSIX (`de_DE.UTF-8`, `sr_RS@latin`), BCP 47 (`zh-Hans-CN`) or Windows writes it.
 * `exact` is false when only the language is known, and the locale is that language's first.
 */
export function findLocale(name: string): { locale: string; exact: boolean } | undefined {
  const match = /^([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}|\d{3}))?(?:\.[\w-]+)?(?:@(\w+))?$/i.exec(name.trim())
  if (match === null) return undefined
  const [, first = '', script, region, modifier] = match
  const language = LANGUAGES[first.toLowerCase()] ?? first.toLowerCase()
  const wantedScript = (script ?? SCRIPTS[(modifier ?? '').toLowerCase()] ?? '').toLowerCase()
  const wantedRegion = (region ?? SCRIPT_REGIONS[wantedScript])?.toUpperCase()
  const sameLanguage = [...LOCALES.keys()].filter(locale => locale.split('-')[0] === language)
  const sameRegion = sameLanguage.filter(locale => locale.split('-').at(-1) === wantedRegion)
  const same = sameRegion.find(locale => locale.toLowerCase().includes(`-${wantedScript}-`)) ?? sameRegion[0]
  if (same !== undefined) return { locale: same, exact: true }
  const [usual] = sameLanguage
  return usual === undefined ? undefined : { locale: usual, exact: wantedRegion === undefined }
}

// glibc's modifiers that say a script: sr_RS@latin.
const SCRIPTS: Readonly<Record<string, string>> = { latin: 'latn', cyrillic: 'cyrl' }
