/*
 * conusr.dll: what Wine's conhost gets in place of user32.dll. The Makefile forwards all that conhost imports, but for the
 * two functions that it asks for every character typed at a terminal. Wine's own would start a desktop for the answer,
 * which takes half a second and, without a screen, ends in a deadlock; so they are answered here, for a US keyboard.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define SHIFT 0x100
#define CTRL 0x200

/* In the order of the scan codes: what the key types alone and with Shift. */
static const struct { WORD key, scan; char plain, shifted; } keys[] = {
    { VK_ESCAPE, 1, 27, 27 }, { '1', 2, '1', '!' }, { '2', 3, '2', '@' }, { '3', 4, '3', '#' }, { '4', 5, '4', '$' },
    { '5', 6, '5', '%' }, { '6', 7, '6', '^' }, { '7', 8, '7', '&' }, { '8', 9, '8', '*' }, { '9', 10, '9', '(' },
    { '0', 11, '0', ')' }, { VK_OEM_MINUS, 12, '-', '_' }, { VK_OEM_PLUS, 13, '=', '+' }, { VK_BACK, 14, 8, 8 },
    { VK_TAB, 15, 9, 9 }, { 'Q', 16, 'q', 'Q' }, { 'W', 17, 'w', 'W' }, { 'E', 18, 'e', 'E' }, { 'R', 19, 'r', 'R' },
    { 'T', 20, 't', 'T' }, { 'Y', 21, 'y', 'Y' }, { 'U', 22, 'u', 'U' }, { 'I', 23, 'i', 'I' }, { 'O', 24, 'o', 'O' },
    { 'P', 25, 'p', 'P' }, { VK_OEM_4, 26, '[', '{' }, { VK_OEM_6, 27, ']', '}' }, { VK_RETURN, 28, 13, 13 },
    { VK_CONTROL, 29, 0, 0 }, { 'A', 30, 'a', 'A' }, { 'S', 31, 's', 'S' }, { 'D', 32, 'd', 'D' }, { 'F', 33, 'f', 'F' },
    { 'G', 34, 'g', 'G' }, { 'H', 35, 'h', 'H' }, { 'J', 36, 'j', 'J' }, { 'K', 37, 'k', 'K' }, { 'L', 38, 'l', 'L' },
    { VK_OEM_1, 39, ';', ':' }, { VK_OEM_7, 40, '\'', '"' }, { VK_OEM_3, 41, '`', '~' }, { VK_SHIFT, 42, 0, 0 },
    { VK_OEM_5, 43, '\\', '|' }, { 'Z', 44, 'z', 'Z' }, { 'X', 45, 'x', 'X' }, { 'C', 46, 'c', 'C' }, { 'V', 47, 'v', 'V' },
    { 'B', 48, 'b', 'B' }, { 'N', 49, 'n', 'N' }, { 'M', 50, 'm', 'M' }, { VK_OEM_COMMA, 51, ',', '<' },
    { VK_OEM_PERIOD, 52, '.', '>' }, { VK_OEM_2, 53, '/', '?' }, { VK_MENU, 56, 0, 0 }, { VK_SPACE, 57, ' ', ' ' },
    { VK_F1, 59, 0, 0 }, { VK_F2, 60, 0, 0 }, { VK_F3, 61, 0, 0 }, { VK_F4, 62, 0, 0 }, { VK_F5, 63, 0, 0 },
    { VK_F6, 64, 0, 0 }, { VK_F7, 65, 0, 0 }, { VK_F8, 66, 0, 0 }, { VK_F9, 67, 0, 0 }, { VK_F10, 68, 0, 0 },
    { VK_HOME, 71, 0, 0 }, { VK_UP, 72, 0, 0 }, { VK_PRIOR, 73, 0, 0 }, { VK_LEFT, 75, 0, 0 }, { VK_RIGHT, 77, 0, 0 },
    { VK_END, 79, 0, 0 }, { VK_DOWN, 80, 0, 0 }, { VK_NEXT, 81, 0, 0 }, { VK_INSERT, 82, 0, 0 }, { VK_DELETE, 83, 0, 0 },
    { VK_F11, 87, 0, 0 }, { VK_F12, 88, 0, 0 },
};

/* The key for a character, with what must be held besides; -1 when no key types it. */
SHORT WINAPI key_of_character(WCHAR character)
{
    if (character == '\n') return CTRL | VK_RETURN;
    if (character == 127) return CTRL | VK_BACK;
    for (unsigned i = 0; character && i < ARRAYSIZE(keys); i++) {
        if (keys[i].plain == character) return keys[i].key;
        if (keys[i].shifted == character) return SHIFT | keys[i].key;
    }
    return character && character <= 26 ? CTRL | ('A' + character - 1) : -1;
}

UINT WINAPI map_key(UINT code, UINT kind)
{
    for (unsigned i = 0; i < ARRAYSIZE(keys); i++) {
        if (kind == MAPVK_VK_TO_VSC && keys[i].key == code) return keys[i].scan;
        if (kind == MAPVK_VSC_TO_VK && keys[i].scan == code) return keys[i].key;
        if (kind == MAPVK_VK_TO_CHAR && keys[i].key == code) return keys[i].plain;
    }
    return 0;
}

BOOL WINAPI start(HINSTANCE instance, DWORD reason, void *reserved)
{
    (void)instance, (void)reason, (void)reserved;
    return TRUE;
}
