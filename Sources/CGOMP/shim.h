// libgomp's entry points, declared by hand because <omp.h> describes compiler directives that Swift cannot use:
// a Swift closure is handed to GOMP_parallel, so Swift kernels and oneDNN share one pool of threads.
// Source of the signatures: the GNU libgomp manual, section "Implementing PARALLEL construct".
#pragma once

void GOMP_parallel(void (*function)(void *), void *data, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_get_max_threads(void);
int omp_in_parallel(void);
void omp_set_num_threads(int);
