# "Press any key to boot from CD or DVD......", as the boot image of Microsoft's discs asks it.
# A UEFI program whose PE header is written out here, so that the assembler alone makes it. The loader that a key starts
# (GRUB) lies in the same file. Without a key the program ends with EFI_TIMEOUT, which makes the firmware go on with the
# next boot option; GRUB itself can only end with success, which would stop at the firmware's menu.
        .intel_syntax noprefix
        .text
image:  .ascii "MZ"
        .org 0x3c
        .long pe - image
pe:     .ascii "PE\0\0"
        .word 0x8664, 1                 # machine, sections
        .long 0, 0, 0
        .word section - optional, 0x22e # size of the optional header; executable, no debug data
optional:
        .word 0x20b, 0                  # PE32+
        .long end - start, 0, 0         # sizes of code and data
        .long start - image, start - image
        .quad 0                         # preferred base
        .long 0x200, 0x200              # alignment in memory and in the file
        .word 0, 0, 0, 0, 0, 0
        .long 0, end - image, start - image, 0
        .word 10, 0                     # subsystem: EFI application
        .quad 0, 0, 0, 0
        .long 0, 6                      # six empty data directories
        .fill 6, 8, 0
section:
        .ascii ".text\0\0\0"
        .long end - start, start - image, end - start, start - image
        .long 0, 0, 0
        .long 0xe0000020                # code; readable, writable, executable
        .org 0x200

# rcx: our handle, rdx: the system table. Calls need 32 bytes of shadow space and a stack aligned to 16.
start:  push rbx
        push rsi
        push rdi
        sub rsp, 0x40
        mov rbx, rcx
        mov rsi, rdx
        mov rcx, [rsi + 64]             # ConOut
        lea rdx, text[rip]
        call [rcx + 8]                  # OutputString
        mov rcx, [rsi + 48]             # ConIn
        xor edx, edx
        call [rcx]                      # Reset: a key from before the question does not count
        mov edi, 50
wait:   mov rcx, [rsi + 48]
        lea rdx, [rsp + 0x30]
        call [rcx + 8]                  # ReadKeyStroke
        test rax, rax
        jz boot
        mov rax, [rsi + 96]             # BootServices
        mov ecx, 100000
        call [rax + 248]                # Stall, in microseconds
        dec edi
        jnz wait
        movabs rax, 0x8000000000000012  # EFI_TIMEOUT
        jmp out
boot:   mov rax, [rsi + 96]
        xor ecx, ecx
        mov rdx, rbx
        xor r8d, r8d                    # no path: the loader is in memory
        lea r9, loader[rip]
        mov qword ptr [rsp + 0x20], offset end - loader
        lea rdi, [rsp + 0x38]
        mov [rsp + 0x28], rdi
        call [rax + 200]                # LoadImage
        test rax, rax
        jnz out
        mov rax, [rsi + 96]
        mov rcx, [rsp + 0x38]
        xor edx, edx
        xor r8d, r8d
        call [rax + 208]                # StartImage
out:    add rsp, 0x40
        pop rdi
        pop rsi
        pop rbx
        ret

        .balign 2
text:   .string16 "\r\nPress any key to boot from CD or DVD......"
        .balign 16
loader: .incbin "loader.efi"
        .balign 0x200
end:
