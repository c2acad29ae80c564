/* Writes down, in the file SYNCED_SIZES, how long a file was when it was last synced to disk: a line "inode size" after
   each sync that succeeded. What was written to the file since would not survive a power cut. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int synced(int file, long call) {
    struct stat before;
    int known = fstat(file, &before) == 0;
    int failed = (int)syscall(call, file);
    const char *path = getenv("SYNCED_SIZES");
    if (!failed && known && path) {
        char line[64];
        int length = snprintf(line, sizeof line, "%llu %lld\n", (unsigned long long)before.st_ino, (long long)before.st_size);
        int notes = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (notes >= 0) {
            if (write(notes, line, length) != length)
                abort();
            close(notes);
        }
    }
    return failed;
}

int fdatasync(int file) { return synced(file, SYS_fdatasync); }
int fsync(int file) { return synced(file, SYS_fsync); }
