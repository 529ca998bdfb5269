// Functions of the C library that its headers show only with _GNU_SOURCE, which Swift does not set.
// Source of the signatures: the Linux man-pages, section 2.
#pragma once

#include <stdint.h>

int renameat2(int old_folder, const char *old_path, int new_folder, const char *new_path, unsigned int flags);
int fallocate(int file, int mode, int64_t offset, int64_t count);
int sync_file_range(int file, int64_t offset, int64_t count, unsigned int flags);

/// Fail where something has the new name.
static const unsigned int graft_rename_noreplace = 1;
/// Start writing what is not on the disk, and do not wait.
static const unsigned int graft_sync_file_range_write = 2;
