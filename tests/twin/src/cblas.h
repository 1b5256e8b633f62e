// What ggml's BLAS backend calls, by the standard's names and numbers: the library is looked for
// when a test runs, so that nothing of it is needed where tests are built.

#pragma once

enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 };
enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 };

extern "C" {
void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int m, int n, int k,
                 float alpha, const float * a, int lda, const float * b, int ldb, float beta, float * c, int ldc);
void openblas_set_num_threads(int n);
}
