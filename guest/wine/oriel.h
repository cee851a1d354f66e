/* What the parts of init share. */
#ifndef ORIEL_H
#define ORIEL_H

#include <stddef.h>

#define PREFIX "/c"

/* NUL-terminated KEY=VALUE strings, one behind the other. */
struct pairs {
    char *bytes;
    size_t size;
};

struct program {
    char *path;     /* Windows path */
    unsigned error; /* Win32 error that starting it would give, or 0 */
};

/* util.c */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *join(const char *head, const char *tail);
void pairs_decode(struct pairs *pairs, int count, char **base64);
void pairs_add(struct pairs *pairs, const char *head, const char *tail);
const char *pairs_get(const struct pairs *pairs, const char *key);
/* The value of a Windows environment variable among ENV_ pairs: any case, the last one wins. */
const char *pairs_variable(const struct pairs *pairs, const char *name);

/* paths.c */
void link_drives(void);
/* A full, backslashed C:\ path without . and .. for any WINPATH of the contract. */
char *windows_path(const char *path);
/* The Linux path of a full Windows path, existing components in their real case; NULL for a drive that is not there. */
char *resolve(const char *path);
int make_directories(const char *linux_path);
void make_profile(const char *user);
/* How Wine names a Linux path outside all drives. */
char *unix_name(const char *linux_path);

/* tree.c: the C: drive, whose names match whatever their case. Trouble of the file system ends init. */
enum kind { PLAIN, FOLDER, LINK };

struct node {
    char *name;            /* in its real case */
    struct node *parent;   /* NULL for the drive itself */
    struct node *next;     /* of the same slot of the parent's table */
    struct node **table;
    unsigned slots, count, hash;
    unsigned char kind, listed, gone;
};

/* Whether two names are one to Windows. */
int same_name(const char *one, const char *other);
struct node *tree_root(void);
/* The entry of a folder with this name, exactly or in another case; NULL when there is none. */
struct node *tree_child(struct node *folder, const char *name);
/* The folder of a path below the drive, links followed within the drive; NULL when it is not there and not to be made. */
struct node *tree_folder(const char *path, int make);
/* A descriptor of a folder, good until the next call of any function of the tree. */
int tree_open(struct node *folder);
/* Says that an entry was made. */
void tree_note(struct node *folder, const char *name, enum kind kind);
/* Removes an entry with all below it. */
void tree_remove(struct node *node);

/* layer.c */
/* Places the layer that comes on standard input; saves its registry text under the path, and says whether it has one. */
int place_layer(const char *registry);

/* program.c */
/* Finds what CreateProcess would start; 0, or the Win32 error. */
unsigned find_program(const char *command, const char *directory, const struct pairs *request, struct program *found);

#endif
