/*
 * /oriel/init: the entry of every container, exec and build step of the Wine base. CONTRACT.md says what it does.
 *
 * A static program of our own and not a shell script, because it must be up at once, reap every process, answer
 * signals as PID 1 and keep a state file that others read at any moment.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "oriel.h"

#define WINE "/usr/lib/wine/wine64"
#define LAUNCHER "/oriel/launcher.exe"

/* Wine's own background programs. They take half a second and 150 MB, and most console programs need none of them. */
#define LEAN "services.exe,explorer.exe,plugplay.exe,svchost.exe,rpcss.exe,winedevice.exe,wineboot.exe=d;"
/* No question about Mono or Gecko, and no menu entries of a desktop that is not there. */
#define ALWAYS "mscoree,mshtml,winemenubuilder.exe="

enum { ERROR_FILE_NOT_FOUND = 2, ERROR_PATH_NOT_FOUND = 3, ERROR_ACCESS_DENIED = 5,
       ERROR_BAD_EXE_FORMAT = 193, ERROR_DIRECTORY = 267 };

static struct pairs request;
static const char *state_path;
static char *request_path, *answer_path;
static int is_exec;

static const char *wanted(const char *key, const char *otherwise)
{
    const char *value = pairs_get(&request, key);
    return value ? value : otherwise;
}

/* ---- state file ------------------------------------------------------------------------------------------------ */

static void write_file(const char *path, const void *bytes, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (file < 0 || write(file, bytes, size) != (ssize_t)size) die("cannot write %s: %s", path, strerror(errno));
    close(file);
}

static void write_state(const char *format, ...)
{
    char line[1024], *fresh = join(state_path, ".new");
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    if (length > (int)sizeof(line) - 2) length = sizeof(line) - 2;
    line[length++] = '\n';
    write_file(fresh, line, length);
    if (rename(fresh, state_path)) die("cannot write %s: %s", state_path, strerror(errno));
    free(fresh);
}

static const char *error_text(unsigned error)
{
    switch (error) {
    case ERROR_FILE_NOT_FOUND: return "The system cannot find the file specified.";
    case ERROR_PATH_NOT_FOUND: return "The system cannot find the path specified.";
    case ERROR_ACCESS_DENIED: return "Access is denied.";
    case ERROR_BAD_EXE_FORMAT: return "%1 is not a valid Win32 application.";
    case ERROR_DIRECTORY: return "The directory name is invalid.";
    default: return "The program could not be started.";
    }
}

/* Reports a program that could not be started; the result is init's exit status. */
static int failed(unsigned error)
{
    write_state("failed %u %s", error, error_text(error));
    if (is_exec)
        fprintf(stderr, "container encountered an error during hcs::System::CreateProcess: %s: "
                "failure in a Windows system call: %s (0x%x)\n", wanted("CMDLINE", ""), error_text(error), error);
    return error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND ? 127 : 126;
}

/* ---- processes ------------------------------------------------------------------------------------------------- */

static int read_small(const char *path, char *text, size_t room)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, room - 1);

    if (file >= 0) close(file);
    if (got < 0) return 0;
    text[got] = 0;
    return 1;
}

/*
 * Calls ACTION for every other process of the container with the name that the kernel keeps (15 bytes). Wine takes it
 * from the command line, so it comes with or without .exe; here always without.
 */
static void each_process(void (*action)(pid_t pid, const char *name))
{
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    char path[64], name[32];
    size_t length;

    if (!processes) return;
    while ((entry = readdir(processes))) {
        pid_t pid = atoi(entry->d_name);
        if (pid <= 0 || pid == getpid()) continue;
        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        if (!read_small(path, name, sizeof(name))) continue;
        name[strcspn(name, "\n")] = 0;
        length = strlen(name);
        if (length > 4 && !strcasecmp(name + length - 4, ".exe")) name[length - 4] = 0;
        action(pid, name);
    }
    closedir(processes);
}

/* Whether PID is a Windows program: its image is Wine's loader. */
static int is_windows(pid_t pid)
{
    char link[64], image[128];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    length = readlink(link, image, sizeof(image) - 1);
    if (length < 0) return 0;
    image[length] = 0;
    return !strncmp(image, WINE, strlen(WINE));
}

static int is_service(const char *name)
{
    static const char *const names[] = {
        "launcher", "services", "winedevice", "plugplay", "svchost", "rpcss", "explorer", "conhost", "wineboot",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcasecmp(name, names[i])) return 1;
    return 0;
}

static int is_cmd(const char *name)
{
    return !strcasecmp(name, "cmd");
}

/* Wine turns SIGINT into a Ctrl-C event of the one process that gets it, so each program gets its own. */
static void interrupt_program(pid_t pid, const char *name)
{
    if (!is_service(name) && !is_cmd(name) && is_windows(pid)) kill(pid, SIGINT);
}

static void interrupt_cmd(pid_t pid, const char *name)
{
    if (is_cmd(name) && is_windows(pid)) kill(pid, SIGINT);
}

static int programs;

static void count_program(pid_t pid, const char *name)
{
    if (!is_service(name) && !is_cmd(name) && is_windows(pid)) programs++;
}

static int programs_left(void)
{
    programs = 0;
    each_process(count_program);
    return programs;
}

static pid_t wineserver;

static void note_wineserver(pid_t pid, const char *name)
{
    if (!strncmp(name, "wineserver", 10)) wineserver = pid;
}

/* On SIGTERM wineserver writes the registry and leaves; without waiting for that, changes would be lost. */
static void end_wineserver(void)
{
    const struct timespec tick = { 0, 2 * 1000 * 1000 };

    each_process(note_wineserver);
    if (!wineserver) return;
    kill(wineserver, SIGTERM);
    for (int i = 0; i < 2500 && !kill(wineserver, 0); i++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) continue;
        nanosleep(&tick, NULL);
    }
}

static void kill_windows(pid_t pid, const char *name)
{
    (void)name;
    if (is_windows(pid)) kill(pid, SIGKILL);
}

/* ---- starting -------------------------------------------------------------------------------------------------- */

/* Whether the program is one that talks to Wine's service manager or to COM servers. */
static int needs_services(const char *program)
{
    static const char *const names[] = {
        "msiexec.exe", "sc.exe", "net.exe", "regsvr32.exe", "wusa.exe", "dism.exe", "services.exe", "schtasks.exe",
    };
    const char *name = strrchr(program, '\\');

    name = name ? name + 1 : program;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (!strcasecmp(name, names[i])) return 1;
    return 0;
}

static int wants_full(const char *program)
{
    const char *services = wanted("SERVICES", "auto");
    return !strcmp(services, "full") || (strcmp(services, "lean") && needs_services(program));
}

/* Everything Wine itself reads. The program never sees these: the launcher makes its environment. */
static char **wine_environment(const char *user, int full)
{
    static char *environment[12];
    int count = 0;

    environment[count++] = join("USER=", user);
    environment[count++] = "HOME=/oriel/home";
    environment[count++] = "LANG=C.UTF-8";
    environment[count++] = "XDG_RUNTIME_DIR=/tmp";
    environment[count++] = "WINEPREFIX=" PREFIX;
    environment[count++] = "WINEDEBUG=-all";
    /* WINEDLLOVERRIDES, by the name that hide.sh has given it. */
    environment[count++] = full ? "=INEDLLOVERRIDES=" ALWAYS : "=INEDLLOVERRIDES=" LEAN ALWAYS;
    if (full) {
        /* For wineboot, which looks for these two by functions that know no name with "=". */
        environment[count++] = "WINEDATADIR=\\??\\unix\\usr\\share\\wine";
        environment[count++] = "WINECONFIGDIR=\\??\\unix" "\\c";
    }
    environment[count] = NULL;
    return environment;
}

/* A file and not arguments: a command line or a variable may be longer than Linux allows one argument to be. */
static void write_request(const char *program, const char *directory, const char *user)
{
    struct pairs out = { 0 };
    char host[256] = "", *at;

    gethostname(host, sizeof(host) - 1);
    for (at = host; *at; at++) *at = toupper(*at);
    pairs_add(&out, "APP=", program);
    pairs_add(&out, "CMDLINE=", wanted("CMDLINE", ""));
    pairs_add(&out, "CWD=", directory);
    pairs_add(&out, "USER=", user);
    pairs_add(&out, "HOSTNAME=", host);
    if (isatty(0) && isatty(1)) pairs_add(&out, "TTY=", "1");
    for (char *pair = request.bytes; pair < request.bytes + request.size; pair += strlen(pair) + 1)
        if (!strncmp(pair, "ENV_", 4) && strchr(pair, '=')) pairs_add(&out, pair, "");
    write_file(request_path, out.bytes, out.size);
}

/*
 * A terminal that nobody has attached to yet has no size, and Wine's console shows nothing then. Its input is made raw
 * here, as the console will do at its first read: by then what was typed ahead would be echoed, and Enter be a line feed.
 */
static void prepare_terminal(void)
{
    struct winsize size;
    struct termios mode;

    if (!ioctl(1, TIOCGWINSZ, &size) && !size.ws_col) {
        size.ws_col = 120;
        size.ws_row = 30;
        ioctl(1, TIOCSWINSZ, &size);
    }
    if (tcgetattr(0, &mode)) return;
    mode.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    mode.c_iflag &= ~(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    tcsetattr(0, TCSANOW, &mode);
}

static pid_t start_wine(char *const arguments[], char **environment, const sigset_t *mask)
{
    pid_t child = fork();

    if (child) return child;
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (chdir(PREFIX "/drive_c")) _exit(126);
    execve(WINE, arguments, environment);
    _exit(126);
}

static void raise_event(const char *number, char **environment, const sigset_t *mask)
{
    start_wine((char *[]){ WINE, LAUNCHER, "/event", (char *)number, NULL }, environment, mask);
}

/*
 * Waits for the launcher, turning signals into console events meanwhile. On Windows cmd waits for its program after a
 * Ctrl-C; Wine's cmd would end at once and with it the container, so it gets the event only when it alone is left.
 */
static void wait_for(pid_t launcher, char **environment, const sigset_t *signals, const sigset_t *mask)
{
    const struct timespec tick = { 0, 100 * 1000 * 1000 };
    int interrupted = 0, idle_ticks = 0;

    for (;;) {
        int signal = interrupted ? sigtimedwait(signals, NULL, &tick) : sigwaitinfo(signals, NULL);
        pid_t ended;

        switch (signal) {
        case SIGTERM:
        case SIGINT:
            interrupted = 1;
            if (programs_left()) each_process(interrupt_program);
            else each_process(interrupt_cmd);
            break;
        case SIGQUIT:
            raise_event("1", environment, mask);
            break;
        case SIGHUP:
            raise_event("2", environment, mask);
            break;
        case SIGCHLD:
            while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
                if (ended == launcher) return;
            break;
        default: /* a tick: cmd gets one to go on by itself after its program */
            idle_ticks = programs_left() ? 0 : idle_ticks + 1;
            if (idle_ticks == 2) each_process(interrupt_cmd);
            /* At its prompt cmd only shows a new line for a Ctrl-C. On Windows a stop is a shutdown, which it cannot refuse. */
            if (idle_ticks == 5) raise_event("2", environment, mask);
        }
    }
}

/* The launcher's answer as init's exit status; no answer means that something killed it. */
static int conclude(void)
{
    char answer[64] = "";
    unsigned code;

    read_small(answer_path, answer, sizeof(answer));
    unlink(request_path);
    unlink(answer_path);
    if (sscanf(answer, "failed %u", &code) == 1) return failed(code);
    if (sscanf(answer, "exited %u", &code) != 1) code = 1;
    write_state("exited %u", code);
    return code > 239 ? 240 : (int)code;
}

static int run(int count, char **encoded)
{
    sigset_t signals, mask;
    struct program program;
    const char *role, *user;
    char *directory, *linux_directory, **environment;
    unsigned error;
    int status;
    pid_t launcher;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, &mask);

    pairs_decode(&request, count, encoded);
    role = wanted("ROLE", "main");
    is_exec = !strcmp(role, "exec");
    state_path = wanted("STATE", "/oriel/run/main");
    request_path = join(state_path, ".in");
    answer_path = join(request_path, ".out");
    user = wanted("USER", "ContainerAdministrator");
    if (!pairs_get(&request, "CMDLINE")) die("CMDLINE is missing");

    link_drives();
    directory = windows_path(wanted("CWD", "C:\\"));
    linux_directory = resolve(directory);
    if (!linux_directory || make_directories(linux_directory)) return failed(ERROR_DIRECTORY);
    make_profile(user);
    error = find_program(wanted("CMDLINE", ""), directory, &request, &program);
    if (error) return failed(error);
    write_state("started");

    if (!is_exec) prctl(PR_SET_CHILD_SUBREAPER, 1);
    environment = wine_environment(user, wants_full(program.path));
    prepare_terminal();
    write_request(program.path, directory, user);
    launcher = start_wine((char *[]){ WINE, LAUNCHER, unix_name(request_path), NULL }, environment, &mask);
    if (launcher < 0) die("fork: %s", strerror(errno));
    wait_for(launcher, environment, &signals, &mask);
    status = conclude();
    if (!is_exec) {
        each_process(kill_windows); /* first, for a program that loses its server complains on stderr */
        end_wineserver();
    }
    return status;
}

/* ---- other verbs ----------------------------------------------------------------------------------------------- */

static char *resolved(const char *path)
{
    char *result = resolve(windows_path(path));
    if (!result) die("%s: no such drive", path);
    return result;
}

static void make(const char *linux_path)
{
    if (make_directories(linux_path)) die("%s: %s", linux_path, strerror(errno));
}

static int anchor(const char *name, const char *path)
{
    char *target = resolved(path), *link = join("/oriel/anchor/", name);
    size_t length = strlen(path);

    if (length && (path[length - 1] == '\\' || path[length - 1] == '/')) {
        make(target);
    } else {
        char *parent = strdup(target);
        *strrchr(parent, '/') = 0;
        make(parent);
    }
    unlink(link);
    if (symlink(target, link)) die("%s: %s", link, strerror(errno));
    return 0;
}

#define LAYER_REGISTRY "/oriel/run/layer.reg"

/* Has Wine take over the registry text of a layer. The drive then has what an installer on Windows would have left. */
static void import_registry(void)
{
    char **environment = wine_environment("ContainerAdministrator", 0);
    int status = 0, quiet = open("/dev/null", O_RDWR);
    sigset_t mask;
    pid_t import, ended;

    /* "The operation completed successfully." would stand in the way of the one line that an error is. */
    fflush(stderr);
    int errors = dup(2);
    dup2(quiet, 0);
    dup2(quiet, 1);
    dup2(quiet, 2);
    sigemptyset(&mask);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    import = start_wine((char *[]){ WINE, "reg.exe", "import", unix_name(LAYER_REGISTRY), NULL }, environment, &mask);
    do ended = waitpid(-1, &status, 0);
    while (ended != import && (ended > 0 || errno == EINTR));
    each_process(kill_windows);
    end_wineserver();
    dup2(errors, 2);
    unlink(LAYER_REGISTRY);
    if (import < 0 || ended != import || !WIFEXITED(status) || WEXITSTATUS(status))
        die("the registry of the layer could not be applied (reg import: %d)", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int layer(void)
{
    if (place_layer(LAYER_REGISTRY)) import_registry();
    return 0;
}

int main(int count, char **arguments)
{
    const char *verb = count > 1 ? arguments[1] : "";

    if (!strcmp(verb, "run") && count > 2) return run(count - 2, arguments + 2);
    if (!strcmp(verb, "resolve") && count == 3) return puts(resolved(arguments[2])) < 0;
    if (!strcmp(verb, "mkdir") && count == 3) return make(resolved(arguments[2])), 0;
    if (!strcmp(verb, "layer") && count == 2) return layer();
    if (!strcmp(verb, "anchor") && count == 4) return anchor(arguments[2], arguments[3]);
    die("usage: init run B64 ... | resolve WINPATH | mkdir WINPATH | anchor NAME WINPATH | layer");
}
