#include "oriel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void die(const char *format, ...)
{
    va_list arguments;

    fputs("oriel: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory) die("out of memory");
    return memory;
}

char *join(const char *head, const char *tail)
{
    size_t head_length = strlen(head);
    char *result = grown(NULL, head_length + strlen(tail) + 1);

    memcpy(result, head, head_length);
    strcpy(result + head_length, tail);
    return result;
}

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The arguments are pieces of one text, cut anywhere. */
void pairs_decode(struct pairs *pairs, int count, char **base64)
{
    unsigned bits = 0;
    int held = 0;
    size_t room = 2;

    for (int i = 0; i < count; i++) room += strlen(base64[i]);
    pairs->bytes = grown(NULL, room);
    for (int i = 0; i < count; i++)
        for (const char *at = base64[i]; *at && *at != '='; at++) {
            int value = digit(*at);
            if (value < 0) die("the request is not base64");
            bits = bits << 6 | (unsigned)value;
            held += 6;
            if (held < 8) continue;
            held -= 8;
            pairs->bytes[pairs->size++] = (char)(bits >> held);
        }
    if (pairs->size && pairs->bytes[pairs->size - 1]) pairs->bytes[pairs->size++] = 0;
}

void pairs_add(struct pairs *pairs, const char *head, const char *tail)
{
    size_t length = strlen(head) + strlen(tail) + 1;

    pairs->bytes = grown(pairs->bytes, pairs->size + length);
    strcpy(pairs->bytes + pairs->size, head);
    strcat(pairs->bytes + pairs->size, tail);
    pairs->size += length;
}

const char *pairs_get(const struct pairs *pairs, const char *key)
{
    size_t length = strlen(key);

    for (const char *pair = pairs->bytes; pair < pairs->bytes + pairs->size; pair += strlen(pair) + 1)
        if (!strncmp(pair, key, length) && pair[length] == '=') return pair + length + 1;
    return NULL;
}

const char *pairs_variable(const struct pairs *pairs, const char *name)
{
    size_t length = strlen(name);
    const char *value = NULL;

    for (const char *pair = pairs->bytes; pair < pairs->bytes + pairs->size; pair += strlen(pair) + 1)
        if (!strncmp(pair, "ENV_", 4) && !strncasecmp(pair + 4, name, length) && pair[4 + length] == '=')
            value = pair + 4 + length + 1;
    return value;
}
