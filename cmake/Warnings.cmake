# Warnings are errors. clang lacks a few of gcc's.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD 17)
add_compile_definitions(_GNU_SOURCE)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(carrel_warnings INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wformat=2 -Wundef -Wvla -Walloca
    -Wcast-qual -Wwrite-strings -Wpointer-arith -Wdouble-promotion -Wswitch-enum
    -Wimplicit-fallthrough -Wnull-dereference -Wframe-larger-than=49152)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND warnings -Wduplicated-cond -Wduplicated-branches -Wlogical-op)
  # gcc sees null dereferences that are not there once sanitizers add their branches
  if(CARREL_SANITIZE)
    list(REMOVE_ITEM warnings -Wnull-dereference -Wduplicated-branches)
  endif()
endif()
if(CARREL_SANITIZE OR CARREL_FUZZ) # sanitizers widen frames
  list(REMOVE_ITEM warnings -Wframe-larger-than=49152)
endif()
target_compile_options(carrel_warnings INTERFACE ${warnings} -Werror
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes$<SEMICOLON>-Wmissing-prototypes$<SEMICOLON>-Wold-style-definition>)

# Hardening; _FORTIFY_SOURCE needs optimisation and does not go with sanitizers.
if(NOT CARREL_SANITIZE)
  add_compile_options(-fstack-protector-strong -fstack-clash-protection)
  add_compile_options($<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
add_compile_options(-fno-omit-frame-pointer)
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")
