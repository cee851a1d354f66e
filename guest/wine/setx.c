/* setx NAME VALUE [/M]: keeps an environment variable in the registry. Wine has no setx, and build steps use it. */
#define WIN32_LEAN_AND_MEAN
#define _WIN32_WINNT 0x0A00
#include <windows.h>

static void print(DWORD stream, const char *text)
{
    DWORD written;
    WriteFile(GetStdHandle(stream), text, lstrlenA(text), &written, NULL);
}

/* Cuts the next argument off *REST, without its quotes; NULL at the end. A backslash escapes a quote. */
static WCHAR *next_argument(WCHAR **rest)
{
    WCHAR *at = *rest, *out, *argument;
    BOOL quoted = FALSE;

    while (*at == ' ' || *at == '\t') at++;
    if (!*at) return NULL;
    for (argument = out = at; *at && (quoted || (*at != ' ' && *at != '\t')); at++) {
        if (*at == '\\' && at[1] == '"') *out++ = *++at;
        else if (*at == '"') quoted = !quoted;
        else *out++ = *at;
    }
    *rest = *at ? at + 1 : at;
    *out = 0;
    return argument;
}

static DWORD store(HKEY root, const WCHAR *path, const WCHAR *name, const WCHAR *value)
{
    DWORD type = REG_SZ, error;
    HKEY key;

    for (const WCHAR *at = value; *at; at++)
        if (*at == '%') type = REG_EXPAND_SZ;
    error = RegCreateKeyExW(root, path, 0, NULL, 0, KEY_SET_VALUE, NULL, &key, NULL);
    if (error) return error;
    return RegSetValueExW(key, name, 0, type, (const BYTE *)value, (lstrlenW(value) + 1) * sizeof(WCHAR));
}

void start(void)
{
    WCHAR *rest = GetCommandLineW(), *words[2] = { NULL, NULL }, *argument;
    BOOL machine = FALSE;
    int count = 0;

    next_argument(&rest);
    while ((argument = next_argument(&rest))) {
        if (!lstrcmpiW(argument, L"/M") || !lstrcmpiW(argument, L"-M")) machine = TRUE;
        else if (count < 2) words[count++] = argument;
        else count = 3;
    }
    if (count != 2) {
        print(STD_ERROR_HANDLE, "ERROR: Invalid syntax. Usage: setx NAME VALUE [/M]\r\n");
        ExitProcess(1);
    }
    if (machine ? store(HKEY_LOCAL_MACHINE, L"System\\CurrentControlSet\\Control\\Session Manager\\Environment", words[0],
                        words[1])
                : store(HKEY_CURRENT_USER, L"Environment", words[0], words[1])) {
        print(STD_ERROR_HANDLE, "ERROR: Access is denied.\r\n");
        ExitProcess(1);
    }
    print(STD_OUTPUT_HANDLE, "\r\nSUCCESS: Specified value was saved.\r\n");
    ExitProcess(0);
}
