// Read before llama.cpp's products by AMX, by GCC alone.
//
// GCC 12's _tile_loadconfig tells the compiler that it reads 8 bytes of its 64. So GCC drops what
// llama.cpp writes into the others, the tiles have no rows, and the first product ends the program
// (an illegal instruction).
#ifdef __AMX_TILE__
#include <immintrin.h>
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(config)))
#endif
