/* What CreateProcess would start for a command line, found without Wine, so that a bad one is known at once. */
#include "oriel.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ERROR_FILE_NOT_FOUND = 2, ERROR_PATH_NOT_FOUND = 3, ERROR_ACCESS_DENIED = 5, ERROR_BAD_EXE_FORMAT = 193 };

#define SYSTEM_DIRECTORIES "C:\\windows\\system32;C:\\windows\\system;C:\\windows"

static int is_batch(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && (!strcasecmp(path + length - 4, ".bat") || !strcasecmp(path + length - 4, ".cmd"));
}

/* Only 64-bit programs run: the base has no 32-bit DLLs. */
static unsigned check_image(const char *linux_path)
{
    unsigned char head[4096];
    uint32_t header;
    int file = open(linux_path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (file < 0) return ERROR_ACCESS_DENIED;
    got = read(file, head, sizeof(head));
    close(file);
    if (got < 64 || head[0] != 'M' || head[1] != 'Z') return ERROR_BAD_EXE_FORMAT;
    memcpy(&header, head + 60, sizeof(header));
    if (header > (size_t)got - 6 || memcmp(head + header, "PE\0\0", 4)) return ERROR_BAD_EXE_FORMAT;
    return head[header + 4] == 0x64 && head[header + 5] == 0x86 ? 0 : ERROR_BAD_EXE_FORMAT;
}

/* Accepts PATH, a full Windows path, as the program when it is a file. */
static int accept_file(const char *path, struct program *found)
{
    char *linux_path = resolve(path);
    struct stat status;
    int there = linux_path && !stat(linux_path, &status) && S_ISREG(status.st_mode);

    if (there) {
        found->path = strdup(path);
        found->error = is_batch(path) ? 0 : check_image(linux_path);
    }
    free(linux_path);
    return there;
}

/* NAME as it is, then with .exe, as CreateProcess does when NAME has no extension. */
static int try_file(const char *directory, const char *name, struct program *found)
{
    const char *base = strrchr(name, '\\');
    char *path = directory ? join(join(directory, "\\"), name) : strdup(name);

    path = windows_path(path);
    return (strchr(base ? base : name, '.') && accept_file(path, found)) || accept_file(join(path, ".exe"), found)
        || accept_file(path, found);
}

static int try_directories(const char *list, const char *name, struct program *found)
{
    char *copy = strdup(list), *rest = copy, *directory;
    int there = 0;

    while (!there && (directory = strsep(&rest, ";")))
        if (isalpha((unsigned char)directory[0]) && directory[1] == ':') there = try_file(directory, name, found);
    free(copy);
    return there;
}

/* PATH as an earlier build step may have set it with setx /M: read from the text that wineserver keeps. */
static char *registry_path(void)
{
    static const char section[] = "[System\\\\ControlSet001\\\\Control\\\\Session Manager\\\\Environment]";
    int file = open(PREFIX "/system.reg", O_RDONLY | O_CLOEXEC);
    struct stat status;
    char *text, *at, *end, *result, *out;

    if (file < 0 || fstat(file, &status)) return NULL;
    text = mmap(NULL, status.st_size + 1, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (text == MAP_FAILED) return NULL;
    at = memmem(text, status.st_size, section, sizeof(section) - 1);
    if (!at) return NULL;
    end = memmem(at, text + status.st_size - at, "\n\n", 2);
    while (at && at < end && strncasecmp(at, "\n\"PATH\"=", 8)) at = memchr(at + 1, '\n', end - at);
    if (!at || at >= end || !(at = memmem(at + 8, end - at - 8, "\"", 1))) return NULL;

    out = result = malloc(end - at);
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\') at++;
        *out++ = *at;
    }
    *out = 0;
    munmap(text, status.st_size + 1);
    return result;
}

/* Replaces %SystemRoot%, the only variable that a PATH in the registry has in practice. */
static char *expanded(const char *path)
{
    static const char variable[] = "%SystemRoot%";
    char *result = strdup(path);
    const char *at;

    while ((at = strcasestr(result, variable))) {
        char *head = strndup(result, at - result);
        result = join(join(head, "C:\\windows"), at + sizeof(variable) - 1);
    }
    return result;
}

static int search(const char *name, const char *directory, const struct pairs *request, struct program *found)
{
    const char *path;

    if (isalpha((unsigned char)name[0]) && name[1] == ':') return try_file(NULL, name, found);
    if (strpbrk(name, "\\/")) return try_file(*name == '\\' || *name == '/' ? NULL : directory, name, found);
    if (try_file(directory, name, found) || try_directories(SYSTEM_DIRECTORIES, name, found)) return 1;
    path = pairs_variable(request, "PATH");
    if (!path) path = registry_path();
    return path && try_directories(expanded(path), name, found);
}

static unsigned missing(const char *name, const char *directory)
{
    int is_full = name[1] == ':' || *name == '\\' || *name == '/';
    char *full = windows_path(is_full ? name : join(join(directory, "\\"), name));
    struct stat status;

    if (!strpbrk(name, "\\/")) return ERROR_FILE_NOT_FOUND;
    *strrchr(full, '\\') = 0;
    full = windows_path(full);
    full = resolve(full);
    return full && !stat(full, &status) ? ERROR_FILE_NOT_FOUND : ERROR_PATH_NOT_FOUND;
}

unsigned find_program(const char *command, const char *directory, const struct pairs *request, struct program *found)
{
    char *name, *first = NULL;
    size_t length;

    while (*command == ' ' || *command == '\t') command++;
    if (*command == '"') {
        name = strndup(command + 1, strcspn(command + 1, "\""));
        return search(name, directory, request, found) ? found->error : missing(name, directory);
    }
    /* Without quotes the name may have blanks: the shortest beginning that is a program wins. */
    for (length = strcspn(command, " \t");; length += 1 + strcspn(command + length + 1, " \t")) {
        name = strndup(command, length);
        if (!first) first = name;
        if (search(name, directory, request, found)) return found->error;
        if (!command[length]) return missing(first, directory);
    }
}
