/*
 * The C: drive as a tree in memory, read folder by folder as it is needed: an image has folders of tens of thousands of
 * files, and to look through one for every name that might be there in another case would take minutes.
 *
 * Nothing here follows a symbolic link of the file system: folders are opened one component at a time, and where a link
 * is to be followed, its target is read and looked up in the tree, which has no way out of the drive.
 */
#include "oriel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wctype.h>

#define DRIVE PREFIX "/drive_c"
#define MOST_LINKS 40

static struct node root = { .name = DRIVE, .kind = FOLDER };
/* The folder that was opened last, since most entries of a layer follow one of the same folder. */
static struct node *opened;
static int opened_file = -1;

static void *allocated(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory) die("out of memory");
    return memory;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* The next character of a UTF-8 name in upper case, as Windows compares names; a byte that is none stands for itself. */
static unsigned next_upper(const unsigned char **at)
{
    const unsigned char *text = *at;
    unsigned length = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : *text >= 0xc2 ? 2 : 1;
    unsigned character = length == 1 ? *text : *text & (0xff >> (length + 1));

    for (unsigned i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            length = 1;
            character = *text;
            break;
        }
        character = character << 6 | (text[i] & 0x3f);
    }
    *at += length;
    if (length == 1 && character >= 0x80) return 0xdc00 + character;
    return towupper(character);
}

int same_name(const char *one, const char *other)
{
    const unsigned char *a = (const unsigned char *)one, *b = (const unsigned char *)other;

    while (*a && *b)
        if (next_upper(&a) != next_upper(&b)) return 0;
    return *a == *b;
}

static unsigned hash_of(const char *name)
{
    const unsigned char *at = (const unsigned char *)name;
    unsigned hash = 2166136261u;

    while (*at) hash = (hash ^ next_upper(&at)) * 16777619u;
    return hash;
}

/* ---- the tree -------------------------------------------------------------------------------------------------- */

struct node *tree_root(void)
{
    return &root;
}

static void grow(struct node *folder)
{
    unsigned size = folder->slots ? folder->slots * 4 : 16;
    struct node **table = allocated(size * sizeof(*table));

    for (unsigned i = 0; i < folder->slots; i++)
        for (struct node *child = folder->table[i], *next; child; child = next) {
            next = child->next;
            child->next = table[child->hash % size];
            table[child->hash % size] = child;
        }
    free(folder->table);
    folder->table = table;
    folder->slots = size;
}

static struct node *add(struct node *folder, const char *name, enum kind kind)
{
    struct node *child = allocated(sizeof(*child));

    if (folder->count >= folder->slots) grow(folder);
    child->name = strdup(name);
    if (!child->name) die("out of memory");
    child->parent = folder;
    child->kind = kind;
    child->hash = hash_of(name);
    child->next = folder->table[child->hash % folder->slots];
    folder->table[child->hash % folder->slots] = child;
    folder->count++;
    return child;
}

/* The node stays allocated, for a list may still name it; nothing is ever put into it again. */
static void take_out(struct node *child)
{
    struct node **at = &child->parent->table[child->hash % child->parent->slots];

    while (*at != child) at = &(*at)->next;
    *at = child->next;
    child->parent->count--;
    child->gone = 1;
}

static enum kind kind_at(int folder, const struct dirent *entry)
{
    struct stat status;

    switch (entry->d_type) {
    case DT_DIR: return FOLDER;
    case DT_LNK: return LINK;
    case DT_UNKNOWN: break;
    default: return PLAIN;
    }
    if (fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) return PLAIN;
    return S_ISDIR(status.st_mode) ? FOLDER : S_ISLNK(status.st_mode) ? LINK : PLAIN;
}

static void list(struct node *folder)
{
    int file = openat(tree_open(folder), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = file < 0 ? NULL : fdopendir(file);
    struct dirent *entry;

    if (!listing) die("%s: %s", folder->name, strerror(errno));
    while ((entry = readdir(listing)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            add(folder, entry->d_name, kind_at(file, entry));
    closedir(listing);
    folder->listed = 1;
}

struct node *tree_child(struct node *folder, const char *name)
{
    unsigned hash = hash_of(name);
    struct node *found = NULL;

    if (!folder->listed) list(folder);
    if (!folder->slots) return NULL;
    for (struct node *child = folder->table[hash % folder->slots]; child; child = child->next) {
        if (child->hash != hash || !same_name(child->name, name)) continue;
        /* Linux may have two names that differ in case alone; Windows' programs get the one that is written so. */
        if (!strcmp(child->name, name)) return child;
        found = child;
    }
    return found;
}

int tree_open(struct node *folder)
{
    struct node *below = folder;
    int parent;

    if (folder == opened) return opened_file;
    if (folder == &root) {
        parent = open(DRIVE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    } else {
        int above;
        while (below->parent != &root && below->parent != opened) below = below->parent;
        parent = dup(tree_open(below->parent));
        for (;; parent = above) {
            above = openat(parent, below->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            close(parent);
            if (above < 0 || below == folder) break;
            /* Down one step, towards the folder. */
            struct node *step = folder;
            while (step->parent != below) step = step->parent;
            below = step;
        }
        parent = above;
    }
    if (parent < 0) die("%s: %s", folder->name, strerror(errno));
    if (opened_file >= 0) close(opened_file);
    opened = folder;
    opened_file = parent;
    return opened_file;
}

void tree_note(struct node *folder, const char *name, enum kind kind)
{
    struct node *child = add(folder, name, kind);
    /* What was just made is empty. */
    child->listed = kind == FOLDER;
}

void tree_remove(struct node *node)
{
    if (node->kind == FOLDER) {
        if (!node->listed) list(node);
        for (unsigned i = 0; i < node->slots; i++)
            while (node->table[i]) tree_remove(node->table[i]);
    }
    if (unlinkat(tree_open(node->parent), node->name, node->kind == FOLDER ? AT_REMOVEDIR : 0))
        die("%s: %s", node->name, strerror(errno));
    take_out(node);
}

static struct node *followed(struct node *link, int *links);

static struct node *down(struct node *folder, const char *path, int make, int *links)
{
    char *copy = strdup(path), *rest = copy, *name;

    if (!copy) die("out of memory");
    while (folder && (name = strsep(&rest, "/"))) {
        struct node *child;
        if (!*name || !strcmp(name, ".")) continue;
        if (!strcmp(name, "..")) {
            if (!folder->parent) die("%s: leads out of the drive", path);
            folder = folder->parent;
            continue;
        }
        child = tree_child(folder, name);
        if (child && child->kind == LINK) {
            folder = followed(child, links);
            if (!folder && make) die("%s: the link \"%s\" leads to no folder of the drive", path, name);
        } else if (child && child->kind == FOLDER) {
            folder = child;
        } else if (!make) {
            folder = NULL;
        } else if (child) {
            die("%s: \"%s\" is a file", path, name);
        } else {
            if (mkdirat(tree_open(folder), name, 0755)) die("%s: %s", path, strerror(errno));
            tree_note(folder, name, FOLDER);
            folder = tree_child(folder, name);
        }
    }
    free(copy);
    return folder;
}

/* The folder that a link leads to, looked up in the tree; NULL when that is none of the drive. */
static struct node *followed(struct node *link, int *links)
{
    char target[4096];
    ssize_t length = readlinkat(tree_open(link->parent), link->name, target, sizeof(target) - 1);
    size_t drive = strlen(DRIVE);

    if (length < 0 || ++*links > MOST_LINKS) return NULL;
    target[length] = 0;
    if (*target != '/') return down(link->parent, target, 0, links);
    if (strncmp(target, DRIVE, drive) || (target[drive] && target[drive] != '/')) return NULL;
    return down(&root, target + drive, 0, links);
}

struct node *tree_folder(const char *path, int make)
{
    int links = 0;
    return down(&root, path, make, &links);
}
