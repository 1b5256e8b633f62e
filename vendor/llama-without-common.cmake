# Read after each project() of a CMake build (.cargo/config.toml).
if(PROJECT_NAME STREQUAL "llama.cpp")
    set(LLAMA_BUILD_COMMON OFF CACHE BOOL "helpers of llama.cpp's own programs" FORCE)
endif()
