/*
 * cmdkrn32.dll: what Wine's cmd gets in place of kernel32.dll. The Makefile forwards all that cmd imports, but for:
 *
 *   GetVolumeInformationW   Wine asks its mount manager, a driver that the lean set of services has not. Without an
 *                           answer, dir lists nothing.
 *   ReadFile                cmd reads ahead of a line and seeks back to its end. A pipe cannot seek, so the lines of a
 *                           script that comes through standard input would be lost.
 */
#define WIN32_LEAN_AND_MEAN
#define _WIN32_WINNT 0x0A00
#include <windows.h>

static void copy(WCHAR *to, DWORD room, const WCHAR *text)
{
    if (to && room) lstrcpynW(to, text, room);
}

BOOL WINAPI volume_information(const WCHAR *root, WCHAR *label, DWORD label_room, DWORD *serial, DWORD *longest_name,
                               DWORD *flags, WCHAR *system, DWORD system_room)
{
    if (GetVolumeInformationW(root, label, label_room, serial, longest_name, flags, system, system_room)) return TRUE;
    if (GetLastError() != ERROR_INVALID_FUNCTION) return FALSE;
    copy(label, label_room, L"");
    copy(system, system_room, L"NTFS");
    if (serial) *serial = 0x4f52494c;
    if (longest_name) *longest_name = 255;
    if (flags) *flags = FILE_CASE_PRESERVED_NAMES | FILE_UNICODE_ON_DISK;
    return TRUE;
}

BOOL WINAPI read_line(HANDLE file, void *buffer, DWORD room, DWORD *got, OVERLAPPED *overlapped)
{
    char *text = buffer;
    DWORD one, count = 0;
    BOOL done = TRUE;

    if (overlapped || GetFileType(file) != FILE_TYPE_PIPE) return ReadFile(file, buffer, room, got, overlapped);
    while (count < room) {
        done = ReadFile(file, text + count, 1, &one, NULL);
        if (!done || !one || text[count++] == '\n') break;
    }
    *got = count;
    return done || count;
}

BOOL WINAPI start(HINSTANCE instance, DWORD reason, void *reserved)
{
    (void)instance, (void)reason, (void)reserved;
    return TRUE;
}
