// A host that loads its llama.cpp privately, as Node and ctypes do, and has it register the
// host's own callback.
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    (void)argc;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    void (*start)(void) = library ? (void (*)(void))dlsym(library, "start") : NULL;
    if (start == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    start();
    puts("unharmed");
    return 0;
}
