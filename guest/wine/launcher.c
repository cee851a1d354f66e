/*
 * launcher.exe: the Windows half of /oriel/init.
 *
 *   launcher.exe REQUEST          start the program that REQUEST describes, carry its stdio, keep its exit code
 *   launcher.exe /event N         raise console event N in every program of the container
 *
 * REQUEST is an NT path (\\?\unix\...) of a file of NUL-terminated UTF-8 KEY=VALUE pairs which init wrote. The answer
 * goes to REQUEST.out: "exited CODE" or "failed ERROR".
 *
 * No C runtime: start-up time of every container counts, and each DLL costs milliseconds.
 */
#define WIN32_LEAN_AND_MEAN
#define _WIN32_WINNT 0x0A00
#include <windows.h>
#include <tlhelp32.h>

/* Big enough that a 1 GB stream needs few trips through wineserver, small enough to stay unnoticed in memory. */
#define PIPE_BYTES (256 * 1024)

/* How long a pipe that a grandchild still holds open must be silent before it counts as drained. */
#define DRAIN_MS 10

static char *request;
static WCHAR answer_path[MAX_PATH];

static void *allocate(SIZE_T bytes)
{
    return HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, bytes);
}

/* ---- request and answer ------------------------------------------------------------------------------------- */

static WCHAR *widen(const char *utf8)
{
    int length = MultiByteToWideChar(CP_UTF8, 0, utf8, -1, NULL, 0);
    WCHAR *wide = allocate(length * sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, 0, utf8, -1, wide, length);
    return wide;
}

/* The value behind PREFIX when PAIR begins with it, else NULL. */
static const char *after(const char *pair, const char *prefix)
{
    while (*prefix)
        if (*pair++ != *prefix++) return NULL;
    return pair;
}

static WCHAR *request_value(const char *prefix)
{
    for (const char *pair = request; *pair; pair += lstrlenA(pair) + 1) {
        const char *value = after(pair, prefix);
        if (value) return widen(value);
    }
    return NULL;
}

static BOOL read_request(const WCHAR *path)
{
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    DWORD size, got;

    if (file == INVALID_HANDLE_VALUE) return FALSE;
    size = GetFileSize(file, NULL);
    request = allocate(size + 2); /* ends in an empty pair */
    return ReadFile(file, request, size, &got, NULL) && CloseHandle(file);
}

static void write_answer(const char *word, DWORD number)
{
    char text[32], digits[12];
    int length = 0, count = 0;
    DWORD written;
    HANDLE file = CreateFileW(answer_path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);

    while (*word) text[length++] = *word++;
    do digits[count++] = '0' + number % 10; while (number /= 10);
    while (count) text[length++] = digits[--count];
    text[length++] = '\n';
    WriteFile(file, text, length, &written, NULL);
    CloseHandle(file);
}

/* ---- environment -------------------------------------------------------------------------------------------- */

/* Variables that init or Wine itself needs and that a Windows container does not have. */
static BOOL is_foreign(const WCHAR *name)
{
    static const WCHAR *const foreign[] = {
        L"HOME=", L"USER=", L"LANG=", L"XDG_RUNTIME_DIR=", L"WINE", L"=INE", L"winsysdir=",
        L"CLIENTNAME=", L"SESSIONNAME=", L"LOGONSERVER=",
    };

    for (unsigned i = 0; i < ARRAYSIZE(foreign); i++) {
        const WCHAR *a = name, *b = foreign[i];
        while (*b && *a == *b) a++, b++;
        if (!*b) return TRUE;
    }
    return FALSE;
}

static void drop_foreign_variables(void)
{
    WCHAR *block = GetEnvironmentStringsW();

    for (WCHAR *pair = block; *pair; pair += lstrlenW(pair) + 1) {
        WCHAR *end = pair + 1;
        if (!is_foreign(pair)) continue;
        while (*end != '=') end++;
        *end = 0;
        SetEnvironmentVariableW(pair, NULL);
        *end = '=';
    }
    FreeEnvironmentStringsW(block);
}

static void set_expanded(const WCHAR *name, const WCHAR *text)
{
    WCHAR value[MAX_PATH];
    ExpandEnvironmentStringsW(text, value, MAX_PATH);
    SetEnvironmentVariableW(name, value);
}

/*
 * What logging on sets on Windows; Wine's wineboot does it only when it runs, which is not in lean mode.
 * The first four Wine knows too, but in lower case.
 */
static void set_profile_variables(const WCHAR *user)
{
    static const WCHAR *const profile[][2] = {
        { L"SystemRoot", L"C:\\Windows" },
        { L"windir", L"C:\\Windows" },
        { L"ComSpec", L"C:\\Windows\\system32\\cmd.exe" },
        { L"PUBLIC", L"C:\\Users\\Public" },
        { L"USERPROFILE", L"C:\\Users\\%USERNAME%" },
        { L"APPDATA", L"%USERPROFILE%\\AppData\\Roaming" },
        { L"LOCALAPPDATA", L"%USERPROFILE%\\AppData\\Local" },
        { L"TEMP", L"%USERPROFILE%\\AppData\\Local\\Temp" },
        { L"TMP", L"%TEMP%" },
        { L"HOMEDRIVE", L"C:" },
        { L"HOMEPATH", L"\\Users\\%USERNAME%" },
        { L"USERDOMAIN", L"User Manager" },
    };

    SetEnvironmentVariableW(L"USERNAME", user);
    for (unsigned i = 0; i < ARRAYSIZE(profile); i++) set_expanded(profile[i][0], profile[i][1]);
}

static void set_requested_variables(void)
{
    for (char *pair = request; *pair; pair += lstrlenA(pair) + 1) {
        const char *variable = after(pair, "ENV_");
        WCHAR *name, *equals;
        if (!variable) continue;
        equals = name = widen(variable);
        while (*equals != '=') equals++;
        *equals = 0;
        SetEnvironmentVariableW(name, equals + 1);
    }
}

/* The computer name lives in a volatile key that wineboot fills; GetComputerName reads nothing else. */
static void set_computer_name(const WCHAR *name)
{
    HKEY key;

    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE,
                        L"System\\CurrentControlSet\\Control\\ComputerName\\ActiveComputerName", 0, NULL,
                        REG_OPTION_VOLATILE, KEY_SET_VALUE, NULL, &key, NULL)) return;
    RegSetValueExW(key, L"ComputerName", 0, REG_SZ, (const BYTE *)name, (lstrlenW(name) + 1) * sizeof(WCHAR));
    RegCloseKey(key);
    SetEnvironmentVariableW(L"COMPUTERNAME", name);
}

/* ---- standard streams ---------------------------------------------------------------------------------------- */

/* One direction of one stream. BUSY tells whether bytes were taken that are not handed over yet. */
struct pump {
    HANDLE from, to, thread;
    volatile LONG busy;
};

static DWORD WINAPI pump_bytes(void *argument)
{
    struct pump *pump = argument;
    char *buffer = VirtualAlloc(NULL, PIPE_BYTES, MEM_COMMIT, PAGE_READWRITE);
    DWORD got, done, put;

    while (ReadFile(pump->from, buffer, PIPE_BYTES, &got, NULL) && got) {
        InterlockedExchange(&pump->busy, 1);
        for (done = 0; done < got; done += put)
            if (!WriteFile(pump->to, buffer + done, got - done, &put, NULL)) goto end;
        InterlockedExchange(&pump->busy, 0);
    }
end:
    /* Both ends: the reader sees end-of-file, and a writer whose reader has gone gets an error. */
    CloseHandle(pump->to);
    CloseHandle(pump->from);
    InterlockedExchange(&pump->busy, 0);
    return 0;
}

static void start_pump(struct pump *pump)
{
    pump->thread = CreateThread(NULL, 0, pump_bytes, pump, 0, NULL);
}

/* The pipe end that the program gets is inheritable; ours is not, or the program would hold its own pipe open. */
static HANDLE make_pipe(HANDLE *ours, BOOL program_reads)
{
    HANDLE reader, writer, theirs;

    CreatePipe(&reader, &writer, NULL, PIPE_BYTES);
    theirs = program_reads ? reader : writer;
    *ours = program_reads ? writer : reader;
    SetHandleInformation(theirs, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT);
    return theirs;
}

/* Waits for the end of an output stream, or for silence when a grandchild keeps the pipe open. */
static void drain(struct pump *pump)
{
    DWORD waiting;

    while (WaitForSingleObject(pump->thread, DRAIN_MS) == WAIT_TIMEOUT)
        if (!pump->busy && (!PeekNamedPipe(pump->from, NULL, 0, NULL, &waiting, NULL) || !waiting)) return;
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static BOOL WINAPI ignore_event(DWORD event)
{
    (void)event;
    return TRUE;
}

static BOOL is_own_or_service(const WCHAR *name)
{
    static const WCHAR *const names[] = {
        L"launcher.exe", L"services.exe", L"winedevice.exe", L"plugplay.exe", L"svchost.exe", L"rpcss.exe",
        L"explorer.exe", L"conhost.exe", L"wineboot.exe",
    };

    for (unsigned i = 0; i < ARRAYSIZE(names); i++)
        if (!lstrcmpiW(name, names[i])) return TRUE;
    return FALSE;
}

/* Runs kernelbase's own handler routine in the other process: builtin DLLs have one address everywhere. */
static void raise_in(DWORD id, DWORD event)
{
    HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, id);
    LPTHREAD_START_ROUTINE routine =
        (LPTHREAD_START_ROUTINE)(void *)GetProcAddress(GetModuleHandleW(L"kernelbase.dll"), "CtrlRoutine");
    HANDLE thread = CreateRemoteThread(process, NULL, 0, routine, (void *)(DWORD_PTR)event, 0, NULL);

    /* Windows gives a program 5 seconds after a close, then ends it whatever its handler said. */
    if (event == CTRL_CLOSE_EVENT) {
        WaitForSingleObject(thread, 5000);
        TerminateProcess(process, STATUS_CONTROL_C_EXIT);
    }
}

static void raise_event(DWORD event)
{
    PROCESSENTRY32W entry = { .dwSize = sizeof(entry) };
    HANDLE list = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);

    for (BOOL more = Process32FirstW(list, &entry); more; more = Process32NextW(list, &entry))
        if (entry.th32ProcessID && !is_own_or_service(entry.szExeFile)) raise_in(entry.th32ProcessID, event);
}

/* ---- the program --------------------------------------------------------------------------------------------- */

/* A ContainerUser is no member of Administrators, and PostgreSQL for one refuses to run for a member. */
static HANDLE user_token(void)
{
    BYTE administrators[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof(administrators);
    SID_AND_ATTRIBUTES disabled = { administrators, 0 };
    HANDLE own, restricted = NULL;

    OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &own);
    CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size);
    CreateRestrictedToken(own, DISABLE_MAX_PRIVILEGE, 1, &disabled, 0, NULL, 0, NULL, &restricted);
    return restricted;
}

static void run_program(const WCHAR *user, BOOL tty)
{
    STARTUPINFOW startup = { .cb = sizeof(startup) };
    PROCESS_INFORMATION process;
    struct pump in = { 0 }, out = { 0 }, err = { 0 };
    HANDLE token = lstrcmpiW(user, L"ContainerUser") ? NULL : user_token();
    BOOL started;
    DWORD code;

    if (!tty) {
        in.from = GetStdHandle(STD_INPUT_HANDLE);
        out.to = GetStdHandle(STD_OUTPUT_HANDLE);
        err.to = GetStdHandle(STD_ERROR_HANDLE);
        for (int i = 0; i < 3; i++)
            SetHandleInformation((HANDLE[]){ in.from, out.to, err.to }[i], HANDLE_FLAG_INHERIT, 0);
        startup.dwFlags = STARTF_USESTDHANDLES;
        startup.hStdInput = make_pipe(&in.to, TRUE);
        startup.hStdOutput = make_pipe(&out.from, FALSE);
        startup.hStdError = make_pipe(&err.from, FALSE);
    }
    started = CreateProcessAsUserW(token, request_value("APP="), request_value("CMDLINE="), NULL, NULL, TRUE,
                                   CREATE_UNICODE_ENVIRONMENT, NULL, request_value("CWD="), &startup, &process);
    if (!started) {
        write_answer("failed ", GetLastError());
        return;
    }
    SetConsoleCtrlHandler(ignore_event, TRUE);
    if (!tty) {
        CloseHandle(startup.hStdInput);
        CloseHandle(startup.hStdOutput);
        CloseHandle(startup.hStdError);
        start_pump(&in);
        start_pump(&out);
        start_pump(&err);
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    if (!tty) {
        drain(&out);
        drain(&err);
    }
    GetExitCodeProcess(process.hProcess, &code);
    write_answer("exited ", code);
}

/* The text after the program's own name on our command line. */
static const WCHAR *arguments(void)
{
    const WCHAR *at = GetCommandLineW();
    BOOL quoted = FALSE;

    for (; *at && (quoted || *at != ' '); at++)
        if (*at == '"') quoted = !quoted;
    while (*at == ' ') at++;
    return at;
}

void start(void)
{
    const WCHAR *argument = arguments();
    WCHAR *user;

    if (argument[0] == '/') {
        raise_event(argument[7] - '0'); /* "/event N" */
        ExitProcess(0);
    }
    if (!read_request(argument)) ExitProcess(1);
    lstrcpyW(answer_path, argument);
    lstrcatW(answer_path, L".out");
    user = request_value("USER=");
    drop_foreign_variables();
    set_profile_variables(user);
    set_computer_name(request_value("HOSTNAME="));
    set_requested_variables();
    run_program(user, request_value("TTY=") != NULL);
    /* TerminateProcess and not ExitProcess: the pump of standard input may sit in a read for ever. */
    TerminateProcess(GetCurrentProcess(), 0);
}
