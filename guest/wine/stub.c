/* A program that Windows has and this base has not: says so and fails. Installed under each such name. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* The name by which the program was called: the last component of its path, without .exe. */
static WCHAR *own_name(void)
{
    static WCHAR path[MAX_PATH];
    WCHAR *name = path, *dot = NULL;

    GetModuleFileNameW(NULL, path, MAX_PATH);
    for (WCHAR *at = path; *at; at++) {
        if (*at == '\\') name = at + 1;
        if (*at == '.') dot = at;
    }
    if (dot > name) *dot = 0;
    return name;
}

static const WCHAR *what_is_missing(const WCHAR *name)
{
    return name[0] == 'p' || name[0] == 'P' ? L"PowerShell" : L"IIS";
}

void start(void)
{
    WCHAR line[MAX_PATH + 160];
    char text[2 * sizeof(line)];
    const WCHAR *name = own_name();
    DWORD written;
    int length;

    lstrcpyW(line, name);
    lstrcatW(line, L": the wine driver has no ");
    lstrcatW(line, what_is_missing(name));
    lstrcatW(line, L". A machine with a real Windows has it: oriel up win --driver qemu\r\n");
    length = WideCharToMultiByte(CP_UTF8, 0, line, lstrlenW(line), text, sizeof(text), NULL, NULL);
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, length, &written, NULL);
    ExitProcess(1);
}
