// A host linked with the plugin: says whether the ggml in its process would be used.
#include "midlayer.h"
#include <stdio.h>

int main(void) {
    if (midlayer_check()) {
        puts("ok");
        return 0;
    }
    puts(midlayer_last_error(NULL));
    return 0;
}
