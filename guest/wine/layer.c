/*
 * init layer: puts a layer, as the host has translated it, over what the image has. CONTRACT.md says what the tar may have;
 * here it is taken for hostile all the same.
 */
#include "oriel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512
#define META_LIMIT (1024 * 1024)
#define ROOT "c/drive_c"
#define REGISTRY "oriel/layer.reg"
#define WHITEOUT ".wh."

struct entry {
    char *name, *link;
    char type;
    unsigned mode;
    uint64_t size;
    struct timespec time;
};

/* A symbolic link or a hard link whose file has not come yet: made when all else is there. */
struct later {
    char *path, *link;
    char type;
    struct timespec time;
    struct later *next;
};

/* A folder changes its time with everything that is put into it, so it gets its own last. */
struct dated {
    struct node *folder;
    mode_t mode;
    struct timespec time;
    struct dated *next;
};

static struct later *pending, **pending_end = &pending;
static struct dated *dated;

static void *kept(const void *value, size_t size)
{
    void *copy = malloc(size);
    if (!copy) die("out of memory");
    return memcpy(copy, value, size);
}

static char *copied(const char *text)
{
    return kept(text, strlen(text) + 1);
}

/* ---- the stream ------------------------------------------------------------------------------------------------ */

static unsigned char buffer[256 * 1024];
static size_t buffered, taken;

/* At most ROOM bytes of what has come, without copying them; 0 at the end. */
static size_t available(const unsigned char **bytes, uint64_t room)
{
    if (taken == buffered) {
        ssize_t got;
        do got = read(0, buffer, sizeof(buffer));
        while (got < 0 && errno == EINTR);
        if (got < 0) die("the layer cannot be read: %s", strerror(errno));
        buffered = got;
        taken = 0;
    }
    *bytes = buffer + taken;
    if (room > buffered - taken) room = buffered - taken;
    taken += room;
    return room;
}

/* 0 when the stream has ended right here. */
static int take(void *target, size_t size)
{
    size_t done = 0;

    while (done < size) {
        const unsigned char *bytes;
        size_t got = available(&bytes, size - done);
        if (!got && !done) return 0;
        if (!got) die("the layer is cut off");
        memcpy((char *)target + done, bytes, got);
        done += got;
    }
    return 1;
}

/* Content goes to FILE, or nowhere when that is -1; then the padding up to the next block. */
static void carry(uint64_t size, int file, const char *name)
{
    uint64_t left = size, padding = (BLOCK - size % BLOCK) % BLOCK;

    while (left + padding) {
        const unsigned char *bytes;
        size_t got = available(&bytes, left ? left : padding);
        if (!got) die("the layer is cut off");
        if (!left) {
            padding -= got;
            continue;
        }
        left -= got;
        while (file >= 0 && got) {
            ssize_t written = write(file, bytes, got);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) die("%s: %s", name, strerror(errno));
            bytes += written;
            got -= written;
        }
    }
}

/* ---- headers --------------------------------------------------------------------------------------------------- */

static uint64_t number(const unsigned char *field, size_t size)
{
    uint64_t value = 0;

    if (*field & 0x80) {
        for (size_t i = size - 8; i < size; i++) value = value << 8 | field[i];
        return value;
    }
    while (size && *field == ' ') field++, size--;
    for (; size && *field >= '0' && *field <= '7'; field++, size--) value = value << 3 | (*field - '0');
    return value;
}

static int is_sealed(const unsigned char *header)
{
    uint64_t sum = 8 * ' ';

    for (int i = 0; i < BLOCK; i++)
        if (i < 148 || i >= 156) sum += header[i];
    return sum == number(header + 148, 8);
}

static char *field_text(const unsigned char *header)
{
    char name[100 + 1 + 155 + 1];
    const char *prefix = (const char *)header + 345, *tail = (const char *)header;

    if (!memcmp(header + 257, "ustar", 6) && *prefix)
        snprintf(name, sizeof(name), "%.155s/%.100s", prefix, tail);
    else
        snprintf(name, sizeof(name), "%.100s", tail);
    return copied(name);
}

/* Seconds with a fraction; before 1970 the fraction counts backwards. */
static struct timespec parse_time(const char *text)
{
    struct timespec time = { strtoll(text, NULL, 10), 0 };
    const char *dot = strchr(text, '.');
    long unit = 100 * 1000 * 1000;

    for (; dot && dot[1] >= '0' && dot[1] <= '9' && unit; dot++, unit /= 10) time.tv_nsec += (dot[1] - '0') * unit;
    if (*text == '-' && time.tv_nsec) {
        time.tv_sec--;
        time.tv_nsec = 1000 * 1000 * 1000 - time.tv_nsec;
    }
    return time;
}

/* What PAX records say of the next entry. */
struct records {
    char *path, *link;
    uint64_t size;
    struct timespec time;
    int has_size, has_time;
};

static void replace(char **field, const char *value, size_t length)
{
    if (memchr(value, 0, length)) die("the layer has a name with a NUL");
    free(*field);
    *field = kept(value, length + 1);
    (*field)[length] = 0;
}

/* TEXT has a NUL behind its SIZE bytes. */
static void read_records(struct records *records, char *text, size_t size)
{
    char *end = text + size;

    while (text < end) {
        char *key, *value, *line = text;
        unsigned long length = strtoul(text, &key, 10);
        if (key == line || *key != ' ' || length > (size_t)(end - line) || line + length <= key + 1 ||
            line[length - 1] != '\n' || !(value = memchr(key, '=', line + length - key)))
            die("the layer has bad PAX records");
        text = line + length;
        text[-1] = 0;
        *value++ = 0;
        key++;
        if (!strcmp(key, "path")) replace(&records->path, value, text - 1 - value);
        else if (!strcmp(key, "linkpath")) replace(&records->link, value, text - 1 - value);
        else if (!strcmp(key, "mtime")) records->time = parse_time(value), records->has_time = 1;
        else if (!strcmp(key, "size")) records->size = strtoull(value, NULL, 10), records->has_size = 1;
    }
}

/* The next entry, whose content is still to be taken; 0 at the end of the archive. */
static int next_entry(struct entry *entry)
{
    unsigned char header[BLOCK];
    struct records records = { 0 };

    for (;;) {
        if (!take(header, BLOCK)) die("the layer is cut off");
        if (!*header) {
            for (int i = 0; i < BLOCK; i++)
                if (header[i]) die("the layer is no tar");
            return 0;
        }
        if (!is_sealed(header)) die("the layer is no tar");
        entry->type = header[156] ? header[156] : '0';
        entry->size = number(header + 124, 12);
        if (entry->type == 'x') {
            if (entry->size > META_LIMIT) die("the layer has PAX records that are too long");
            size_t room = (entry->size + BLOCK - 1) / BLOCK * BLOCK;
            char *text = calloc(1, room + 1);
            if (!text || (room && !take(text, room))) die("the layer is cut off");
            text[entry->size] = 0;
            read_records(&records, text, entry->size);
            free(text);
            continue;
        }
        break;
    }
    entry->name = records.path ? records.path : field_text(header);
    header[157 + 100] = 0;
    entry->link = records.link ? records.link : copied((char *)header + 157);
    if (records.has_size) entry->size = records.size;
    if (entry->size > INT64_MAX - BLOCK) die("the layer has a file of an impossible size");
    entry->time = records.has_time ? records.time : (struct timespec){ number(header + 136, 12), 0 };
    entry->mode = number(header + 100, 8);
    return 1;
}

/* ---- placing --------------------------------------------------------------------------------------------------- */

/* The part below the drive of a name; NULL for another place. */
static char *below_drive(char *name)
{
    size_t length = strlen(name);

    /* A message is one line. */
    for (char *at = name; *at; at++)
        if ((unsigned char)*at < ' ') die("the layer has a name with a control character");
    if (length >= PATH_MAX) die("the layer has a name that is too long: %.200s...", name);
    while (length && name[length - 1] == '/') name[--length] = 0;
    if (!strcmp(name, ROOT)) return name + length;
    return strncmp(name, ROOT "/", sizeof(ROOT)) ? NULL : name + sizeof(ROOT);
}

/* Cuts PATH into its folder and its last part, which is the result. */
static char *split(char *path, const char **folder)
{
    char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;

    if (slash) *slash = 0;
    *folder = slash ? path : "";
    if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) die("the layer has an impossible name: %s", last);
    return last;
}

/*
 * Removes what has the name, in any case; gives the name for what comes in its place. That keeps the former case: a link of
 * a lower layer leads there by that.
 */
static const char *clear(struct node *folder, const char *name)
{
    struct node *former = tree_child(folder, name);

    if (!former) return name;
    tree_remove(former);
    return former->name;
}

/* Owner and modes are those of the prefix; what nobody may write is read-only to Wine. */
static mode_t mode_of(unsigned mode, mode_t whole)
{
    return mode & 0222 ? whole : whole & ~0222;
}

static void place_file(const struct entry *entry, struct node *folder, const char *name)
{
    const struct timespec times[2] = { entry->time, entry->time };
    int file;

    name = clear(folder, name);
    file = openat(tree_open(folder), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) die("%s: %s", name, strerror(errno));
    carry(entry->size, file, name);
    if (fchmod(file, mode_of(entry->mode, 0644)) || futimens(file, times) || close(file))
        die("%s: %s", name, strerror(errno));
    tree_note(folder, name, PLAIN);
}

static void place_folder(const struct entry *entry, struct node *parent, const char *name)
{
    struct node *folder = tree_child(parent, name);
    struct dated date = { .mode = mode_of(entry->mode, 0755), .time = entry->time, .next = dated };

    /* A folder of this layer hides a link of a lower one. */
    if (folder && folder->kind != FOLDER) name = clear(parent, name), folder = NULL;
    if (!folder) {
        if (mkdirat(tree_open(parent), name, 0755)) die("%s: %s", name, strerror(errno));
        tree_note(parent, name, FOLDER);
        folder = tree_child(parent, name);
    }
    date.folder = folder;
    dated = kept(&date, sizeof(date));
}

static void remove_name(const char *path, const char *name)
{
    struct node *folder;

    if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || !strncmp(name, WHITEOUT, strlen(WHITEOUT)))
        die("the layer has an impossible name: " WHITEOUT "%s", name);
    folder = tree_folder(path, 0);
    if (folder) clear(folder, name);
}

/* 0 when the file is not there. */
static int place_hard_link(char *path, char *link)
{
    const char *folder_path, *target_path;
    const char *name = split(path, &folder_path), *target_name = split(link, &target_path);
    struct node *from = tree_folder(target_path, 0), *target = from ? tree_child(from, target_name) : NULL;
    struct node *folder = tree_folder(folder_path, 1), *former;
    int file;

    if (!target) return 0;
    if (target->kind == FOLDER) die("%s: is a hard link to a folder", name);
    former = tree_child(folder, name);
    if (former == target) return 1;
    name = clear(folder, name);
    /* What was removed may have been a folder with the file in it. */
    if (target->gone) return 0;
    file = dup(tree_open(from));
    if (file < 0 || linkat(file, target->name, tree_open(folder), name, 0)) die("%s: %s", name, strerror(errno));
    close(file);
    tree_note(folder, name, target->kind);
    return 1;
}

/*
 * The path below the drive that a link of this layer means. It is told from the link's name in the layer: the folder that
 * it will really be in may be another one, when a lower layer has a link there. Components are the result's.
 */
static size_t lexical(const char *folder, const char *target, char **parts, size_t room)
{
    char *path = join(join(folder, "/"), target), *name;
    size_t count = 0;

    while ((name = strsep(&path, "/"))) {
        if (!*name || !strcmp(name, ".")) continue;
        if (!strcmp(name, "..")) {
            if (!count) die("%s: leads out of the drive", target);
            count--;
        } else {
            if (count == room) die("%s: is too long", target);
            parts[count++] = name;
        }
    }
    return count;
}

/* Text of a symbolic link in FOLDER: relative, and in the case that the files have. */
static char *link_text(struct node *folder, const char *folder_path, const char *target)
{
    char *parts[1024], *text = "";
    const char *above[1024];
    size_t count = lexical(folder_path, target, parts, 1024), depth = 0, shared = 0, length = strlen(target);
    struct node *at = tree_root();

    for (size_t i = 0; i < count && at && at->kind == FOLDER; i++)
        if ((at = tree_child(at, parts[i]))) parts[i] = at->name;
    for (struct node *node = folder; node->parent; node = node->parent) depth++;
    if (depth > 1024) die("%s: is too deep", folder_path);
    for (struct node *node = folder, *end = tree_root(); node != end; node = node->parent)
        above[--depth] = node->name;
    for (struct node *node = folder; node->parent; node = node->parent) depth++;
    while (shared < depth && shared < count && !strcmp(above[shared], parts[shared])) shared++;
    for (size_t i = shared; i < depth; i++) text = join(text, "../");
    for (size_t i = shared; i < count; i++) text = join(join(text, parts[i]), i + 1 < count ? "/" : "");
    if (!*text) text = ".";
    if (text[strlen(text) - 1] == '/') text[strlen(text) - 1] = 0;
    /* How a target ends says what kind of link it is. */
    if (length > 1 && !strcmp(target + length - 2, "/.")) return join(text, "/.");
    return length && target[length - 1] == '/' ? join(text, "/") : text;
}

static void place_symlink(const struct later *link)
{
    const struct timespec times[2] = { link->time, link->time };
    const char *folder_path;
    char *path = copied(link->path), *text, target[4096];
    const char *name = split(path, &folder_path);
    struct node *folder = tree_folder(folder_path, 1), *former;
    ssize_t length;

    text = link_text(folder, folder_path, link->link);
    former = tree_child(folder, name);
    if (former && former->kind == LINK) {
        length = readlinkat(tree_open(folder), former->name, target, sizeof(target));
        if (length == (ssize_t)strlen(text) && !memcmp(target, text, length)) return;
    }
    name = clear(folder, name);
    if (symlinkat(text, tree_open(folder), name) ||
        utimensat(tree_open(folder), name, times, AT_SYMLINK_NOFOLLOW))
        die("%s: %s", name, strerror(errno));
    tree_note(folder, name, LINK);
}

static void put_off(const char *path, const char *link, const struct entry *entry)
{
    struct later later = { copied(path), copied(link), entry->type, entry->time, NULL };

    *pending_end = kept(&later, sizeof(later));
    pending_end = &(*pending_end)->next;
}

static void place(const struct entry *entry)
{
    char *path = below_drive(entry->name), *name, *target;
    const char *folder_path;

    if (!path) die("the layer has an entry that is not on the drive: %.200s", entry->name);
    if (!*path) return carry(entry->size, -1, path);
    switch (entry->type) {
    case '0':
        name = split(path, &folder_path);
        if (!strncmp(name, WHITEOUT, strlen(WHITEOUT))) {
            remove_name(folder_path, name + strlen(WHITEOUT));
            carry(entry->size, -1, path);
        } else {
            place_file(entry, tree_folder(folder_path, 1), name);
        }
        return;
    case '5':
        name = split(path, &folder_path);
        return place_folder(entry, tree_folder(folder_path, 1), name);
    case '1':
        target = below_drive(entry->link);
        if (!target || !*target) die("%s: is a hard link to another place", path);
        if (!place_hard_link(copied(path), copied(target))) put_off(path, target, entry);
        return;
    case '2':
        return put_off(path, entry->link, entry);
    default:
        die("the layer has an entry of an unknown kind: %.200s", path);
    }
}

static void place_symlinks(void)
{
    for (struct later *later = pending; later; later = later->next)
        if (later->type == '2') place_symlink(later);
}

static void place_pending(void)
{
    place_symlinks();
    for (struct later *later = pending; later; later = later->next)
        if (later->type == '1' && !place_hard_link(copied(later->path), copied(later->link)))
            die("%s: is a hard link to a file that is not there: %s", later->path, later->link);
    /* Again, for a link may lead to what came after it, in another case. */
    place_symlinks();
}

static void date_folders(void)
{
    for (struct dated *at = dated; at; at = at->next) {
        const struct timespec times[2] = { at->time, at->time };
        struct node *node = at->folder;
        while (node && !node->gone) node = node->parent;
        if (node) continue;
        if (fchmod(tree_open(at->folder), at->mode) || futimens(tree_open(at->folder), times))
            die("%s: %s", at->folder->name, strerror(errno));
    }
}

static void save_registry(const struct entry *entry, const char *path)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (file < 0) die("%s: %s", path, strerror(errno));
    carry(entry->size, file, path);
    close(file);
}

int place_layer(const char *registry)
{
    const unsigned char *rest;
    struct entry entry;
    int has_registry = 0;

    umask(022);
    while (next_entry(&entry)) {
        if (entry.type == '0' && !strcmp(entry.name, REGISTRY)) {
            save_registry(&entry, registry);
            has_registry = 1;
        } else {
            if (entry.type != '0') entry.size = 0;
            place(&entry);
        }
        free(entry.name);
        free(entry.link);
    }
    /* The sender must not find the pipe closed while it writes the padding. */
    while (available(&rest, sizeof(buffer))) continue;
    place_pending();
    date_folders();
    return has_registry;
}
