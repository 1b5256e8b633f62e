# Read after each project() of a CMake build (.cargo/config.toml).
if(PROJECT_NAME STREQUAL "llama.cpp")
    set(LLAMA_BUILD_COMMON OFF CACHE BOOL "helpers of llama.cpp's own programs" FORCE)
    # Why is in amx.h. The folder of ggml's sources is known to CMake at the end only.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        set(MIDLAYER_AMX "${CMAKE_CURRENT_LIST_DIR}/amx.h")
        cmake_language(DEFER CALL set_source_files_properties
            "${CMAKE_CURRENT_SOURCE_DIR}/ggml/src/ggml-cpu/amx/mmq.cpp"
            DIRECTORY ggml/src
            PROPERTIES COMPILE_OPTIONS "-include;${MIDLAYER_AMX}")
    endif()
endif()
