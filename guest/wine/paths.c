/* Windows paths on a Linux file system: a name matches whatever its case. */
#include "oriel.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Gives Wine the drives that mounts made, and takes away those of a former life of the container. */
void link_drives(void)
{
    char drive[] = PREFIX "/drive_d", device[] = PREFIX "/dosdevices/d:", target[] = "../drive_d";

    for (char letter = 'd'; letter <= 'z'; letter++) {
        drive[sizeof(drive) - 2] = target[sizeof(target) - 2] = letter;
        device[sizeof(device) - 3] = letter;
        if (access(drive, F_OK)) unlink(device);
        else if (symlink(target, device) && errno != EEXIST) die("%s: %s", device, strerror(errno));
    }
}

/* Removes . and .. components and doubled separators from a path that begins with X:\. */
static void normalise(char *path)
{
    char *out = path + 2, *component = path + 3;

    while (component) {
        char *end = strchr(component, '\\');
        if (end) *end = 0;
        if (!strcmp(component, "..")) {
            while (out > path + 2 && *--out != '\\') continue;
        } else if (*component && strcmp(component, ".")) {
            size_t length = strlen(component);
            *out++ = '\\';
            memmove(out, component, length);
            out += length;
        }
        component = end ? end + 1 : NULL;
    }
    if (out == path + 2) *out++ = '\\';
    *out = 0;
}

char *windows_path(const char *path)
{
    int has_drive = isalpha((unsigned char)path[0]) && path[1] == ':';
    char *result, *at;

    if (has_drive) {
        char head[] = { path[0], ':', '\\', 0 };
        result = join(head, path + 2);
    } else {
        result = join("C:\\", path);
    }
    for (at = result; *at; at++)
        if (*at == '/') *at = '\\';
    normalise(result);
    return result;
}

/* Puts the real case of NAME in DIRECTORY into NAME, when such an entry exists. */
static void real_case(const char *directory, char *name)
{
    char *exact = join(join(directory, "/"), name);
    struct stat status;
    struct dirent *entry;
    DIR *listing;
    int there = !lstat(exact, &status);

    free(exact);
    if (there || !(listing = opendir(directory))) return;
    while ((entry = readdir(listing)))
        if (strlen(entry->d_name) == strlen(name) && same_name(entry->d_name, name)) {
            strcpy(name, entry->d_name);
            break;
        }
    closedir(listing);
}

char *resolve(const char *path)
{
    char drive[] = PREFIX "/drive_c", *result, *rest = strdup(path + 3), *component;

    drive[sizeof(drive) - 2] = tolower((unsigned char)path[0]);
    if (access(drive, F_OK)) return NULL;
    result = strdup(drive);
    for (component = strtok(rest, "\\"); component; component = strtok(NULL, "\\")) {
        real_case(result, component);
        result = join(join(result, "/"), component);
    }
    free(rest);
    return result;
}

int make_directories(const char *linux_path)
{
    char *path = strdup(linux_path), *at = path;
    struct stat status;

    do {
        at = strchr(at + 1, '/');
        if (at) *at = 0;
        if (mkdir(path, 0755) && errno != EEXIST) return -1;
        if (at) *at = '/';
    } while (at);
    free(path);
    if (stat(linux_path, &status)) return -1;
    errno = ENOTDIR;
    return S_ISDIR(status.st_mode) ? 0 : -1;
}

/* TEMP must exist; the image has it for both users, but a volume may cover C:\Users. */
void make_profile(const char *user)
{
    char path[512];

    snprintf(path, sizeof(path), "C:\\Users\\%s\\AppData\\Local\\Temp", user);
    make_directories(resolve(path));
    snprintf(path, sizeof(path), "C:\\Users\\%s\\AppData\\Roaming", user);
    make_directories(resolve(path));
}

char *unix_name(const char *linux_path)
{
    char *name = join("\\\\?\\unix", linux_path), *at;

    for (at = name; *at; at++)
        if (*at == '/') *at = '\\';
    return name;
}
