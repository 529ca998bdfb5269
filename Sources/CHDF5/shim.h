#pragma once
#include <hdf5/serial/hdf5.h>

// Swift sees neither macros that expand to expressions nor mutable C globals, so each constant has a getter.
// All need H5open() to have run.

static inline unsigned graft_h5f_read_only(void) { return H5F_ACC_RDONLY; }
static inline unsigned graft_h5f_read_write(void) { return H5F_ACC_RDWR; }
static inline unsigned graft_h5f_exclusive(void) { return H5F_ACC_EXCL; }

static inline hid_t graft_h5p_file_access(void) { return H5P_FILE_ACCESS; }
static inline hid_t graft_h5p_dataset_create(void) { return H5P_DATASET_CREATE; }
static inline hid_t graft_h5p_dataset_access(void) { return H5P_DATASET_ACCESS; }

static inline hid_t graft_h5t_c_s1(void) { return H5T_C_S1; }
static inline hid_t graft_h5t_i8le(void) { return H5T_STD_I8LE; }
static inline hid_t graft_h5t_i16le(void) { return H5T_STD_I16LE; }
static inline hid_t graft_h5t_i32le(void) { return H5T_STD_I32LE; }
static inline hid_t graft_h5t_i64le(void) { return H5T_STD_I64LE; }
static inline hid_t graft_h5t_u8le(void) { return H5T_STD_U8LE; }
static inline hid_t graft_h5t_u16le(void) { return H5T_STD_U16LE; }
static inline hid_t graft_h5t_u32le(void) { return H5T_STD_U32LE; }
static inline hid_t graft_h5t_u64le(void) { return H5T_STD_U64LE; }
static inline hid_t graft_h5t_f32le(void) { return H5T_IEEE_F32LE; }
static inline hid_t graft_h5t_f64le(void) { return H5T_IEEE_F64LE; }

static inline size_t graft_h5t_variable(void) { return H5T_VARIABLE; }
static inline haddr_t graft_h5_undefined_address(void) { return HADDR_UNDEF; }
static inline haddr_t graft_h5_largest_address(void) { return HADDR_MAX; }
